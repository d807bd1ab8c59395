"""Planted mistakes are scored as what they are; right labels are not suspected."""

import random
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlops_assets.detector.predictor import PREDICTIONS
from mlops_assets.labels.schema import ANNOTATIONS
from mlops_assets.monitoring.label_errors import find_label_errors, overlaps
from mlops_assets.monitoring.schema import LABEL_ERRORS

NAMES = {0: "splitter", 1: "router"}


def box(x: float, y: float, w: float = 0.2, h: float = 0.1) -> dict[str, float]:
    return {"box_x": x, "box_y": y, "box_w": w, "box_h": h}


def labels(*rows: tuple[int | None, dict[str, float]], version: int = 2) -> pl.DataFrame:
    filled: list[dict[str, Any]] = [
        {"photo_id": "p", "class_id": class_id, "class_map_version": version, **where} for class_id, where in rows
    ]
    return pl.DataFrame(filled, schema=ANNOTATIONS)


def predictions(*rows: tuple[int, float, dict[str, float]]) -> pl.DataFrame:
    filled: list[dict[str, Any]] = [
        {"photo_id": "p", "class_id": class_id, "confidence": confidence, "model_version": "4", **where}
        for class_id, confidence, where in rows
    ]
    return pl.DataFrame(filled, schema=PREDICTIONS)


def worst(errors: pl.DataFrame) -> dict[str, Any]:
    return errors.row(0, named=True)


def test_an_object_that_nobody_labelled() -> None:
    errors = find_label_errors(
        labels((0, box(0.2, 0.2))), predictions((0, 0.9, box(0.2, 0.2)), (1, 0.8, box(0.7, 0.7))), NAMES
    )
    assert errors.schema == LABEL_ERRORS
    first = worst(errors)
    assert (first["kind"], first["predicted_class_name"], first["class_id"]) == ("overlooked", "router", None)
    assert first["quality"] == pytest.approx(0.2, abs=0.02)
    assert (first["box_x"], first["iou"]) == (0.7, 0.0)


def test_an_empty_photo_with_an_object() -> None:
    errors = find_label_errors(labels((None, {})), predictions((1, 0.8, box(0.7, 0.7))), NAMES)
    assert errors["kind"].to_list() == ["overlooked"]
    assert worst(errors)["quality"] == pytest.approx(0.2)


def test_a_label_of_another_class() -> None:
    errors = find_label_errors(labels((0, box(0.2, 0.2))), predictions((1, 0.9, box(0.2, 0.2))), NAMES)
    first = worst(errors)
    assert (first["kind"], first["class_name"], first["predicted_class_name"]) == ("swapped", "splitter", "router")
    assert first["quality"] == pytest.approx(0.1)
    assert errors.filter(pl.col("kind") == "overlooked").is_empty()


def test_a_label_is_not_swapped_where_its_own_class_is_found_as_well() -> None:
    both = predictions((1, 0.5, box(0.2, 0.2)), (0, 0.9, box(0.2, 0.2)))
    errors = find_label_errors(labels((0, box(0.2, 0.2))), both, NAMES)
    assert errors["quality"].min() > 0.9  # type: ignore[operator]


def test_a_box_that_sits_badly() -> None:
    errors = find_label_errors(labels((0, box(0.26, 0.23))), predictions((0, 0.9, box(0.2, 0.2))), NAMES)
    first = worst(errors)
    assert first["kind"] == "badly_located"
    assert first["iou"] == pytest.approx(0.49 / 1.51)
    assert (first["box_x"], first["class_name"]) == (0.26, "splitter")


def test_a_neighbours_detection_is_no_sign_of_a_bad_box() -> None:
    side_by_side = labels((0, box(0.2, 0.2)), (0, box(0.39, 0.2)))
    errors = find_label_errors(side_by_side, predictions((0, 0.9, box(0.2, 0.2))), NAMES)
    assert errors.filter(pl.col("quality") < 0.9).is_empty()


def test_classes_that_were_not_looked_for_are_no_mistakes() -> None:
    errors = find_label_errors(labels((0, box(0.2, 0.2)), version=1), predictions((1, 0.9, box(0.7, 0.7))), NAMES)
    assert errors.is_empty()


def test_a_label_of_a_class_that_the_model_never_learnt_is_not_doubted() -> None:
    found = predictions((1, 0.9, box(0.2, 0.2)))
    assert find_label_errors(labels((0, box(0.2, 0.2))), found, NAMES, knows=[1]).is_empty()
    assert not find_label_errors(labels((0, box(0.2, 0.2))), found, NAMES, knows=[0, 1]).is_empty()


def test_photos_without_labels_are_left_out() -> None:
    other = predictions((1, 0.9, box(0.7, 0.7))).with_columns(photo_id=pl.lit("other"))
    assert find_label_errors(labels((0, box(0.2, 0.2))), other, NAMES).is_empty()


@settings(deadline=None, max_examples=40)
@example(
    found=[(0, 1.0, 0.75, 0.5), (0, 0.5, 0.75, 0.5)],
    given_labels=[(0, 0.875, 0.5)],
    rng=random.Random(3),  # noqa: S311 an order of rows, no secret
)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.floats(0.05, 1.0), st.floats(0.1, 0.9), st.floats(0.1, 0.9)), max_size=8),
    st.lists(st.tuples(st.integers(0, 1), st.floats(0.1, 0.9), st.floats(0.1, 0.9)), min_size=1, max_size=8),
    st.randoms(use_true_random=False),
)
def test_qualities_are_shares_and_row_order_leaves_no_trace(found: Any, given_labels: Any, rng: Any) -> None:
    label_frame = labels(*((c, box(x, y)) for c, x, y in given_labels))
    prediction_frame = predictions(*((c, p, box(x, y)) for c, p, x, y in found))
    errors = find_label_errors(label_frame, prediction_frame, NAMES)
    assert errors["quality"].is_between(0, 1).all()
    order = list(range(prediction_frame.height))
    rng.shuffle(order)
    again = find_label_errors(label_frame.reverse(), prediction_frame[order], NAMES)
    assert again["quality"].to_list() == pytest.approx(errors["quality"].to_list())


def test_overlap_of_known_boxes() -> None:
    first = np.array([[0.5, 0.5, 0.2, 0.2]])
    second = np.array([[0.5, 0.5, 0.2, 0.2], [0.6, 0.5, 0.2, 0.2], [0.9, 0.9, 0.1, 0.1]])
    assert overlaps(first, second)[0] == pytest.approx([1.0, 1 / 3, 0.0])
    assert overlaps(first[:0], second).shape == (0, 3)
