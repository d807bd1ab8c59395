"""A candidate that was not promoted looks at photos again: its export from the registry, without torch."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
from tiny_detector import CLASS_IDS

from mlops_assets.detector import files
from mlops_assets.detector.schema import CHAMPION_DETECTOR
from mlops_assets.monitoring.disagreement import counted, disagreement, latest_refused

NAMES = {0: "square", 3: "disc"}


@dataclass(frozen=True)
class AtHand:
    """A version as the registry gives it."""

    version: str
    tags: dict[str, str] = field(
        default_factory=lambda: {
            "class_map": json.dumps({str(class_id): NAMES[class_id] for class_id in CLASS_IDS}),
            "thresholds": json.dumps({str(class_id): 0.2 for class_id in CLASS_IDS}),
        }
    )


class Registry:
    def __init__(self, model: Path) -> None:
        self.model = model

    def version(self, version: str) -> AtHand:
        return AtHand(version)

    def download(self, version: str, name: str, folder: Path) -> Path:
        assert (version, name) == ("7", files.ONNX)
        return self.model


def decisions(champion: str | None, candidate: str, promoted: bool) -> pl.DataFrame:
    row = {"model_version": candidate, "promoted": promoted, "champion_version": champion}
    return pl.DataFrame([row], schema=CHAMPION_DETECTOR)


def test_the_refused_candidate_looks_at_photos(onnx_model: Path, photos: dict[str, bytes], tmp_path: Path) -> None:
    refused = latest_refused(decisions("4", "7", False), Registry(onnx_model), tmp_path, photos.__getitem__, 1)
    assert refused is not None
    assert (refused.version, refused.class_map) == ("7", NAMES)
    found = refused.look(sorted(photos))
    assert set(found["photo_id"]) == set(photos)
    assert set(found["model_version"]) == {"7"}
    theirs = counted(found, refused.thresholds, refused.class_map)
    assert theirs["class_name"].count() > 0
    assert disagreement(theirs, theirs, "7").is_empty()
    nothing = counted(found.with_columns(confidence=pl.lit(0.0)), refused.thresholds, refused.class_map)
    differ = disagreement(nothing, theirs, "7")
    assert differ["score"].unique().to_list() == [1.0]
    assert differ["words"].str.starts_with("the champion counts nothing, the refused version 7 ").all()


def test_without_a_champion_or_a_refusal_nobody_disagrees(onnx_model: Path, tmp_path: Path) -> None:
    for decided in (decisions(None, "7", False), decisions("7", "7", True), decisions("7", "7", False)):
        assert latest_refused(decided, Registry(onnx_model), tmp_path, bytes, 1) is None


def test_a_candidate_that_cannot_be_used_is_not_asked(onnx_model: Path, tmp_path: Path) -> None:
    broken = decisions("4", "7", False).with_columns(reasons=pl.lit(["(files) failed: its export is gone"]))
    assert latest_refused(broken, Registry(onnx_model), tmp_path, bytes, 1) is None
