import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.detector.regions import MAX_REGIONS, pool, propose, unit
from mlops_assets.photos.pixels import Letterbox

SIZE, STRIDE = 96, 8
WIDE = Letterbox(scale=1.0, left=0, top=12, width=96, height=72)


def raw_output(rows: list[list[float]]) -> np.ndarray:
    return np.array(rows, dtype=np.float32).T


def test_one_place_is_one_region_whatever_its_classes() -> None:
    found = propose(
        raw_output([[40, 40, 20, 10, 0.3, 0.0], [41, 40, 20, 10, 0.0, 0.2], [70, 60, 10, 10, 0, 0.01]]), WIDE
    )
    assert np.allclose(found.objectness, [0.3, 0.01])
    assert np.allclose(found.boxes, [[30, 35, 50, 45], [65, 55, 75, 65]])


def test_the_margin_and_what_is_like_nothing_are_no_region() -> None:
    found = propose(raw_output([[40, 5, 20, 10, 0.9], [40, 91, 20, 10, 0.9], [40, 40, 9, 9, 0.0001]]), WIDE)
    assert found.boxes.shape == (0, 4)
    assert found.objectness.shape == (0,)


def test_regions_are_bounded_and_the_likeliest_are_kept() -> None:
    rows = [[4 + 8 * (i % 12), 16 + 8 * (i // 12), 6, 6, 0.01 + i / 1000] for i in range(48)]
    found = propose(raw_output(rows), WIDE)
    assert np.allclose(found.objectness, [0.01 + i / 1000 for i in range(47, 47 - MAX_REGIONS, -1)])


spans = st.tuples(st.floats(8, 87), st.floats(0, 1)).map(
    lambda span: (span[0], span[0] + 0.6 + span[1] * (87.4 - span[0]))
)
boxes = st.tuples(spans, spans).map(lambda sides: (sides[0][0], sides[1][0], sides[0][1], sides[1][1]))


@given(st.lists(boxes, min_size=1, max_size=5))
def test_a_ramp_pools_to_its_value_at_the_middle_of_the_box(corners: list[tuple[float, ...]]) -> None:
    cells = SIZE // STRIDE
    y, x = np.mgrid[:cells, :cells].astype(np.float32)
    maps = np.stack([x, np.ones_like(x), y, np.ones_like(x)])
    places = np.array(corners)
    pooled = pool(maps, places, SIZE, (2, 2))
    middle = (places[:, :2] + places[:, 2:]) / 2 / STRIDE - 0.5
    assert np.allclose(pooled[:, 0] / pooled[:, 1], middle[:, 0], atol=1e-4)
    assert np.allclose(pooled[:, 2] / pooled[:, 3], middle[:, 1], atol=1e-4)
    assert np.allclose(np.linalg.norm(pooled.reshape(-1, 2, 2), axis=2), 1, atol=1e-5)


def test_a_box_that_leaves_the_maps_is_read_at_their_edge() -> None:
    maps = np.stack([np.full((4, 4), 3.0), np.full((4, 4), 4.0)]).astype(np.float32)
    assert np.allclose(pool(maps, np.array([[-50.0, -50, 200, 200]]), 32, (2,)), [[0.6, 0.8]])


@pytest.mark.parametrize("vectors", [np.zeros((2, 3)), np.zeros((0, 3))])
def test_nothing_stays_nothing(vectors: np.ndarray) -> None:
    assert np.array_equal(unit(vectors.astype(np.float32)), vectors)
