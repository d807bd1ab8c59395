"""Properties of the selection: the budget, no photo twice, variety, and no trace of the order of rows."""

import random

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mlops_assets.monitoring.schema import REVIEW_KINDS
from mlops_assets.monitoring.selection import CANDIDATES, CHOSEN, Pool, select
from mlops_assets.use_case import ReviewShares

SHARES = ReviewShares().model_dump()


def candidate(photo: int, kind: str, score: float, visit: int = 0, shot: int | None = None) -> dict[str, object]:
    return {
        "photo_id": f"photo-{photo:03}",
        "kind": kind,
        "score": score,
        "words": f"{kind} of {photo}",
        "enclosure_id": f"CAB-{visit // 2}",
        "visit_id": f"visit-{visit}",
        "shot": f"shot-{photo if shot is None else shot}",
        "day": "2026-10-06",
    }


def frame(rows: list[dict[str, object]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=CANDIDATES)


@st.composite
def candidates(draw: st.DrawFn) -> list[dict[str, object]]:
    photos = draw(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 20)), max_size=25))
    rows = []
    for photo, (visit, shot) in enumerate(photos):
        kinds = draw(st.sets(st.sampled_from(REVIEW_KINDS), min_size=1, max_size=3))
        scores = [draw(st.sampled_from([0.1, 0.25, 0.5, 0.9, 1.0])) for _ in kinds]
        rows += [candidate(photo, kind, score, visit, shot) for kind, score in zip(sorted(kinds), scores, strict=True)]
    return rows


@settings(deadline=None, max_examples=80)
@given(candidates(), st.integers(0, 12), st.randoms(use_true_random=False))
def test_budget_no_photo_or_shot_twice_and_no_trace_of_row_order(
    rows: list[dict[str, object]], budget: int, rng: random.Random
) -> None:
    chosen = select(frame(rows), budget, SHARES)
    assert chosen.schema == CHOSEN
    shots = {row["shot"] for row in rows}
    assert chosen.height == min(budget, len(shots))
    assert chosen["photo_id"].is_unique().all()
    shot_of = {row["photo_id"]: row["shot"] for row in rows}
    assert len({shot_of[photo] for photo in chosen["photo_id"]}) == chosen.height
    assert chosen["rank"].to_list() == list(range(1, chosen.height + 1))
    shuffled = list(rows)
    rng.shuffle(shuffled)
    assert_frame_equal(select(frame(shuffled), budget, SHARES), chosen)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=25), st.integers(1, 12))
def test_photos_of_equal_worth_are_spread_over_visits(visits: list[int], budget: int) -> None:
    chosen = select(
        frame([candidate(n, "uncertain", 0.8, visit) for n, visit in enumerate(visits)]), budget, {"uncertain": 1.0}
    )
    taken = [visits[int(photo[-3:])] for photo in chosen["photo_id"]]
    left = [visit for n, visit in enumerate(visits) if f"photo-{n:03}" not in set(chosen["photo_id"])]
    if left and chosen.height:
        # Nothing is left of a visit that gave two photos fewer than another visit of the same enclosure.
        for visit in set(left):
            sisters = [taken.count(other) for other in set(visits) if other // 2 == visit // 2]
            assert taken.count(visit) >= max(sisters) - 1


def test_photos_to_label_again_come_first_and_other_reasons_take_turns() -> None:
    rows = [candidate(n, "relabel", 0.5, n) for n in range(3)]
    rows += [candidate(10 + n, "uncertain", 0.9, 10 + n) for n in range(5)]
    rows += [candidate(20 + n, "drift", 0.3, 20 + n) for n in range(5)]
    chosen = select(frame(rows), 8, {"relabel": 0.25, "uncertain": 0.375, "drift": 0.25})
    assert chosen["kind"].to_list() == ["relabel", "relabel"] + ["uncertain", "drift"] * 2 + ["uncertain", "uncertain"]


def test_what_a_share_leaves_goes_to_the_most_reason() -> None:
    rows = [candidate(1, "drift", 0.6), candidate(2, "drift", 0.5, 4), candidate(2, "uncertain", 0.5, 4)]
    chosen = select(frame(rows), 1, {"drift": 0.1, "uncertain": 0.1})
    assert chosen.row(0, named=True)["photo_id"] == "photo-002"
    assert chosen.row(0, named=True)["reason"] == "drift of 2; uncertain of 2"


def test_a_reason_without_a_share_is_left_out() -> None:
    rows = [candidate(1, "drift", 0.6), candidate(2, "uncertain", 0.5)]
    chosen = select(frame(rows), 5, {"drift": 0.0, "uncertain": 0.1})
    assert chosen["kind"].to_list() == ["uncertain"]


def test_memory_holds_the_best_of_each_reason_and_not_one_visit_alone() -> None:
    pool = Pool(limit=4, of_visit=2)
    for day in range(30):
        rows = frame([candidate(100 * day + n, "uncertain", 0.01 * day + 0.001 * n, day % 3) for n in range(5)])
        pool.add(rows.select("photo_id", "kind", "score", "words"), rows.drop("kind", "score", "words"))
    kept = pool.candidates()
    assert kept.height == 4
    assert kept["visit_id"].value_counts()["count"].max() == 2
    assert kept["score"].max() == kept.item(0, "score")
    assert pool.offered["uncertain"] == 150
