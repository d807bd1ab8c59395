import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.dataset.schema import SPLIT_ASSIGNMENTS
from mlops_assets.dataset.splits import (
    ENCLOSURE_CLASS_COUNTS,
    ENCLOSURE_PAIRS,
    assign_splits,
    enclosure_class_counts,
    near_duplicate_enclosures,
    split_conflicts,
)
from mlops_assets.labels.schema import ANNOTATIONS
from mlops_assets.use_case import SplitRules

NONE = pl.DataFrame(schema=SPLIT_ASSIGNMENTS)
NO_PAIRS = pl.DataFrame(schema=ENCLOSURE_PAIRS)
RULES = SplitRules()


def counts(rows):
    return pl.DataFrame(rows, schema=ENCLOSURE_CLASS_COUNTS, orient="row")


def pairs(rows):
    return pl.DataFrame(rows, schema=ENCLOSURE_PAIRS, orient="row")


def enclosures_of_class(table, assignments, class_id):
    placed = table.filter(pl.col("class_id") == class_id).join(assignments, on="enclosure_id")
    return dict(placed.group_by("split").len().iter_rows())


enclosure = st.integers(0, 14).map(lambda number: f"E{number:02d}")
class_counts = st.lists(
    st.tuples(enclosure, st.integers(0, 3), st.integers(1, 9)), max_size=25, unique_by=lambda row: row[:2]
)
near = st.lists(st.tuples(enclosure, enclosure).filter(lambda pair: pair[0] != pair[1]), max_size=5)


@settings(deadline=None, max_examples=60)
@given(class_counts, class_counts, near, near)
def test_assignments_never_move_and_new_groups_stay_together(first, later, near_first, near_later):
    before = assign_splits(counts(first), pairs(near_first), NONE, RULES)
    both = counts(list({row[:2]: row for row in [*first, *later]}.values()))
    after = assign_splits(both, pairs([*near_first, *near_later]), before, RULES)
    assert after[: before.height].equals(before)
    assert set(after["enclosure_id"]) == set(both["enclosure_id"])
    assert after["enclosure_id"].is_unique().all()
    assert split_conflicts(before, pairs(near_first)).is_empty()
    old = set(before["enclosure_id"])
    conflicts = split_conflicts(after, pairs([*near_first, *near_later]))
    if conflicts.height:  # only possible where enclosures that were assigned apart turn out to be connected
        assert len(set(before["split"])) > 1
        assert near_later
    for _, members in after.filter(~pl.col("enclosure_id").is_in(list(old))).group_by("group"):
        assert members["split"].n_unique() == 1


@settings(deadline=None, max_examples=60)
@given(class_counts, st.integers(0, 5))
def test_every_class_has_a_train_enclosure_and_the_order_of_rows_does_not_matter(rows, seed):
    table = counts(rows)
    rules = SplitRules(seed=seed)
    result = assign_splits(table, NO_PAIRS, NONE, rules)
    assert assign_splits(table.sample(fraction=1, shuffle=True, seed=1), NO_PAIRS, NONE, rules).equals(result)
    for class_id in table["class_id"].unique():
        assert enclosures_of_class(table, result, class_id).get("train", 0) >= 1


def test_a_class_in_three_enclosures_is_in_every_split():
    table = counts([(f"E{n}", 0, 5) for n in range(20)] + [("E3", 1, 1), ("E4", 1, 9), ("E5", 1, 2)])
    result = assign_splits(table, NO_PAIRS, NONE, RULES)
    assert enclosures_of_class(table, result, 1) == {"train": 1, "val": 1, "test": 1}


def test_shares_of_boxes_and_enclosures_approach_the_wanted_ones():
    table = counts([(f"E{n:03d}", c, 1 + (n * 7 + c * 3) % 5) for n in range(80) for c in range(6) if (n + c) % 3])
    result = assign_splits(table, NO_PAIRS, NONE, RULES)
    shares = dict(result.group_by("split").len().iter_rows())
    assert (shares["train"], shares["val"], shares["test"]) == pytest.approx((52, 12, 16), abs=2)
    boxes = table.join(result, on="enclosure_id").group_by("class_id", "split").agg(pl.col("boxes").sum())
    share = boxes.with_columns(pl.col("boxes") / pl.col("boxes").sum().over("class_id"))
    for split, wanted in (("train", 0.65), ("val", 0.15), ("test", 0.20)):
        assert share.filter(pl.col("split") == split)["boxes"].to_list() == pytest.approx([wanted] * 6, abs=0.05)


def test_enclosures_that_come_one_by_one_reach_every_split_and_keep_the_shares():
    assignments = NONE
    rows = []
    for number in range(40):
        rows.append((f"E{number:02d}", number % 2, 4))
        assignments = assign_splits(counts(rows), NO_PAIRS, assignments, RULES)
    shares = dict(assignments.group_by("split").len().iter_rows())
    assert (shares["train"], shares["val"], shares["test"]) == pytest.approx((26, 6, 8), abs=2)


def test_a_new_enclosure_joins_the_earliest_of_its_near_duplicates_and_a_conflict_is_told():
    before = pl.DataFrame([("B", "B", "test"), ("A", "A", "train")], schema=SPLIT_ASSIGNMENTS, orient="row")
    table = counts([("A", 0, 1), ("B", 0, 1), ("C", 0, 1)])
    links = pairs([("C", "unlabelled"), ("unlabelled", "A"), ("C", "B")])
    after = assign_splits(table, links, before, RULES)
    assert after.row(2) == ("C", "B", "test")
    assert split_conflicts(after, pairs([("C", "A"), ("C", "B")])).rows() == [("C", "test", "A", "train")]


def test_shares_that_leave_nothing_for_training_are_an_error():
    with pytest.raises(ValueError, match="leave nothing for training"):
        assign_splits(counts([("A", 0, 1)]), NO_PAIRS, NONE, SplitRules(val=0.5, test=0.5))


def test_a_split_that_is_not_wanted_gets_nothing():
    result = assign_splits(counts([(f"E{n}", 0, 1) for n in range(9)]), NO_PAIRS, NONE, SplitRules(val=0.0, test=0.3))
    assert set(result["split"]) == {"train", "test"}


def test_counts_and_pairs_come_from_annotations_and_photos():
    photos = pl.DataFrame(
        {
            "photo_id": ["p0", "p1", "p2"],
            "enclosure_id": ["A", "A", "B"],
            "near_duplicate_of": [None, "p0", "p1"],
        }
    )
    rows = [("p0", 0), ("p0", 0), ("p1", 0), ("p2", None), ("erased", 0)]
    annotations = pl.DataFrame(
        [{"photo_id": photo, "class_id": c, "box_x": None if c is None else 0.5} for photo, c in rows],
        schema=ANNOTATIONS,
    )
    assert enclosure_class_counts(annotations, photos).rows() == [("A", 0, 3), ("B", None, 0)]
    assert near_duplicate_enclosures(photos, photos).rows() == [("B", "A")]
    assert assign_splits(enclosure_class_counts(annotations, photos), NO_PAIRS, NONE, RULES).height == 2
