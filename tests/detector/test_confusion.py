import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from snapshots import LEFT, RIGHT, SLIGHTLY_LEFT, TOP, Label, Prediction, predicted, random_snapshot, truth

from mlops_assets.boxes import BOX_COLUMNS
from mlops_assets.detector.confusion import OUTCOMES, box_outcomes, confusion_matrix, iou
from mlops_assets.detector.matching import SnapshotError
from mlops_assets.detector.schema import DETECTOR_CONFUSION


def cells(
    labels: pl.DataFrame, found: list[Prediction], class_ids: tuple[int, ...] = (0, 1, 2), threshold: float = 0.5
) -> dict[tuple[int | None, int | None], int]:
    outcomes = box_outcomes(labels, predicted(found), dict.fromkeys(class_ids, threshold), class_ids)
    assert outcomes.schema == OUTCOMES
    matrix = confusion_matrix(outcomes, model_version="1")
    assert matrix.schema == DETECTOR_CONFUSION
    return {(row[0], row[1]): row[2] for row in matrix.select("class_id", "found_class_id", "boxes").iter_rows()}


def test_a_hand_made_case() -> None:
    labels = truth([("A-1", 0, LEFT), ("A-1", 0, RIGHT), ("A-1", 1, TOP), ("B-1", 2, LEFT), ("B-2", None, None)])
    found: list[Prediction] = [
        ("A-1", 0, 0.9, LEFT),
        ("A-1", 1, 0.8, RIGHT),  # taken for another
        ("A-1", 1, 0.4, TOP),  # not sure enough
        ("B-1", 2, 0.7, RIGHT),  # beside it
        ("B-2", 2, 0.6, TOP),
    ]
    assert cells(labels, found) == {(0, 0): 1, (0, 1): 1, (1, None): 1, (2, None): 1, (None, 2): 2}


def test_the_surer_detection_takes_the_label_and_the_other_is_too_much() -> None:
    labels = truth([("A-1", 0, LEFT)])
    found: list[Prediction] = [("A-1", 0, 0.6, LEFT), ("A-1", 1, 0.9, SLIGHTLY_LEFT)]
    assert cells(labels, found) == {(0, 1): 1, (None, 0): 1}


def test_a_label_of_a_class_that_the_model_does_not_know_is_missed_or_taken_for_another() -> None:
    labels = truth([("A-1", 7, LEFT), ("A-1", 8, TOP)])
    assert cells(labels, [("A-1", 0, 0.9, LEFT)], (0,)) == {(7, 0): 1, (8, None): 1}


def test_a_class_that_nobody_looked_for_there_is_left_out() -> None:
    labels = truth([("A-1", 0, LEFT)], class_map_version=1)
    assert cells(labels, [("A-1", 0, 0.9, LEFT), ("A-1", 1, 0.9, RIGHT)]) == {(0, 0): 1}


def test_nothing_at_all_is_an_empty_matrix_and_nothing_found_is_all_missed() -> None:
    assert cells(truth([]), []) == {}
    assert cells(truth([("A-1", None, None)]), []) == {}
    assert cells(truth([("A-1", 0, LEFT)]), [("A-1", None, None, None)]) == {(0, None): 1}


def test_a_strange_photo_is_refused() -> None:
    with pytest.raises(SnapshotError, match="Z-9"):
        cells(truth([("A-1", 0, LEFT)]), [("Z-9", 0, 0.9, LEFT)])


def test_the_boxes_of_both_sides_stay_with_the_outcome() -> None:
    labels = truth([("A-1", 0, LEFT), ("A-1", 1, TOP)])
    rows = box_outcomes(
        labels, predicted([("A-1", 0, 0.9, SLIGHTLY_LEFT), ("A-1", 1, 0.8, RIGHT)]), {0: 0.5, 1: 0.5}, [0, 1]
    )
    assert rows.filter(pl.col("found_class_id") == 0).select(*BOX_COLUMNS).row(0) == LEFT
    assert rows.filter(pl.col("found_class_id") == 0)["found_box_x"].item() == pytest.approx(0.27)
    assert rows.filter(pl.col("class_id").is_null()).select("photo_id", "confidence").row(0) == ("A-1", 0.8)


@pytest.mark.parametrize("seed", [0, 1, 2, 4])
def test_the_matrix_is_that_of_ultralytics(seed: int) -> None:
    from ultralytics.utils.metrics import ConfusionMatrix

    labels, found = random_snapshot(seed)
    reference = ConfusionMatrix(names={0: "a", 1: "b", 2: "c"})
    for photo in sorted({photo for photo, _, _ in labels}):
        sides = []
        for rows in ([(p, c, 1.0, b) for p, c, b in labels if p == photo], [r for r in found if r[0] == photo]):
            boxes = torch.tensor([row[3] for row in rows], dtype=torch.float64).reshape(-1, 4)
            corners = torch.cat([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], dim=1)
            scores = torch.tensor([row[2] for row in rows], dtype=torch.float64)
            sides.append({"cls": torch.tensor([row[1] for row in rows]), "conf": scores, "bboxes": corners})
        reference.process_batch(sides[1], sides[0], conf=0.3, iou_thres=0.5)
    ours = np.zeros((4, 4))
    for (labelled, said), boxes in cells(truth(labels), found, threshold=0.3).items():
        ours[3 if said is None else said, 3 if labelled is None else labelled] = boxes
    assert np.array_equal(ours, reference.matrix)
    assert ours[:3, :3].sum() > np.trace(ours[:3, :3]) > 0


centres = st.floats(0.2, 0.8)
boxes = st.tuples(centres, centres, st.floats(0.05, 0.3), st.floats(0.05, 0.3))
photos = st.sampled_from(["A-1", "A-2", "B-1"])


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(photos, st.integers(0, 2), boxes), max_size=12),
    st.lists(st.tuples(photos, st.integers(0, 2), st.floats(0, 1), boxes), max_size=12),
)
def test_every_label_and_every_counted_detection_stands_in_one_cell(
    labels: list[Label], found: list[Prediction]
) -> None:
    background: list[Label] = [(photo, None, None) for photo in ("A-1", "A-2", "B-1")]
    counted = cells(truth([*labels, *background]), found)
    for class_id in range(3):
        assert sum(n for (label, _), n in counted.items() if label == class_id) == sum(
            c == class_id for _, c, _ in labels
        )
        said = sum(1 for _, c, confidence, _ in found if c == class_id and confidence is not None and confidence >= 0.5)
        assert sum(n for (_, other), n in counted.items() if other == class_id) == said
    assert (None, None) not in counted


def test_overlap_of_boxes() -> None:
    one = np.array([[0.0, 0.0, 1.0, 1.0], [0.5, 0.0, 1.5, 1.0], [2.0, 2.0, 2.0, 2.0]])
    assert iou(one, one) == pytest.approx(np.array([[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 0]]))
    assert iou(one, one[:0]).shape == (3, 0)
