"""The champion's detections on one day's photos, and what may be unknown equipment, looked at once a model version."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from mlops_assets.catalog.schema import DETECTIONS, UNKNOWN_EQUIPMENT
from mlops_assets.detector import files
from mlops_assets.detector.champion import Champion
from mlops_assets.detector.predictor import Observation, OnnxPredictor, detect_photos
from mlops_assets.detector.unknown_equipment import References, most_unknown

MIN_CONFIDENCE = 0.05
"""Kept down to here, so that thresholds can change without looking at the photos again."""


@dataclass(frozen=True)
class DayFindings:
    """What one look at a day's photos gave.

    Attributes:
        detections: DETECTIONS of exactly the day's usable photos, sorted by photo.
        unknown_equipment: UNKNOWN_EQUIPMENT of the same photos, sorted by photo.
        unscored: Why unknown equipment has no scores, in words; None where it has.
    """

    detections: pl.DataFrame
    unknown_equipment: pl.DataFrame
    unscored: str | None


def detect_day(
    clean_photos: pl.DataFrame,
    *,
    previous: pl.DataFrame,
    previous_unknown: pl.DataFrame,
    champion: Champion | None,
    download: Callable[[Champion, str, str], Path],
    read_photo: Callable[[str], bytes],
    threads: int,
    progress: Callable[[int, int], None],
) -> DayFindings:
    """Look at the day's usable photos that this version has not looked at yet.

    Args:
        clean_photos: CLEAN_PHOTOS of the day.
        previous: The day's last detections.
        previous_unknown: UNKNOWN_EQUIPMENT of the day's last run.
        champion: What serves; without one nothing can be found and the tables are empty.
        download: Local path of a file of the champion, by its name in the registry and its SHA-256.
        read_photo: Bytes of a normalised photo.
        threads: Of the network, and as many for decoding.
        progress: Called with photos done and to do.
    """
    if champion is None:
        return DayFindings(pl.DataFrame(schema=DETECTIONS), pl.DataFrame(schema=UNKNOWN_EQUIPMENT), "no champion yet")
    usable = clean_photos.filter(pl.col("verdict") == "usable").select("photo_id").sort("photo_id")
    same = pl.col("model_version") == champion.version
    done = usable.join(previous.filter(same), on="photo_id", how="semi")
    done = done.join(previous_unknown.filter(same), on="photo_id", how="semi")
    known = previous.filter(same).join(done, on="photo_id", how="semi")
    scored = previous_unknown.filter(same).join(done, on="photo_id", how="semi")
    todo = usable.join(done, on="photo_id", how="anti")["photo_id"].to_list()
    if todo:
        predictor = OnnxPredictor(
            download(champion, files.ONNX, champion.export_sha256), list(champion.class_map), threads=threads
        )
        scorer = _Scorer(predictor, _references(champion, download), champion.version)
        found = detect_photos(
            predictor,
            todo,
            read_photo,
            model_version=champion.version,
            confidence=MIN_CONFIDENCE,
            progress=lambda count: progress(count, len(todo)),
            also=scorer.add,
        )
        known = pl.concat([known, found.select(DETECTIONS.names())])
        scored = pl.concat([scored, pl.DataFrame(scorer.rows, schema=UNKNOWN_EQUIPMENT, orient="row")])
    return DayFindings(
        known.sort("photo_id", "class_id", "confidence", descending=[False, False, True]),
        scored.sort("photo_id"),
        None if champion.references_sha256 else f"model version {champion.version} has no features of known equipment",
    )


class _Scorer:
    """Collects the rows of UNKNOWN_EQUIPMENT while photos are looked at."""

    def __init__(self, predictor: OnnxPredictor, references: References | None, model_version: str) -> None:
        self.rows: list[tuple[object, ...]] = []
        self._predictor, self._references, self._version = predictor, references, model_version

    def add(self, seen: Observation) -> None:
        """Score one photo."""
        found = most_unknown(seen, self._references, self._predictor) if self._references else None
        box = (found and found.box) or (None,) * 4
        self.rows.append((seen.photo_id, *box, found and found.score, self._version))


def _references(champion: Champion, download: Callable[[Champion, str, str], Path]) -> References | None:
    if champion.references_sha256 is None:
        return None
    return References.load(download(champion, files.REFERENCES, champion.references_sha256))
