"""The queue on small tables: what is offered for what reason, and what never is."""

import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from small_store import LABELLED_AT, SmallStore, detection, label, photo, photo_id

from mlops_assets.catalog.schema import DETECTIONS, UNKNOWN_EQUIPMENT
from mlops_assets.labels.schema import EQUIPMENT_CLASSES, LABEL_CONFLICTS
from mlops_assets.monitoring.disagreement import Refused
from mlops_assets.monitoring.review_queue import Queue, build_queue, load_known
from mlops_assets.monitoring.schema import REVIEW_HISTORY, REVIEW_QUEUE
from mlops_assets.use_case import InventoryRules, ReviewRules

DAY, NEXT_DAY = "2026-10-06", "2026-10-07"
TODAY = dt.date(2026, 10, 8)


@pytest.fixture
def store(tmp_path: Path) -> SmallStore:
    return SmallStore(tmp_path)


def queue_of(store: SmallStore, refused: Refused | None = None, today: dt.date = TODAY, **rules: Any) -> Queue:
    return build_queue(
        store.tables,
        load_known(store.tables),
        rules=ReviewRules.model_validate(rules),
        inventory=InventoryRules(),
        today=today,
        refused=refused,
    )


def rows(queue: Queue) -> dict[str, dict[str, Any]]:
    return {row["photo_id"]: row for row in queue.rows.to_dicts()}


def test_before_any_label_every_enclosure_is_offered(store: SmallStore) -> None:
    store.day(DAY, [photo(f"{e}-{n}", f"CAB-{e}") for e in range(3) for n in range(2)])
    queue = queue_of(store, budget=3)
    assert queue.rows.schema == REVIEW_QUEUE
    assert queue.rows["enclosure_id"].sort().to_list() == ["CAB-0", "CAB-1", "CAB-2"]
    assert queue.rows["kind"].unique().to_list() == ["unlabelled_enclosure"]
    assert queue.rows["model_version"].unique().to_list() == [None]
    assert queue.without == ("unknown equipment: no table of the champion's says where it may be",)


def test_an_empty_store_gives_an_empty_queue(store: SmallStore) -> None:
    queue = queue_of(store)
    assert queue.rows.is_empty()
    assert queue.rows.schema == REVIEW_QUEUE


def test_the_reason_names_confidences_around_the_classes_own_threshold(store: SmallStore) -> None:
    store.classes()
    store.champion()
    found = [detection("doubt", 0, 0.31), detection("doubt", 0, 0.36, box_x=0.7), detection("sure", 1, 0.98)]
    store.day(DAY, [photo("doubt"), photo("sure", "CAB-2")], found)
    row = rows(queue_of(store))[photo_id("doubt")]
    assert row["kind"] == "uncertain"
    assert row["reason"].startswith("2 x splitter at 0.31, 0.36, around the threshold 0.35")
    assert [(b["class_name"], b["confidence"]) for b in row["suggested_boxes"]] == [
        ("splitter", 0.36),
        ("splitter", 0.31),
    ]
    assert row["model_version"] == "4"
    sure = rows(queue_of(store))[photo_id("sure")]
    assert sure["kind"] == "unlabelled_enclosure"


def test_the_same_confidence_is_sure_for_a_class_with_another_threshold(store: SmallStore) -> None:
    store.classes()
    store.champion(champion_thresholds='{"0": 0.05, "1": 0.5, "2": 0.4}')
    store.labels(label("old", 0))
    store.day(DAY, [photo("old"), photo("new")], [detection("new", 0, 0.4)])
    assert queue_of(store).rows.is_empty()


def test_a_rare_class_is_looked_for_where_nobody_labelled_it(store: SmallStore) -> None:
    store.classes(surge_arrester=(14, 3))
    store.champion()
    store.labels(label("known", 2))
    store.day(
        DAY,
        [photo("known"), photo("same enclosure"), photo("new", "CAB-2")],
        [detection("same enclosure", 2, 0.9), detection("new", 2, 0.9)],
    )
    row = rows(queue_of(store))[photo_id("new")]
    assert row["kind"] == "rare_class"
    assert "may show surge_arrester (0.9), of which only 14 boxes in 3 enclosures are labelled" in row["reason"]
    assert photo_id("same enclosure") not in rows(queue_of(store))


def test_a_class_without_test_boxes_asks_for_test_enclosures(store: SmallStore) -> None:
    store.classes()
    store.champion()
    store.labels(label("trained on", 2), label("tested on", 0))
    store.dataset(("trained on", "train", 2), ("trained on", "train", 1), ("tested on", "test", 0), ("x", "test", 1))
    store.splits(CAB_1="train", CAB_2="test")
    names = {"trained on": "CAB-1", "tested on": "CAB-2", "train": "CAB-1", "test": "CAB-2", "new": "CAB-3"}
    found = [detection(name, 2, 0.95) for name in ("train", "test", "new")]
    store.day(DAY, [photo(name, enclosure) for name, enclosure in names.items()], found)
    offered = {r["photo_id"] for r in queue_of(store).rows.to_dicts() if r["kind"] == "test_enclosure"}
    assert offered == {photo_id("test"), photo_id("new")}


def test_photos_labelled_before_a_class_existed_come_first(store: SmallStore) -> None:
    store.classes()
    store.champion()
    old = label("old", 0, class_map_version=2)
    store.labels(old, label("elsewhere", 0, class_map_version=2), label("shows it", 2))
    photos = [photo("old"), photo("shows it"), photo("elsewhere", "CAB-2"), photo("unlabelled", "CAB-3")]
    store.day(DAY, photos, [detection("unlabelled", 0, 0.35)])
    queue = queue_of(store, budget=10)
    assert queue.rows["photo_id"].to_list()[:2] == [photo_id("old"), photo_id("elsewhere")]
    first = queue.rows.row(0, named=True)
    assert first["reason"] == "labelled before surge_arrester existed, which another photo of CAB-1 shows"
    assert [(b["class_name"], b["confidence"]) for b in first["suggested_boxes"]] == [("splitter", 1.0)]


def test_likely_mistakes_are_offered_until_somebody_has_looked(store: SmallStore) -> None:
    store.classes()
    store.champion()
    at = {"box_x": 0.8, "box_y": 0.2}
    store.labels(label("swapped", 0), label("missing", 1), label("right", 1))
    found = [detection("swapped", 1, 0.95), detection("missing", 1, 0.9), detection("missing", 2, 0.9, **at)]
    store.day(DAY, [photo("swapped"), photo("missing", "B"), photo("right", "C")], [*found, detection("right", 1, 0.9)])
    queue = queue_of(store)
    said = {photo_id: (row["kind"], row["reason"]) for photo_id, row in rows(queue).items()}
    assert said == {
        photo_id("swapped"): ("label_error", "labelled splitter, but looks like router (0.95)"),
        photo_id("missing"): ("label_error", "nothing is labelled where a surge_arrester is found (0.9)"),
    }
    assert queue.label_errors["kind"].sort().to_list() == ["overlooked", "swapped"]
    store.tables.write("review_history", queue.history, REVIEW_HISTORY)
    store.labels(
        label("swapped", 0, annotated_at=LABELLED_AT + dt.timedelta(days=1)), label("missing", 1), label("right", 1)
    )
    assert set(rows(queue_of(store))) == {photo_id("missing")}


def test_labels_of_a_merged_class_are_those_of_the_other(store: SmallStore) -> None:
    store.classes()
    classes = store.tables.read("equipment_classes", EQUIPMENT_CLASSES)
    merged = pl.when(pl.col("class_id") == 2)
    store.tables.write(
        "equipment_classes",
        classes.with_columns(
            status=merged.then(pl.lit("merged")).otherwise("status"),
            merged_into=merged.then(pl.lit(1, pl.Int32)).otherwise("merged_into"),
        ),
        EQUIPMENT_CLASSES,
    )
    store.champion()
    store.labels(label("old name", 2))
    store.day(DAY, [photo("old name")], [detection("old name", 1, 0.9)])
    assert queue_of(store).rows.is_empty()


def test_what_other_tables_know_is_used_once_they_are_there(store: SmallStore) -> None:
    store.classes()
    store.champion()
    store.labels(label("quarrel", 0))
    store.day(DAY, [photo("quarrel"), photo("strange")], [detection("quarrel", 0, 0.9)])
    seen = [detection("strange", 0) | {"score": 1.25}, detection("quarrel", 0) | {"score": 0.1}]
    seen.append(detection("nothing", None) | {"score": None})
    unknown = pl.DataFrame(seen, schema=UNKNOWN_EQUIPMENT)
    store.tables.write("unknown_equipment", unknown, UNKNOWN_EQUIPMENT, DAY)
    conflict = {"photo_id": photo_id("quarrel"), "agreement": 0.2, "conflict": "anna and bela differ on 3 boxes"}
    store.tables.write("label_conflicts", pl.DataFrame([conflict], schema=LABEL_CONFLICTS), LABEL_CONFLICTS)
    queue = queue_of(store)
    said = {photo_id: row["reason"] for photo_id, row in rows(queue).items()}
    assert said == {
        photo_id("quarrel"): "anna and bela differ on 3 boxes",
        photo_id("strange"): "something in the middle left looks like equipment of no known class (1.25)",
    }
    assert queue.without == ()


def test_photos_unlike_those_trained_on_are_offered(store: SmallStore) -> None:
    store.classes()
    store.champion()
    trained = [f"t{n}" for n in range(25)]
    store.labels(*(label(name, 0) for name in trained))
    store.dataset(*((name, "train", 0) for name in trained))
    photos = [photo(name, brightness=100.0 + n) for n, name in enumerate(trained)]
    store.day(DAY, [*photos, photo("usual", brightness=110.0), photo("dark", brightness=34.0)])
    queue = queue_of(store)
    assert queue.rows["photo_id"].to_list() == [photo_id("dark")]
    assert queue.rows.item(0, "reason").startswith("unlike the photos trained on: brightness 34.0, there 100")


def refused_that_finds(*found: dict[str, Any]) -> Refused:
    def look(photo_ids: list[str]) -> pl.DataFrame:
        frame = pl.DataFrame(list(found), schema=DETECTIONS).filter(pl.col("photo_id").is_in(photo_ids))
        return frame.with_columns(model_version=pl.lit("7"))

    return Refused("7", {0: "splitter", 1: "router"}, {0: 0.3, 1: 0.3}, look)


def test_photos_on_which_a_refused_candidate_differs_are_offered(store: SmallStore) -> None:
    store.classes()
    store.champion()
    store.labels(label("old", 0))
    both = [detection("agreed", 0, 0.4), detection("differ", 0, 0.4)]
    store.day(DAY, [photo("old"), photo("agreed"), photo("differ")], both)
    candidate = refused_that_finds(detection("agreed", 0, 0.9), detection("differ", 1, 0.9))
    shares = {"uncertain": 0.5}
    queue = queue_of(store, candidate, budget=2, shares=shares | {"disagreement": 0.5})
    reasons = {row["photo_id"]: row["reason"] for row in queue.rows.to_dicts()}
    words = "the champion counts 1 x splitter, the refused version 7 1 x router"
    assert words in reasons[photo_id("differ")]
    assert words not in reasons[photo_id("agreed")]


def test_what_may_not_be_offered_is_not(store: SmallStore) -> None:
    store.classes()
    store.champion()
    store.labels(label("labelled", 0), label("empty", None))
    doubtful = ["labelled", "empty", "rejected", "duplicate", "erased", "near", "near too", "near labelled"]
    photos = [
        photo("labelled"),
        photo("empty", "CAB-2"),
        photo("rejected", "CAB-3", verdict="rejected"),
        photo("duplicate", "CAB-4", status="duplicate"),
        photo("erased", "CAB-5", status="erased"),
        photo("near", "CAB-6"),
        photo("near too", "CAB-7", near_duplicate_of=photo_id("near")),
        photo("near labelled", "CAB-8", near_duplicate_of=photo_id("labelled")),
    ]
    found = [detection(name, 1, 0.5, box_x=0.3) for name in doubtful if name not in ("labelled", "empty")]
    store.day(DAY, photos, [*found, detection("labelled", 0, 0.35)])
    assert len({photo_id("near"), photo_id("near too")} & set(rows(queue_of(store)))) == 1
    assert queue_of(store).rows.height == 1


def test_a_photo_keeps_the_day_since_which_it_waits(store: SmallStore) -> None:
    store.classes()
    store.champion()
    store.day(DAY, [photo("a")], [detection("a", 0, 0.35)])
    first = queue_of(store)
    store.tables.write("review_queue", first.rows, REVIEW_QUEUE)
    store.day(NEXT_DAY, [photo("b", "CAB-2")], [detection("b", 0, 0.35)])
    later = rows(queue_of(store, today=TODAY + dt.timedelta(days=3)))
    assert later[photo_id("a")]["queued_on"] == TODAY
    assert later[photo_id("b")]["queued_on"] == TODAY + dt.timedelta(days=3)


def test_what_another_version_found_is_no_reason(store: SmallStore) -> None:
    store.classes()
    store.champion()
    store.labels(label("old", 0))
    found = [detection("new", 0, 0.35) | {"model_version": "3"}]
    store.day(DAY, [photo("old"), photo("new")], found)
    assert queue_of(store).rows.is_empty()
