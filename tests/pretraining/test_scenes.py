import ast
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pretraining.canvas import Area
from pretraining.dataset import render_dataset
from pretraining.device import draw_device, make_classes
from pretraining.scene import LONG_SIDE, Workshop

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def workshop() -> Workshop:
    return Workshop(seed=5, classes=100)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(number=st.integers(0, 2**31))
def test_boxes_lie_in_the_picture_and_name_labelled_classes(workshop: Workshop, number: int) -> None:
    picture, boxes = workshop.scene(number)
    height, width = picture.shape[:2]
    assert picture.dtype == np.uint8
    assert max(height, width) == LONG_SIDE
    for box in boxes:
        assert 0 <= box.class_index < 100
        assert -1e-9 <= box.x - box.width / 2 <= box.x + box.width / 2 <= 1 + 1e-9
        assert -1e-9 <= box.y - box.height / 2 <= box.y + box.height / 2 <= 1 + 1e-9
        assert min(box.width * width, box.height * height) >= 4


def test_a_scene_is_the_same_whenever_it_is_drawn(workshop: Workshop) -> None:
    again = Workshop(seed=5, classes=100)
    for number in (0, 3):
        (first, boxes), (second, others) = workshop.scene(number), again.scene(number)
        assert np.array_equal(first, second)
        assert boxes == others


def test_most_scenes_show_several_devices_and_all_shapes_occur(workshop: Workshop) -> None:
    found = [workshop.scene(number)[1] for number in range(60)]
    assert np.mean([len(boxes) for boxes in found]) > 3
    shapes = {workshop.classes[box.class_index].shape for boxes in found for box in boxes}
    assert shapes == {"unit", "module", "slim", "box"}


def test_devices_of_a_class_are_alike_and_classes_differ() -> None:
    classes = make_classes(1, 12)
    assert len(set(classes)) == 12
    for device in classes:
        one, other = (draw_device(device, np.random.default_rng(seed)).astype(float) for seed in (1, 2))
        assert one.shape == other.shape
        assert one.shape[1] / one.shape[0] == pytest.approx(device.aspect, rel=0.6)
        assert not np.array_equal(one, other)


@given(x=st.floats(0, 100), width=st.floats(1, 300), shares=st.lists(st.floats(0.1, 5), min_size=1, max_size=9))
def test_columns_fill_an_area_in_their_proportions(x: float, width: float, shares: list[float]) -> None:
    columns = Area(x, 0, width, 10).columns(shares)
    assert columns[0].x == pytest.approx(x)
    assert sum(column.width for column in columns) == pytest.approx(width)
    assert columns[-1].width == pytest.approx(width * shares[-1] / sum(shares))


def test_a_dataset_goes_on_where_it_stopped_and_refuses_other_settings(tmp_path: Path) -> None:
    size = {"seed": 1, "classes": 20, "val": 2, "workers": 1}
    render_dataset(tmp_path, train=3, **size)
    first = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "images" / "train").iterdir()}
    data = yaml.safe_load(render_dataset(tmp_path, train=5, **size).read_text())
    now = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "images" / "train").iterdir()}
    assert len(now) == 5
    assert first.items() <= now.items()
    assert len(data["names"]) == 20
    labels = [path.read_text().splitlines() for path in (tmp_path / "labels").rglob("*.txt")]
    assert len(labels) == 7
    assert sum(map(len, labels)) > 0
    with pytest.raises(ValueError, match="other settings"):
        render_dataset(tmp_path, train=5, **{**size, "seed": 2})


def test_no_scene_is_made_from_the_demos_art() -> None:
    """Of the demo only light and camera are shared, which know nothing of what they show."""
    imported = set()
    for path in (ROOT / "pretraining").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module)
            elif isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
    assert {name for name in imported if name.split(".")[0] == "demo"} == {"demo.render.exposure"}
