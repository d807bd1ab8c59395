import datetime as dt
from collections import Counter, defaultdict
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.catalog.inventory import InventoryInputError, counted_detections, in_visit_order, visit_inventory
from mlops_assets.catalog.schema import DETECTIONS, VISIT_INVENTORY
from mlops_assets.use_case import InventoryRules

DAY = dt.date(2026, 10, 5)
RULES = InventoryRules(min_usable_photos=2, default_threshold=0.5)
PHOTOS = {
    "photo_id": pl.String(),
    "enclosure_id": pl.String(),
    "visit_id": pl.String(),
    "visited_on": pl.Date(),
    "captured_at": pl.Datetime("us", "UTC"),
    "usable": pl.Boolean(),
}


def photo(
    photo_id: str, visit: int, *, usable: bool = True, enclosure: str = "E", hour: int | None = None
) -> dict[str, Any]:
    day = DAY + dt.timedelta(days=visit)
    taken = None if hour is None else dt.datetime(day.year, day.month, day.day, hour, tzinfo=dt.UTC)
    return {
        "photo_id": photo_id,
        "enclosure_id": enclosure,
        "visit_id": f"v{visit}",
        "visited_on": day,
        "captured_at": taken,
        "usable": usable,
    }


def found(photo_id: str, class_id: int | None, confidence: float | None = 0.9, x: float | None = 0.5) -> dict[str, Any]:
    box = {"box_x": x, "box_y": 0.5, "box_w": 0.1, "box_h": 0.1}
    if class_id is None:
        confidence, box = None, dict.fromkeys(box)
    return {"photo_id": photo_id, "class_id": class_id, "confidence": confidence, **box, "model_version": "3"}


def inventory(
    photos: list[dict[str, Any]], detections: list[dict[str, Any]], thresholds: dict[int, float] | None = None
) -> list[dict[str, Any]]:
    return visit_inventory(
        pl.DataFrame(detections, schema=DETECTIONS), pl.DataFrame(photos, schema=PHOTOS), thresholds or {}, RULES
    ).to_dicts()


def states(rows: list[dict[str, Any]]) -> list[tuple[str, int, str]]:
    return [(row["visit_id"], row["quantity"], row["status"]) for row in rows]


def test_quantity_and_evidence_come_from_the_photo_that_shows_most() -> None:
    photos = [photo("a", 0), photo("b", 0), photo("c", 0, usable=False)]
    detections = [found("a", 7, 0.99), found("b", 7, 0.6, 0.1), found("b", 7, 0.8, 0.9), *[found("c", 7)] * 5]
    (row,) = inventory(photos, detections)
    assert (row["quantity"], row["status"], row["photo_id"]) == (2, "confirmed", "b")
    assert (row["confidence"], row["box_x"], row["model_version"]) == (0.8, 0.9, "3")


def test_of_equal_views_the_surer_one_is_evidence() -> None:
    rows = inventory([photo("a", 0), photo("b", 0)], [found("a", 7, 0.7), found("b", 7, 0.8)])
    assert rows[0]["photo_id"] == "b"


def test_a_class_counts_from_its_own_threshold_and_others_from_the_default() -> None:
    detections = [found("a", 7, 0.3), found("a", 8, 0.49), found("a", 9, 0.5)]
    rows = inventory([photo("a", 0)], detections, {7: 0.3})
    assert [row["class_id"] for row in rows] == [7, 9]
    counted = counted_detections(pl.DataFrame(detections, schema=DETECTIONS), {7: 0.3}, RULES)
    assert counted["class_id"].to_list() == [7, 9]
    assert counted.schema == DETECTIONS


def test_an_item_unseen_is_unconfirmed_with_one_usable_photo_and_removed_with_two() -> None:
    photos = [photo("a", 0), photo("b", 1), photo("c", 2), photo("d", 2), photo("e", 3), photo("f", 3), photo("g", 4)]
    detections = [found("a", 7), found("a", 7, 0.8), *(found(p, None) for p in "bcdef"), found("g", 7)]
    rows = inventory(photos, detections)
    assert states(rows) == [
        ("v0", 2, "confirmed"),
        ("v1", 2, "unconfirmed"),
        ("v2", 0, "removed"),
        ("v4", 1, "confirmed"),
    ]
    assert [row["photo_id"] for row in rows] == ["a", "a", "a", "g"]


def test_photos_that_no_model_has_looked_at_yet_remove_nothing() -> None:
    photos = [photo("a", 0), photo("b", 1), photo("c", 1)]
    assert states(inventory(photos, [found("a", 7)]))[1:] == [("v1", 1, "unconfirmed")]


def test_visits_of_one_day_follow_the_clock_and_not_their_ids() -> None:
    early = photo("a", 0, hour=8) | {"visit_id": "z"}
    late = [photo(p, 0, hour=15) | {"visit_id": "a"} for p in "bc"]
    rows = inventory([*late, early], [found("a", 7), found("b", None), found("c", None)])
    assert states(rows) == [("z", 1, "confirmed"), ("a", 0, "removed")]
    assert in_visit_order(pl.DataFrame(rows, schema=VISIT_INVENTORY))["visit_id"].to_list() == ["z", "a"]


def test_nothing_in_gives_an_empty_inventory() -> None:
    empty = visit_inventory(pl.DataFrame(schema=DETECTIONS), pl.DataFrame(schema=PHOTOS), {}, RULES)
    assert empty.is_empty()
    assert empty.schema == VISIT_INVENTORY


def test_contradictory_input_is_refused_with_the_photo_named() -> None:
    with pytest.raises(InventoryInputError, match="listed twice, first a"):
        inventory([photo("a", 0), photo("a", 1)], [])
    with pytest.raises(InventoryInputError, match="two models, first a"):
        inventory([photo("a", 0)], [found("a", 7), found("a", 7) | {"model_version": "4"}])
    with pytest.raises(InventoryInputError, match="visit_id"):
        inventory([photo("a", 0) | {"visit_id": None}], [])
    with pytest.raises(InventoryInputError, match="usable"):
        visit_inventory(pl.DataFrame(schema=DETECTIONS), pl.DataFrame(schema=PHOTOS).drop("usable"), {}, RULES)


def oracle(photos: list[dict[str, Any]], detections: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
    """The rules of DESIGN §3, walked through visit by visit."""
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    for row in detections:
        if row["class_id"] is not None and row["confidence"] >= RULES.default_threshold:
            counts[row["photo_id"]][row["class_id"]] += 1
    looked = {row["photo_id"] for row in detections}
    visits: dict[tuple[str, dt.date, str], list[str]] = defaultdict(list)
    for row in photos:
        visits[row["enclosure_id"], row["visited_on"], row["visit_id"]] += (
            [row["photo_id"]] if row["usable"] and row["photo_id"] in looked else []
        )
    result, present = set(), {}
    for enclosure, day, visit in sorted(visits):
        views = [counts[photo_id] for photo_id in visits[enclosure, day, visit]]
        for class_id in range(3):
            quantity = max((view[class_id] for view in views), default=0)
            if quantity:
                present[enclosure, class_id] = quantity
                result.add((enclosure, visit, class_id, quantity, "confirmed"))
            elif (enclosure, class_id) in present and len(views) >= RULES.min_usable_photos:
                del present[enclosure, class_id]
                result.add((enclosure, visit, class_id, 0, "removed"))
            elif (enclosure, class_id) in present:
                result.add((enclosure, visit, class_id, present[enclosure, class_id], "unconfirmed"))
    return result


@st.composite
def stories(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    photos, detections = [], []
    for number in range(draw(st.integers(0, 14))):
        name = f"p{number}"
        enclosure, visit, usable = draw(st.tuples(st.sampled_from("EF"), st.integers(0, 4), st.booleans()))
        photos.append(photo(name, visit, usable=usable, enclosure=enclosure))
        seen = draw(st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0.4, 0.5, 0.9])), max_size=4))
        detections += [found(name, class_id, confidence) for class_id, confidence in seen]
        if not seen and draw(st.booleans()):
            detections.append(found(name, None))
    return draw(st.permutations(photos)), draw(st.permutations(detections))


@settings(max_examples=150, deadline=None)
@given(stories())
def test_every_state_is_as_the_rules_say(story: tuple[list[dict[str, Any]], list[dict[str, Any]]]) -> None:
    photos, detections = story
    rows = inventory(photos, detections)
    got = [(r["enclosure_id"], r["visit_id"], r["class_id"], r["quantity"], r["status"]) for r in rows]
    assert set(got) == oracle(photos, detections)
    assert len({key[:3] for key in got}) == len(got), "one row an enclosure, visit and class"
    usable = {row["photo_id"]: row["enclosure_id"] for row in photos if row["usable"]}
    for row in rows:
        assert (row["quantity"] == 0) == (row["status"] == "removed")
        assert row["quantity"] >= 0
        assert usable[row["photo_id"]] == row["enclosure_id"], "evidence is a usable photo of the enclosure"


@settings(max_examples=30, deadline=None)
@given(stories(), st.randoms(use_true_random=False))
def test_the_order_of_input_rows_does_not_matter(
    story: tuple[list[dict[str, Any]], list[dict[str, Any]]], random: Any
) -> None:
    photos, detections = story
    shuffled = random.sample(photos, len(photos)), random.sample(detections, len(detections))
    assert inventory(*shuffled) == inventory(photos, detections)
