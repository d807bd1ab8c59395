import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from snapshots import LEFT, RIGHT, SLIGHTLY_LEFT, TOP, Box, Label, predicted, truth

from mlops_assets.detector.evaluation import choose_thresholds, evaluate
from mlops_assets.detector.matching import SnapshotError, average_precision, match_predictions
from mlops_assets.detector.schema import DETECTOR_EVALUATION


def measure(
    labels: pl.DataFrame, found: pl.DataFrame, class_ids: list[int], threshold: float = 0.5
) -> dict[int | None, dict[str, float]]:
    thresholds = dict.fromkeys(class_ids, threshold)
    table = evaluate(labels, found, model_version="1", split="test", class_ids=class_ids, thresholds=thresholds)
    assert table.schema == DETECTOR_EVALUATION
    return {row["class_id"]: row for row in table.iter_rows(named=True)}


def test_a_hand_computed_case() -> None:
    labels = truth([("A-1", 0, LEFT), ("A-1", 0, RIGHT), ("B-1", 0, LEFT), ("B-2", None, None)])
    found = predicted(
        [
            ("A-1", 0, 0.9, LEFT),
            ("B-2", 0, 0.8, TOP),  # nothing there
            ("A-1", 0, 0.7, RIGHT),
            ("A-1", 0, 0.6, LEFT),  # found already
            ("B-1", None, None, None),
        ]
    )
    row = measure(labels, found, [0])[0]
    # Precision is 1 up to recall 1/3 (34 of 101 points), 2/3 up to recall 2/3 (33 points), 0 beyond.
    assert row["ap50"] == pytest.approx((34 * 1 + 33 * 2 / 3) / 101)
    assert row["ap50_95"] == pytest.approx(row["ap50"])
    assert row["precision"] == pytest.approx(2 / 4)
    assert row["recall"] == pytest.approx(2 / 3)
    assert row["n"] == 3


def test_ap50_95_is_the_mean_over_the_iou_thresholds() -> None:
    row = measure(truth([("A-1", 0, LEFT)]), predicted([("A-1", 0, 0.9, SLIGHTLY_LEFT)]), [0])[0]
    assert row["ap50"] == pytest.approx(1.0)
    assert row["ap50_95"] == pytest.approx(0.7)


def test_the_row_of_all_classes_is_macro_ap_and_micro_precision_and_recall() -> None:
    labels = truth([("A-1", 0, LEFT), ("A-1", 0, RIGHT), ("A-1", 1, TOP)])
    found = predicted([("A-1", 0, 0.9, LEFT), ("A-1", 0, 0.8, RIGHT), ("A-1", 1, 0.9, LEFT), ("A-1", 2, 0.9, LEFT)])
    rows = measure(labels, found, [0, 1, 2])
    assert rows[2]["ap50"] is None, "no label, no average precision"
    assert rows[2]["recall"] is None
    assert rows[2]["n"] == 0
    assert rows[None]["ap50"] == pytest.approx((1.0 + 0.0) / 2)
    assert rows[None]["precision"] == pytest.approx(2 / 4)
    assert rows[None]["recall"] == pytest.approx(2 / 3)
    assert rows[None]["n"] == 3


def test_precision_and_recall_count_from_the_threshold_on() -> None:
    labels = truth([("A-1", 0, LEFT), ("A-1", 0, RIGHT)])
    found = predicted([("A-1", 0, 0.9, LEFT), ("A-1", 0, 0.4, RIGHT)])
    assert measure(labels, found, [0], threshold=0.9)[0]["recall"] == 0.5
    assert measure(labels, found, [0], threshold=0.4)[0]["recall"] == 1.0
    assert measure(labels, found, [0], threshold=0.95)[0]["precision"] is None


def test_a_class_that_was_not_looked_for_is_ignored_on_that_photo() -> None:
    labels = pl.concat(
        [truth([("A-1", 0, LEFT)], class_map_version=1), truth([("B-1", 1, RIGHT)], class_map_version=2)]
    )
    found = predicted([("A-1", 0, 0.9, LEFT), ("A-1", 1, 0.95, RIGHT), ("B-1", 1, 0.9, RIGHT)])
    assert measure(labels, found, [0, 1])[1]["precision"] == 1.0
    assert measure(labels, found, [0, 1])[1]["ap50"] == pytest.approx(1.0)
    looked_for = labels.with_columns(class_map_version=pl.lit(2, pl.Int32))
    assert measure(looked_for, found, [0, 1])[1]["precision"] == 0.5


def test_only_the_split_asked_for_counts() -> None:
    labels = pl.concat([truth([("A-1", 0, LEFT)]), truth([("B-1", 0, LEFT)], split="val")])
    assert measure(labels, predicted([("A-1", 0, 0.9, LEFT)]), [0])[0]["n"] == 1


def test_predictions_of_a_strange_photo_are_refused() -> None:
    with pytest.raises(SnapshotError, match="Z-9"):
        match_predictions(truth([("A-1", 0, LEFT)]), predicted([("Z-9", 0, 0.9, LEFT)]), [0])


sizes = st.floats(0.02, 0.3)
centres = st.floats(0.2, 0.8)
boxes: st.SearchStrategy[Box] = st.tuples(centres, centres, sizes, sizes)
label_lists = st.lists(st.tuples(st.sampled_from(["A-1", "A-2", "B-1"]), st.integers(0, 2), boxes), min_size=1)


@given(label_lists)
def test_perfect_predictions_give_ap_1_and_none_give_0(labels: list[Label]) -> None:
    table = truth(labels)
    class_ids = sorted({class_id for _, class_id, _ in labels if class_id is not None})
    perfect = measure(table, predicted([(p, c, 0.9, b) for p, c, b in labels]), class_ids)
    nothing = measure(table, predicted([]), class_ids)
    for class_id in [*class_ids, None]:
        assert perfect[class_id]["ap50"] == pytest.approx(1.0)
        assert perfect[class_id]["ap50_95"] == pytest.approx(1.0)
        assert perfect[class_id]["recall"] == perfect[class_id]["precision"] == 1.0
        assert nothing[class_id]["ap50"] == nothing[class_id]["recall"] == 0.0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), min_size=1, max_size=30), st.integers(1, 10))
def test_a_weight_counts_as_so_many_predictions(items: list[tuple[bool, int]], more_labels: int) -> None:
    hit = np.array([item[0] for item in items])
    weights = np.array([float(item[1]) for item in items])
    labels = float((hit * weights).sum() + more_labels)
    repeated = np.repeat(hit, weights.astype(int))
    expected = average_precision(repeated, np.ones((1, repeated.size)), np.array([labels]))
    assert average_precision(hit, weights[None], np.array([labels])) == pytest.approx(expected)


def test_thresholds_are_those_of_best_f1_on_val() -> None:
    labels = truth([("A-1", 0, LEFT), ("A-1", 0, RIGHT), ("A-1", 1, TOP)], split="val")
    found = predicted(
        [
            ("A-1", 0, 0.9, LEFT),
            ("A-1", 0, 0.6, RIGHT),
            ("A-1", 0, 0.4, TOP),
            ("A-1", 0, 0.3, TOP),
            ("A-1", 2, 0.9, LEFT),
        ]
    )
    chosen = choose_thresholds(labels, found, [0, 1, 2], default=0.35)
    assert chosen[0] == pytest.approx(0.5), "halfway between the last hit and the first false one"
    assert chosen[1] == 0.35, "in val, but never found"
    assert chosen[2] == 0.35, "not in val"


def test_thresholds_never_look_at_test() -> None:
    labels = pl.concat([truth([("A-1", 0, LEFT)], split="val"), truth([("B-1", 0, LEFT)])])
    with pytest.raises(SnapshotError):
        choose_thresholds(labels, predicted([("B-1", 0, 0.9, LEFT)]), [0], default=0.35)
