"""Faces on normalised photos. The detector is OpenCV's own; YuNet's file cannot be had offline, so a network with its
inputs and outputs stands in for it, whose faces are squares of pure blue."""

import hashlib
import io
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image
from upload_samples import counting_store, land, picture, scene, take_in

from mlops_assets.photos.examination import examine, measure_again
from mlops_assets.photos.faces import find_faces
from mlops_assets.use_case import FaceBlurRules, IntakeRules, UseCaseError, load_use_case

UTC = ZoneInfo("UTC")


def blue_squares(path: Path) -> FaceBlurRules:
    """YuNet's layout: by stride class score, objectness, box (offsets, log sizes) and five landmarks of each cell."""
    constants = {
        "blue": np.array([1, -1, -1], np.float32).reshape(1, 3, 1, 1) / 255,  # BGR, not scaled
        "nothing": np.zeros((1, 3, 1, 1), np.float32),
        "box": np.zeros((1, 1, 4), np.float32),
        "middle_of_its_cell": np.array([0.5, 0.5, 0, 0], np.float32).reshape(1, 1, 4),
        "landmarks": np.zeros((1, 1, 10), np.float32),
        "flat": np.array([1, -1, 1], np.int64),
    }
    nodes, outputs = [], []
    for stride in (8, 16, 32):
        s = str(stride)
        nodes += [
            helper.make_node("AveragePool", ["input"], [f"mean_{s}"], kernel_shape=[stride] * 2, strides=[stride] * 2),
            helper.make_node("Conv", [f"mean_{s}", "blue" if stride == 32 else "nothing"], [f"raw_{s}"]),
            helper.make_node("Relu", [f"raw_{s}"], [f"positive_{s}"]),
            helper.make_node("Reshape", [f"positive_{s}", "flat"], [f"cls_{s}"]),
            helper.make_node("Identity", [f"cls_{s}"], [f"obj_{s}"]),
            helper.make_node("Mul", [f"cls_{s}", "box"], [f"zero_{s}"]),
            helper.make_node("Add", [f"zero_{s}", "middle_of_its_cell"], [f"bbox_{s}"]),
            helper.make_node("Mul", [f"cls_{s}", "landmarks"], [f"kps_{s}"]),
        ]
    for kind, size in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
        outputs += [
            helper.make_tensor_value_info(f"{kind}_{stride}", TensorProto.FLOAT, [1, (640 // stride) ** 2, size])
            for stride in (8, 16, 32)
        ]
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "blue_squares",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 640, 640])],
        outputs,
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items() if name in used],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    content = model.SerializeToString()
    path.write_bytes(content)
    return FaceBlurRules(model=path, sha256=hashlib.sha256(content).hexdigest())


@pytest.fixture
def rules(tmp_path) -> FaceBlurRules:
    return blue_squares(tmp_path / "faces.onnx")


def with_face() -> Image.Image:
    """A blue square of 32 pixels around (336, 240), a quarter of it dark dots, on a scene without blue."""
    pixels = np.asarray(scene(1, 640, 480)).copy()
    pixels[..., 2] = 0
    pixels[224:256, 320:352] = (0, 0, 255)
    dots = pixels[224:256, 320:352].reshape(8, 4, 8, 4, 3)
    dots[:, :2, :, :2] = 0
    return Image.fromarray(pixels)


def upload(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_a_face_is_found_with_a_margin_within_the_photo(rules):
    (box,) = find_faces(np.asarray(with_face()), rules)
    left, top, right, bottom = box
    assert left <= 320 < 352 <= right
    assert top <= 224 < 256 <= bottom
    assert (right - left, bottom - top) == (48, 48)
    assert len(find_faces(np.asarray(scene(1, 640, 480)) // 4, rules)) == 0


def test_only_the_face_on_the_normalised_photo_is_blurred_and_the_original_keeps_it(rules, tmp_path):
    store = counting_store(tmp_path)
    content = upload(with_face())
    land(store, "CAB-1/a.png", content)
    plain = take_in(store)
    photo_id = plain.ledger["photo_id"].item()
    before = np.asarray(Image.open(io.BytesIO(store.read_photo(photo_id))), float)
    blurred = take_in(store, previous=plain, rules=IntakeRules(face_blur=rules))
    after = np.asarray(Image.open(io.BytesIO(store.read_photo(photo_id))), float)
    changed = np.abs(before - after).max(axis=2) > 25
    rows, columns = np.nonzero(changed)
    assert changed.sum() > 500
    assert 208 <= rows.min() <= 226 < 253 <= rows.max() <= 272
    assert 304 <= columns.min() <= 322 < 349 <= columns.max() <= 368
    assert store.read_original(photo_id, "png") == content
    assert blurred.ledger.equals(plain.ledger)


def test_measures_are_those_of_the_whole_photo(rules):
    plain, blurring = IntakeRules(), IntakeRules(face_blur=rules)
    content = upload(with_face())
    assert examine(content, blurring, UTC).measures == examine(content, plain, UTC).measures
    assert measure_again(content, blurring) == measure_again(content, plain)


def test_without_a_face_the_photo_is_the_same_to_the_byte(rules):
    content = picture(1)
    assert examine(content, IntakeRules(face_blur=rules), UTC).photo == examine(content, IntakeRules(), UTC).photo


@pytest.mark.parametrize(
    ("spoil", "told"), [("missing", "there is no face detection model"), ("other", "has the SHA-256")]
)
def test_a_use_case_whose_model_is_missing_or_another_does_not_load(rules, tmp_path, spoil, told):
    model = tmp_path / "gone.onnx" if spoil == "missing" else rules.model
    digest = "0" * 64 if spoil == "other" else rules.sha256
    path = tmp_path / "case.yaml"
    path.write_text(
        "name: case\ntitle: Case\nstart: 2026-10-01\n"
        f"intake:\n  face_blur:\n    model: {model}\n    sha256: '{digest}'\n"
    )
    with pytest.raises(UseCaseError, match=told) as refused:
        load_use_case(path)
    assert str(model) in str(refused.value)
    assert str(path) in str(refused.value)
