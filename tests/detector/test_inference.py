import subprocess
import sys
import threading
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest
import torch
from tiny_detector import CLASS_IDS, IMAGE_SIZE, Trained, lively_detector, save_checkpoint

from mlops_assets.catalog.schema import DETECTIONS
from mlops_assets.detector.export import OPSET, ExportError, export_onnx
from mlops_assets.detector.parity import ParityResult, measure_parity, parity_of, parity_tags, worst
from mlops_assets.detector.predictor import PREDICTIONS, OnnxPredictor, PredictionError, detect_photos
from mlops_assets.detector.runtimes import RUNTIMES, Runtime
from mlops_assets.detector.suppression import NMS_IOU, suppress
from mlops_assets.detector.weights import WeightsError, load_model
from mlops_assets.photos.pixels import network_input


def opened(model: Path) -> dict[Runtime, OnnxPredictor]:
    return {name: OnnxPredictor(model, CLASS_IDS, threads=2, runtime=name) for name in RUNTIMES}


@pytest.fixture(scope="module")
def predictors(onnx_model: Path) -> dict[Runtime, OnnxPredictor]:
    return opened(onnx_model)


@pytest.fixture(scope="module")
def predictor(predictors: dict[Runtime, OnnxPredictor]) -> OnnxPredictor:
    return predictors["openvino"]


def grey(size: int = 64) -> bytes:
    return cv2.imencode(".jpg", np.full((size, size, 3), 128, np.uint8))[1].tobytes()


def test_predictions_have_the_columns_of_the_detections_table() -> None:
    assert PREDICTIONS == DETECTIONS


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_export_has_raw_output_any_batch_size_and_any_sides(
    predictors: dict[Runtime, OnnxPredictor], runtime: Runtime
) -> None:
    predictor = predictors[runtime]
    assert predictor.image_size == IMAGE_SIZE
    for batch, rows, columns in ((1, 96, 96), (2, 96, 96), (5, 64, 96)):
        tensor = np.random.default_rng(0).random((batch, 3, rows, columns), dtype=np.float32)
        batched = predictor.raw(tensor)
        cells = rows * columns // 64
        assert batched.shape == (batch, 4 + len(CLASS_IDS), cells + cells // 4 + cells // 16)
        assert np.allclose(batched[-1], predictor.raw(tensor[-1:])[0], atol=1e-3)


def test_the_export_needs_the_pinned_opset(onnx_model: Path) -> None:
    import onnx

    assert [entry.version for entry in onnx.load(str(onnx_model)).opset_import if not entry.domain] == [OPSET]


def test_the_export_agrees_with_pytorch_in_each_runtime(
    predictors: dict[Runtime, OnnxPredictor], lively_weights: Path, photos: dict[str, bytes]
) -> None:
    measured = measure_parity(lively_weights, list(predictors.values()), photos.values(), confidence=0.2, threads=2)
    assert [parity.runtime for parity in measured] == list(RUNTIMES)
    for parity in measured:
        assert parity.total > 10
        assert parity.share == 1.0
        assert parity.holds


def test_parity_fails_for_other_weights(
    predictors: dict[Runtime, OnnxPredictor], lively_weights: Path, photos: dict[str, bytes], tmp_path: Path
) -> None:
    model = load_model(lively_weights)
    for branch in model.model[-1].cv2:
        branch[-1].bias.data += torch.linspace(-2, 2, branch[-1].bias.numel())
    other = save_checkpoint(model, tmp_path / "other.pt")
    for parity in measure_parity(other, list(predictors.values()), photos.values(), confidence=0.2, threads=2):
        assert parity.total > 10
        assert not parity.holds


def test_a_version_is_judged_by_the_worse_runtime() -> None:
    measured = [ParityResult(1000, 1000, "onnxruntime"), ParityResult(990, 1000, "openvino")]
    assert worst(measured) == measured[1]
    tags = parity_tags(measured)
    assert parity_of(tags) == measured[1]
    assert tags["parity_by_runtime"] == '{"onnxruntime": [1000, 1000], "openvino": [990, 1000]}'
    assert parity_of({"parity": "[5, 6]"}) == ParityResult(5, 6, "onnxruntime")
    assert not parity_of({}).holds


def test_parity_without_a_detection_does_not_hold() -> None:
    assert not ParityResult(0, 0).holds


def test_the_same_weights_make_the_same_file(lively_weights: Path, onnx_model: Path, tmp_path: Path) -> None:
    again = export_onnx(lively_weights, tmp_path / "model.onnx", IMAGE_SIZE)
    assert again.read_bytes() == onnx_model.read_bytes()


def test_yolo26_exports_the_same_layout(tmp_path: Path, photos: dict[str, bytes], inputs: torch.Tensor) -> None:
    weights = save_checkpoint(lively_detector("yolo26n", inputs), tmp_path / "yolo26n.pt")
    predictors = opened(export_onnx(weights, tmp_path / "model.onnx", IMAGE_SIZE))
    for predictor in predictors.values():
        raw, features = predictor.raw_with_features(inputs[:1].numpy())
        assert raw.shape == (1, 6, 144 + 36 + 9)
        assert features is not None
        assert features.shape == (1, sum(predictor.feature_channels), 12, 12)
        batch = np.concatenate([inputs.numpy(), inputs.numpy()[:1]])
        assert np.allclose(predictor.raw(batch)[-1], raw[0], atol=1e-2)
    for parity in measure_parity(weights, list(predictors.values()), photos.values(), confidence=0.2, threads=2):
        assert parity.total > 10
        assert parity.share == 1.0


def test_the_predictor_finds_what_torch_and_ultralytics_own_suppression_find(
    predictor: OnnxPredictor, lively_weights: Path, photos: dict[str, bytes]
) -> None:
    from ultralytics.utils.nms import non_max_suppression

    tensor, placed = network_input(photos["val0"], IMAGE_SIZE)
    with torch.inference_mode():
        raw = load_model(lively_weights)(torch.from_numpy(tensor[None]))[0]
    (expected,) = non_max_suppression(raw, conf_thres=0.2, iou_thres=NMS_IOU)
    found = suppress(predictor.raw(tensor[None])[0], 0.2)
    assert len(found.index) == len(expected) > 3
    assert np.allclose(found.confidence, expected[:, 4], atol=1e-3)
    assert np.allclose(found.boxes, expected[:, :4], atol=0.05)
    assert (found.index == expected[:, 5].int().numpy()).all()
    relative = predictor.detect(photos["val0"], confidence=0.2)
    assert np.allclose(relative.boxes, placed.to_relative(found.boxes.astype(np.float32)))
    assert relative.boxes.min() >= 0
    assert relative.boxes.max() <= 1


def test_suppression_keeps_the_best_of_overlapping_boxes_of_one_class() -> None:
    boxes = [[50, 50, 20, 20], [51, 50, 20, 20], [50, 50, 20, 20], [90, 90, 8, 8]]
    scores = [[0.9, 0.0], [0.8, 0.0], [0.1, 0.7], [0.05, 0.04]]
    raw = np.hstack([boxes, scores]).T.astype(np.float32)
    found = suppress(raw, 0.1)
    assert found.index.tolist() == [0, 1]
    assert np.allclose(found.confidence, [0.9, 0.7])
    assert np.allclose(found.boxes[0], [40, 40, 60, 60])


def test_photos_keep_their_order_and_one_with_nothing_found_has_one_null_row(
    predictor: OnnxPredictor, photos: dict[str, bytes]
) -> None:
    ids = [*photos, "none", *photos]
    done: list[int] = []
    source = photos | {"none": grey()}
    table = detect_photos(predictor, ids, source.__getitem__, model_version="7", confidence=1.0, progress=done.append)
    assert table.schema == PREDICTIONS
    assert done == list(range(1, len(ids) + 1))
    assert table["photo_id"].unique(maintain_order=True).to_list() == list(dict.fromkeys(ids))
    nothing = table.filter(pl.col("photo_id") == "none")
    assert nothing.row(0) == ("none", None, None, None, None, None, None, "7")
    found = detect_photos(predictor, photos, source.__getitem__, model_version="7", confidence=0.2)
    assert set(found["class_id"].drop_nulls()) <= set(CLASS_IDS)
    assert found.height > len(photos)
    assert detect_photos(predictor, [], source.__getitem__, model_version="7", confidence=0.2).schema == PREDICTIONS


def test_photos_are_read_ahead_in_other_threads_but_only_a_few(predictor: OnnxPredictor) -> None:
    content, readers, reads = grey(), set(), count()
    last = -1

    def read(_photo_id: str) -> bytes:
        nonlocal last
        readers.add(threading.current_thread().name)
        last = next(reads)
        return content

    endless = (str(number) for number in count())
    results = predictor.predict(endless, read, confidence=0.5)
    for _ in range(5):
        next(results)
    results.close()
    assert last < 5 + 2 * 2 + 1
    assert threading.current_thread().name not in readers


def test_a_photo_that_cannot_be_decoded_is_named(predictor: OnnxPredictor) -> None:
    with pytest.raises(PredictionError, match="Photo broken cannot be decoded"):
        list(predictor.predict(["broken"], lambda _: b"no picture", confidence=0.5))


def test_a_class_list_that_is_not_the_models_is_refused(onnx_model: Path) -> None:
    with pytest.raises(PredictionError, match="c0004"):
        OnnxPredictor(onnx_model, [0, 4], threads=1)


def test_a_model_that_is_missing_or_no_export_of_ours_is_refused(tmp_path: Path, trained: Trained) -> None:
    import onnx
    from onnx import TensorProto, helper

    with pytest.raises(PredictionError, match=r"No model at .*model\.onnx"):
        OnnxPredictor(tmp_path / "model.onnx", CLASS_IDS, threads=1)
    with pytest.raises(WeightsError, match="missing"):
        export_onnx(tmp_path / "missing.pt", tmp_path / "out.onnx", 64)
    info = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [info], [out])
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, ir_version=10, opset_imports=opset), str(tmp_path / "foreign.onnx"))
    with pytest.raises(ExportError, match="carries no class names"):
        OnnxPredictor(tmp_path / "foreign.onnx", CLASS_IDS, threads=1)


def test_the_predictor_needs_no_torch(onnx_model: Path, dataset: Path) -> None:
    photo = dataset.parent / "images" / "val" / "val0.jpg"
    script = (
        "import sys; from pathlib import Path; from mlops_assets.detector.predictor import OnnxPredictor\n"
        f"p = OnnxPredictor(Path({str(onnx_model)!r}), {CLASS_IDS}, threads=1)\n"
        f"p.detect(Path({str(photo)!r}).read_bytes(), confidence=0.2)\n"
        "assert not {'torch', 'ultralytics', 'onnx'} & set(sys.modules)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
