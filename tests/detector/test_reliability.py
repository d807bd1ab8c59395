import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from snapshots import LEFT, TOP, predicted, truth

from mlops_assets.detector.matching import ClassMatches, Matches, match_predictions
from mlops_assets.detector.reliability import calibration_error, reliability
from mlops_assets.detector.schema import DETECTOR_RELIABILITY


def found_with(confidence: np.ndarray, hit: np.ndarray) -> Matches:
    order = np.argsort(-confidence, kind="stable")
    n = confidence.size
    one = ClassMatches(confidence[order], np.zeros(n, np.int64), np.tile(hit[order], (10, 1)), np.array([n]))
    return Matches(("A-1",), ("A",), {0: one})


def test_the_error_is_what_it_was_built_to_be() -> None:
    confidence = np.repeat([0.95, 0.75, 0.15], [40, 40, 20])
    hit = np.concatenate([np.arange(40) < 38, np.arange(40) < 20, np.arange(20) < 3])  # 0.95, 0.50 and 0.15 find one
    bins = reliability(found_with(confidence, hit), model_version="1")
    assert bins.schema == DETECTOR_RELIABILITY
    assert bins["n"].to_list() == [20, 40, 40]
    assert bins["confidence_from"].to_list() == pytest.approx([0.1, 0.7, 0.9])
    assert bins["precision"].to_list() == pytest.approx([0.15, 0.5, 0.95])
    assert calibration_error(bins) == pytest.approx(0.25 * 0.4)


def test_a_model_whose_confidence_is_its_precision_has_no_error() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.05, 1.0, 50_000)
    bins = reliability(found_with(confidence, rng.random(confidence.size) < confidence), model_version="1")
    error = calibration_error(bins)
    assert error is not None
    assert error < 0.01
    assert bins.height == 10


def test_classes_count_together_and_confidences_near_nought_do_not_count() -> None:
    labels = truth([("A-1", 0, LEFT), ("A-1", 1, TOP)])
    found = predicted([("A-1", 0, 0.9, LEFT), ("A-1", 1, 0.9, LEFT), ("A-1", 0, 0.01, TOP), ("A-1", 1, 1.0, TOP)])
    bins = reliability(match_predictions(labels, found, [0, 1]), model_version="1")
    assert bins.select("n", "precision").rows() == [(3, pytest.approx(2 / 3))]


def test_nothing_found_has_no_bins_and_no_error() -> None:
    bins = reliability(match_predictions(truth([("A-1", 0, LEFT)]), predicted([]), [0]), model_version="1")
    assert bins.is_empty()
    assert calibration_error(bins) is None


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.floats(0.0, 1.0), st.booleans()), max_size=40))
def test_every_prediction_is_in_the_bin_of_its_confidence(rows: list[tuple[float, bool]]) -> None:
    confidence = np.array([row[0] for row in rows], float)
    bins = reliability(found_with(confidence, np.array([row[1] for row in rows], bool)), model_version="1")
    assert bins["n"].sum() == (confidence >= 0.05).sum()
    for row in bins.iter_rows(named=True):
        assert row["confidence_from"] - 1e-9 <= row["confidence"] <= row["confidence_to"] + 1e-9
    error = calibration_error(bins)
    assert error is None or 0 <= error <= 1
