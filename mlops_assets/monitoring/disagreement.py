"""Where the champion and a candidate that was not promoted differ: photos that one of them gets wrong.

Both ran as ONNX: the champion's detections are there, the candidate looks at a bounded number of photos. Query by
committee: Seung, Opper, Sompolinsky, COLT 1992.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl

from mlops_assets.boxes import BOX_COLUMNS
from mlops_assets.catalog.detecting import MIN_CONFIDENCE
from mlops_assets.detector import files
from mlops_assets.detector.candidate import ModelVersion
from mlops_assets.detector.decisions import failed_criteria
from mlops_assets.detector.judging import class_map_of, thresholds_of
from mlops_assets.detector.predictor import OnnxPredictor, detect_photos
from mlops_assets.monitoring.label_errors import overlaps
from mlops_assets.monitoring.signals import SIGNALS, as_signals

SAME_OBJECT_IOU = 0.5


@dataclass(frozen=True)
class Refused:
    """A candidate that was trained after the champion and does not serve; `look` gives its DETECTIONS on photos."""

    version: str
    class_map: dict[int, str]
    thresholds: dict[int, float]
    look: Callable[[list[str]], pl.DataFrame]


class Registry(Protocol):
    """What is needed of the model registry."""

    def version(self, version: str) -> ModelVersion:
        """One version."""

    def download(self, version: str, name: str, folder: Path) -> Path:
        """A file of a version as a local file."""


def latest_refused(
    decisions: pl.DataFrame, registry: Registry, folder: Path, read_photo: Callable[[str], bytes], threads: int
) -> Refused | None:
    """The candidate of the last decision, if another version serves after it and the candidate can be used.

    Args:
        decisions: CHAMPION_DETECTOR.
        registry: Keeps its export, class map and thresholds.
        folder: Cache of files of the registry.
        read_photo: Bytes of a normalised photo.
        threads: Of the network.
    """
    last = decisions.row(-1, named=True) if decisions.height else None
    if last is None or last["promoted"] or last["champion_version"] in (None, last["model_version"]):
        return None
    if "files" in failed_criteria(last["reasons"] or []):
        return None  # it cannot look at photos
    candidate = registry.version(last["model_version"])
    class_map = class_map_of(candidate)

    def look(photo_ids: list[str]) -> pl.DataFrame:
        model = registry.download(candidate.version, files.ONNX, folder)
        predictor = OnnxPredictor(model, list(class_map), threads=threads)
        return detect_photos(
            predictor, photo_ids, read_photo, model_version=candidate.version, confidence=MIN_CONFIDENCE
        )

    return Refused(candidate.version, class_map, thresholds_of(candidate), look)


def disagreement(champion: pl.DataFrame, candidate: pl.DataFrame, version: str) -> pl.DataFrame:
    """Score photos by what the two count differently: 1 - 2 shared / (counted by one + by the other).

    A detection is shared if the other model counts one of the same class with IoU of at least 0.5; each serves once.

    Args:
        champion: photo_id, class_name, confidence, box of what the champion counts; null class_name where nothing.
        candidate: The same of the candidate, of the same photos.
        version: Of the candidate, for people.
    """
    theirs = {key[0]: group for key, group in candidate.partition_by("photo_id", as_dict=True).items()}
    rows = []
    for (photo_id,), group in champion.partition_by("photo_id", as_dict=True).items():
        ours, other = group.drop_nulls("class_name"), theirs.get(photo_id, champion.clear()).drop_nulls("class_name")
        total = ours.height + other.height
        score = 1 - 2 * _shared(ours, other) / total if total else 0.0
        if score > 0:
            words = f"the champion counts {_counts(ours)}, the refused version {version} {_counts(other)}"
            rows.append({"photo_id": photo_id, "score": score, "words": words})
    frame = pl.DataFrame(rows, schema={name: SIGNALS[name] for name in ("photo_id", "score", "words")})
    return as_signals(frame.sort("photo_id"), "disagreement")


def counted(found: pl.DataFrame, thresholds: Mapping[int, float], names: Mapping[int, str]) -> pl.DataFrame:
    """Detections of at least their class's threshold; a photo without one keeps a row whose class_name is null."""
    photos = found.select("photo_id").unique()
    limit = pl.col("class_id").replace_strict(dict(thresholds), default=None, return_dtype=pl.Float64)
    name = pl.col("class_id").replace_strict(dict(names), default=None, return_dtype=pl.String)
    kept = found.filter(pl.col("confidence") >= limit).with_columns(class_name=name)
    return photos.join(
        kept.select("photo_id", "class_name", "confidence", *BOX_COLUMNS), on="photo_id", how="left"
    ).sort("photo_id", "class_name", "confidence", *BOX_COLUMNS)


def _shared(first: pl.DataFrame, second: pl.DataFrame) -> int:
    """Detections that found the same object, most alike first."""
    overlap = overlaps(first.select(BOX_COLUMNS).to_numpy(), second.select(BOX_COLUMNS).to_numpy())
    same = np.array(first["class_name"].to_list())[:, None] == np.array(second["class_name"].to_list())[None, :]
    alike = np.where(same, overlap, 0.0) if overlap.size else overlap
    shared = 0
    while alike.size and alike.max() >= SAME_OBJECT_IOU:
        row, column = np.unravel_index(int(alike.argmax()), alike.shape)
        alike[row, :] = alike[:, column] = 0.0
        shared += 1
    return shared


def _counts(found: pl.DataFrame) -> str:
    by_class = found.group_by("class_name").len().sort("class_name").rows()
    return ", ".join(f"{count} x {name}" for name, count in by_class) or "nothing"
