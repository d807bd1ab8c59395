"""Boxes as they are answered: which of them meet their class's threshold."""

import numpy as np
import pytest

from mlops_assets.detector.answers import boxes, lowest
from mlops_assets.detector.suppression import suppress


@pytest.mark.parametrize("threshold", [0.25, 0.3])
def test_a_box_exactly_at_its_threshold_is_answered_and_one_just_below_is_not(threshold: float) -> None:
    exact = np.float32(threshold)
    raw = np.array([[8, 40], [8, 40], [8, 8], [8, 8], [exact, np.nextafter(exact, np.float32(0))]], np.float32)
    found = suppress(raw, lowest({7: threshold}))
    (box,) = boxes(found, [7], {7: "router"}, {7: threshold})
    assert box["confidence"] == threshold


def test_the_lowest_threshold_decides_what_is_let_through() -> None:
    assert 0.2 < lowest({0: 0.9, 3: 0.25}) < 0.25
