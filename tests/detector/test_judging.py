"""The decision on what was measured: one snapshot for both sides, and candidates that cannot be used."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import onnx
import polars as pl
import pytest
from snapshots import LEFT, truth

from mlops_assets.boxes import BOX_COLUMNS
from mlops_assets.detector import files
from mlops_assets.detector.judging import NotMeasuredError, decide_on
from mlops_assets.detector.promotion import Decision
from mlops_assets.detector.schema import DETECTOR_EVALUATION
from mlops_assets.detector.snapshot import SPLIT_PREDICTIONS
from mlops_assets.detector.soundness import faults
from mlops_assets.use_case import PromotionRules
from resources.model_errors import BrokenVersionError, ModelRegistryError

DATASET = truth([(f"E{i}-0", 0, LEFT) for i in range(6)])


@dataclass
class Kept:
    """A version and its files in a folder."""

    folder: Path
    version: str = "2"
    tags: dict[str, str] = field(
        default_factory=lambda: {
            "class_map": '{"0": "square", "3": "disc"}',
            "thresholds": '{"0": 0.5, "3": 0.5}',
            "parity": "[10, 10]",
        }
    )

    def download(self, version: str, name: str) -> Path:
        path = self.folder / Path(name).name
        if not path.is_file():
            raise BrokenVersionError(f"version {version} has no file {name}")
        return path


@pytest.fixture
def kept(onnx_model: Path, tmp_path: Path) -> Kept:
    (tmp_path / "model.onnx").write_bytes(onnx_model.read_bytes())
    (tmp_path / "best.pt").write_bytes(b"weights")
    enclosures = {"train": ["A"], "val": ["B"], "test": [f"E{i}" for i in range(6)]}
    manifest = {"splits": {split: {"enclosures": names} for split, names in enclosures.items()}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return Kept(tmp_path)


def predictions(version: str, photos: list[str]) -> pl.DataFrame:
    box = dict(zip(BOX_COLUMNS, LEFT, strict=True))
    found = {"class_id": 0, "confidence": 0.9, **box, "model_version": version, "split": "test"}
    return pl.DataFrame([{"photo_id": photo, **found} for photo in photos], schema=SPLIT_PREDICTIONS)


def evaluation(*versions: str) -> pl.DataFrame:
    rows = [{"model_version": v, "class_id": 0, "split": "test", "ap50": 1.0, "n": 6} for v in versions]
    return pl.DataFrame(rows, schema=DETECTOR_EVALUATION)


def decision(kept: Kept, shown: dict[str, list[str]], dataset: pl.DataFrame = DATASET) -> Decision:
    found = [predictions(version, photos) for version, photos in shown.items()]
    return decide_on(
        kept,
        Kept(kept.folder, "1") if "1" in shown else None,
        evaluation=evaluation(*shown),
        predictions=pl.concat([pl.DataFrame(schema=SPLIT_PREDICTIONS), *found]),
        dataset=dataset,
        download=kept.download,
        threads=1,
        rules=PromotionRules(provisional_classes="promote", bootstrap_samples=100),
    )


PHOTOS = [f"E{i}-0" for i in range(6)]


def test_both_measured_on_the_same_photos_are_compared(kept: Kept) -> None:
    assert decision(kept, {"2": PHOTOS, "1": PHOTOS}).promoted


@pytest.mark.parametrize(
    ("shown", "version", "words"),
    [
        ({"2": PHOTOS, "1": []}, "1", "shown 0 of its 6 photos"),
        ({"2": PHOTOS, "1": PHOTOS[:5]}, "1", "shown 5 of its 6 photos"),
        ({"2": PHOTOS[1:]}, "2", "shown 5 of its 6 photos"),
        ({"2": [*PHOTOS, "E9-0"]}, "2", "6 of its 6 photos and 1 others"),
        ({}, "2", "shown 0 of its 6 photos"),
    ],
)
def test_a_side_that_was_not_shown_just_this_test_set_is_not_decided_on(
    kept: Kept, shown: dict[str, list[str]], version: str, words: str
) -> None:
    with pytest.raises(NotMeasuredError, match=f"Version {version} was not measured on this test set.*{words}"):
        decision(kept, shown)


def test_labels_that_changed_since_the_evaluation_count_as_they_are(kept: Kept) -> None:
    disc = (0.7083, 0.5, 0.3438, 0.4583)
    relabelled = truth([label for i in range(6) for label in ((f"E{i}-0", 0, disc), (f"E{i}-0", 3, disc))])
    reasons = decision(kept, {"2": PHOTOS}, relabelled).reasons  # the evaluation of before says AP50 1.0
    (floor,) = [reason for reason in reasons if reason.startswith("(d)")]
    assert "failed" in floor


def test_a_version_registered_without_its_parity_fails_that_criterion(kept: Kept) -> None:
    del kept.tags["parity"]
    decided = decision(kept, {"2": PHOTOS, "1": PHOTOS})
    assert [reason for reason in decided.reasons if "failed" in reason] == [
        "(e) failed: export parity could not be measured: nothing was detected on the test photos"
    ]


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_test_enclosure_in_what_was_learnt_from_is_named(kept: Kept, split: str) -> None:
    manifest = json.loads((kept.folder / "manifest.json").read_text())
    manifest["splits"][split]["enclosures"].append("E3")
    (kept.folder / "manifest.json").write_text(json.dumps(manifest))
    (reason,) = [reason for reason in decision(kept, {"2": PHOTOS, "1": PHOTOS}).reasons if "failed" in reason]
    assert reason == "(f) failed: 1 test enclosures were trained on, such as E3; train again"


@pytest.mark.parametrize("name", [files.WEIGHTS, files.ONNX, files.MANIFEST])
def test_a_file_that_is_missing_is_a_fault(kept: Kept, name: str) -> None:
    (kept.folder / Path(name).name).unlink()
    decided = decision(kept, {})
    assert not decided.promoted
    assert decided.reasons == [f"(files) failed: version 2 has no file {name}"]


def test_an_export_that_cannot_be_opened_or_is_another_programs_is_a_fault(kept: Kept) -> None:
    model = kept.folder / "model.onnx"
    whole = model.read_bytes()
    model.write_bytes(whole[: len(whole) // 2])
    assert faults(kept, kept.download, threads=1)[0].startswith("its export cannot be opened: ")
    model.write_bytes(b"")
    assert faults(kept, kept.download, threads=1)[0].startswith("its export cannot be opened: ")
    stripped = onnx.load_from_string(whole)
    del stripped.metadata_props[:]
    onnx.save(stripped, model)
    assert faults(kept, kept.download, threads=1)[0].startswith("its export is none of this project's: ")


def test_an_export_whose_values_are_no_numbers_is_a_fault(kept: Kept) -> None:
    model = onnx.load(kept.folder / "model.onnx")
    weight = next(tensor for tensor in model.graph.initializer if len(tensor.dims) == 4)
    broken = onnx.numpy_helper.to_array(weight).copy()
    broken[:] = float("nan")
    weight.CopyFrom(onnx.numpy_helper.from_array(broken, weight.name))
    onnx.save(model, kept.folder / "model.onnx")
    assert faults(kept, kept.download, threads=1) == ["its export gives values that are no numbers"]


def test_a_class_map_that_is_not_that_of_the_export_is_a_fault(kept: Kept) -> None:
    kept.tags["class_map"] = '{"0": "square", "4": "disc"}'
    (fault,) = faults(kept, kept.download, threads=1)
    assert fault.startswith("its class map is not that of its export: ")
    assert "c0000, c0003" in fault
    del kept.tags["class_map"]
    assert faults(kept, kept.download, threads=1) == ["it was registered without a class map"]


def test_a_manifest_that_does_not_say_what_was_trained_on_is_a_fault(kept: Kept) -> None:
    for content, words in (
        ("{", "cannot be read"),
        ('{"splits": {"train": {}}}', "cannot be read"),
        ("[]", "cannot be read"),
    ):
        (kept.folder / "manifest.json").write_text(content)
        (fault,) = faults(kept, kept.download, threads=1)
        assert words in fault


def test_a_store_that_does_not_answer_is_no_fault_of_the_candidate(kept: Kept) -> None:
    def away(version: str, name: str) -> Path:
        raise ModelRegistryError("the store is away")

    with pytest.raises(ModelRegistryError, match="away"):
        faults(kept, away, threads=1)
