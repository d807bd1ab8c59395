from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import polars as pl
import pytest
import torch
from tiny_detector import CLASS_IDS, IMAGE_SIZE

from mlops_assets.catalog.detecting import DayFindings, detect_day
from mlops_assets.catalog.looked_at import LookedAt
from mlops_assets.catalog.schema import DETECTIONS, UNKNOWN_EQUIPMENT
from mlops_assets.detector import files
from mlops_assets.detector import references as gathering
from mlops_assets.detector.champion import Champion
from mlops_assets.detector.feature_maps import CHANNELS, FEATURES, FeatureMapError, with_features
from mlops_assets.detector.predictor import OnnxPredictor
from mlops_assets.detector.references import build_references
from mlops_assets.detector.regions import in_input_pixels, pool
from mlops_assets.detector.unknown_equipment import References, ReferencesError, most_unknown
from mlops_assets.detector.weights import load_model
from mlops_assets.photos.pixels import network_input
from resources.tables import CODE_VERSION, Tables, write_parquet

SQUARE, DISC, STRANGE = (0.26, 0.49, 0.31, 0.42), (0.71, 0.5, 0.34, 0.46), (0.5, 0.5, 0.4, 0.5)


def drawn(seed: int, *, strange: bool = False) -> bytes:
    """As the photos of `tiny_detector.write_dataset`, or a striped thing instead."""
    photo = np.random.default_rng(seed).integers(90, 140, (72, IMAGE_SIZE, 3)).astype(np.uint8)
    if strange:
        for x in range(30, 66, 6):
            cv2.rectangle(photo, (x, 18), (x + 2, 54), (20, 250, 60), -1)
    else:
        cv2.rectangle(photo, (10, 20), (39, 49), (20, 20, 220), -1)
        cv2.circle(photo, (68, 36), 16, (220, 40, 20), -1)
    return cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


PHOTOS = {f"train{i}": drawn(i) for i in range(6)} | {f"val{i}": drawn(10 + i) for i in range(3)}
STRANGE_PHOTO = drawn(20, strange=True)


def labelled() -> pl.DataFrame:
    rows = [
        {"photo_id": photo_id, "split": photo_id[:-1], "class_id": class_id, **dict(zip(BOX, box, strict=True))}
        for photo_id in PHOTOS
        for class_id, box in zip(CLASS_IDS, (SQUARE, DISC), strict=True)
    ]
    return pl.DataFrame(rows)


BOX = ("box_x", "box_y", "box_w", "box_h")


@pytest.fixture(scope="module")
def predictor(onnx_model: Path) -> OnnxPredictor:
    return OnnxPredictor(onnx_model, CLASS_IDS, threads=2)


@pytest.fixture(scope="module")
def references(predictor: OnnxPredictor) -> References:
    return build_references(predictor, labelled(), PHOTOS.__getitem__)


@pytest.fixture
def without_features(onnx_model: Path, tmp_path: Path) -> Path:
    """An export as earlier versions have it."""
    model = onnx.load(str(onnx_model))
    for part in (model.graph.output, model.graph.node):
        part.remove(next(entry for entry in part if entry.name == FEATURES))
    model.metadata_props.remove(next(entry for entry in model.metadata_props if entry.key == CHANNELS))
    onnx.save(model, str(tmp_path / "old.onnx"))
    return tmp_path / "old.onnx"


def distance(predictor: OnnxPredictor, references: References, content: bytes, box: tuple[float, ...]) -> float:
    (seen,) = predictor.observe(["x"], lambda _: content, confidence=1.0)
    assert seen.features is not None
    place = in_input_pixels(np.array([box]), seen.placed)
    return float(references.distances(pool(seen.features, place, IMAGE_SIZE, predictor.feature_channels))[0])


def test_the_second_output_is_what_backbone_and_neck_hold(
    inputs: torch.Tensor, predictor: OnnxPredictor, lively_weights: Path
) -> None:
    model, maps = load_model(lively_weights), {}
    for layer in (4, model.model[-1].f[0]):
        model.model[layer].register_forward_hook(lambda _m, _i, output, layer=layer: maps.__setitem__(layer, output))
    with torch.inference_mode():
        model(inputs[:2])
    raw, features = predictor.raw_with_features(inputs[:2].numpy())
    assert features is not None
    assert features.shape == (2, sum(predictor.feature_channels), 12, 12)
    assert [m.shape[1] for m in maps.values()] == list(predictor.feature_channels)
    assert np.allclose(features, torch.cat(list(maps.values()), dim=1).numpy(), atol=1e-3)
    assert np.array_equal(raw, predictor.raw(inputs[:2].numpy()))


def test_the_first_output_is_that_of_an_export_without_the_second(
    predictor: OnnxPredictor, without_features: Path, inputs: torch.Tensor
) -> None:
    old = OnnxPredictor(without_features, CLASS_IDS, threads=2)
    assert not old.has_features
    raw, features = old.raw_with_features(inputs.numpy())
    assert features is None
    assert np.array_equal(raw, predictor.raw(inputs.numpy()))


def test_a_graph_that_is_no_detector_gets_no_features(tmp_path: Path) -> None:
    info = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", [info], [info])
    onnx.save(onnx.helper.make_model(graph), str(tmp_path / "other.onnx"))
    with pytest.raises(FeatureMapError, match="no detection head"):
        with_features(tmp_path / "other.onnx")


def test_what_no_training_box_shows_is_farther_than_known_equipment(
    predictor: OnnxPredictor, references: References
) -> None:
    known = [distance(predictor, references, drawn(30 + i), box) for i in range(3) for box in (SQUARE, DISC)]
    assert max(known) < 2
    assert distance(predictor, references, STRANGE_PHOTO, STRANGE) > 1.5 * max(known)
    assert distance(predictor, references, PHOTOS["train0"], SQUARE) < 0.1  # itself, in half precision or not


def test_a_photo_is_scored_by_one_of_its_regions(predictor: OnnxPredictor, references: References) -> None:
    (seen,) = predictor.observe(["x"], lambda _: STRANGE_PHOTO, confidence=1.0)
    found = most_unknown(seen, references, predictor)
    assert found is not None
    assert found.box is not None
    x, y, width, height = found.box
    assert 0 <= x - width / 2 < x + width / 2 <= 1 + 1e-9
    assert 0 <= y - height / 2 < y + height / 2 <= 1 + 1e-9
    assert found.score > 0


def test_references_are_the_same_each_time_and_bounded(
    predictor: OnnxPredictor, references: References, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert np.unique(references.classes, return_counts=True)[1].tolist() == [18, 18]  # six photos at three scales
    loaded = References.load(references.save(tmp_path / "references.npz"))
    assert np.allclose(loaded.known, references.known, atol=1e-3)
    assert np.array_equal(loaded.whitening, references.whitening)
    assert loaded.usual == references.usual
    monkeypatch.setattr(gathering, "MAX_BOXES_PER_CLASS", 2)
    few = [build_references(predictor, labelled().sample(fraction=1.0, shuffle=True), PHOTOS.__getitem__) for _ in "ab"]
    assert np.unique(few[0].classes, return_counts=True)[1].tolist() == [6, 6]
    assert np.array_equal(few[0].known, few[1].known)


@pytest.mark.parametrize("photo_ids", [["train0"], ["train0", "train1"], ["train0", "val0"]])
def test_few_boxes_are_enough(predictor: OnnxPredictor, photo_ids: list[str]) -> None:
    rows = labelled().filter(pl.col("photo_id").is_in(photo_ids))
    few = build_references(predictor, rows, PHOTOS.__getitem__)
    assert np.isfinite(few.usual)
    assert distance(predictor, few, STRANGE_PHOTO, STRANGE) > distance(predictor, few, PHOTOS["train0"], DISC)


def test_what_cannot_be_compared_is_refused(
    predictor: OnnxPredictor, references: References, without_features: Path, tmp_path: Path
) -> None:
    with pytest.raises(ReferencesError, match="No training box"):
        build_references(predictor, labelled().filter(pl.col("split") == "val"), PHOTOS.__getitem__)
    with pytest.raises(ReferencesError, match="without features"):
        build_references(OnnxPredictor(without_features, CLASS_IDS, threads=1), labelled(), PHOTOS.__getitem__)
    with pytest.raises(ReferencesError, match="gives 5 features"):
        references.distances(np.ones((1, 5), np.float32))
    (tmp_path / "broken.npz").write_bytes(b"PK\3\4 no archive")
    with pytest.raises(ReferencesError, match=r"broken\.npz holds no features"):
        References.load(tmp_path / "broken.npz")


DAY = "2026-10-05"


class Day:
    """Looks at photos as the step does, and counts what is read."""

    def __init__(self, root: Path, places: dict[str, Path]) -> None:
        self.places = places
        self.read: list[str] = []
        self.tables = Tables(root=str(root))

    def look(self, photo_ids: list[str], champion: Champion | None) -> DayFindings:
        self.read = []
        clean = pl.DataFrame({"photo_id": photo_ids, "verdict": ["usable"] * len(photo_ids)})
        looked_at = LookedAt(self.tables, DAY, "code", champion.version) if champion else None
        found = detect_day(
            clean,
            looked_at=looked_at,
            champion=champion,
            download=lambda _champion, name, _sha256: self.places[name],
            read_photo=self._read(),
            threads=1,
            progress=lambda _done, _todo: None,
        )
        self.store(found.detections, found.unknown_equipment)
        if looked_at:
            looked_at.clear()
        return found

    def store(self, detections: pl.DataFrame, unknown: pl.DataFrame) -> None:
        """As the step and the IO manager do."""
        self.tables.write("unknown_equipment", unknown, UNKNOWN_EQUIPMENT, DAY)
        write_parquet(detections, self.tables._path("detections", DAY), {CODE_VERSION: "code"})

    def _read(self) -> Callable[[str], bytes]:
        def read(photo_id: str) -> bytes:
            self.read.append(photo_id)
            return STRANGE_PHOTO if photo_id == "strange" else PHOTOS[photo_id]

        return read


def champion(version: str, references: str | None = "r") -> Champion:
    return Champion(version, dict.fromkeys(CLASS_IDS, "name"), {}, "e", references)


def test_a_days_photos_are_scored_once_a_version_in_the_same_pass(
    onnx_model: Path, references: References, tmp_path: Path
) -> None:
    day = Day(tmp_path, {files.ONNX: onnx_model, files.REFERENCES: references.save(tmp_path / "references.npz")})
    first = day.look(["val0", "val1"], champion("1"))
    assert first.unknown_equipment.schema == UNKNOWN_EQUIPMENT
    assert first.unknown_equipment["photo_id"].to_list() == ["val0", "val1"]
    assert first.unknown_equipment["score"].null_count() == 0
    assert first.unscored is None
    assert sorted(day.read) == ["val0", "val1"]
    second = day.look(["strange", "val1"], champion("1"))
    assert day.read == ["strange"]
    assert (
        second.unknown_equipment["photo_id"].to_list()
        == ["strange", "val1"]
        == sorted(set(second.detections["photo_id"]))
    )
    assert second.unknown_equipment.row(1) == first.unknown_equipment.row(1)
    day.store(second.detections, second.unknown_equipment.head(1))  # a row was lost
    assert day.look(["strange", "val1"], champion("1")).unknown_equipment.equals(second.unknown_equipment)
    assert day.read == ["val1"]
    third = day.look(["strange", "val1"], champion("2"))
    assert sorted(day.read) == ["strange", "val1"]
    assert third.unknown_equipment["model_version"].to_list() == ["2", "2"]


def test_a_version_without_features_detects_all_the_same_and_says_why_nothing_is_scored(
    without_features: Path, tmp_path: Path
) -> None:
    day = Day(tmp_path, {files.ONNX: without_features})
    found = day.look(["val0"], champion("1", None))
    assert found.unknown_equipment.row(0) == ("val0", None, None, None, None, None, "1")
    assert found.detections["photo_id"].unique().to_list() == ["val0"]
    assert found.unscored == "model version 1 has no features of known equipment"


def test_without_a_champion_both_tables_are_empty(tmp_path: Path) -> None:
    found = Day(tmp_path, {}).look(["val0"], None)
    assert found.detections.schema == DETECTIONS
    assert found.detections.is_empty()
    assert found.unknown_equipment.is_empty()
    assert found.unscored == "no champion yet"


def test_boxes_come_back_from_input_pixels() -> None:
    placed = network_input(STRANGE_PHOTO, IMAGE_SIZE)[1]
    boxes = np.array([SQUARE, DISC, STRANGE])
    assert np.allclose(placed.to_relative(in_input_pixels(boxes, placed).astype(np.float32)), boxes, atol=1e-6)
