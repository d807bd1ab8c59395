"""The champion's detections on one day's photos, and what may be unknown equipment, looked at once a model version.

What is found goes to `looked_at.LookedAt` chunk by chunk, so that memory does not grow with the day and a step that is
killed goes on where it was.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from mlops_assets.catalog.looked_at import Looked, LookedAt
from mlops_assets.catalog.schema import UNKNOWN_EQUIPMENT
from mlops_assets.detector import files
from mlops_assets.detector.champion import Champion
from mlops_assets.detector.predictor import Observation, OnnxPredictor, prediction_rows
from mlops_assets.detector.suppression import Detections
from mlops_assets.detector.unknown_equipment import References, most_unknown

MIN_CONFIDENCE = 0.05
"""Kept down to here, so that thresholds can change without looking at the photos again."""

CHUNK = 128
"""Photos that a step which is killed looks at again, at the most."""


@dataclass(frozen=True)
class DayFindings:
    """What one look at a day's photos gave.

    Attributes:
        detections: DETECTIONS of exactly the day's usable photos, sorted by photo.
        unknown_equipment: UNKNOWN_EQUIPMENT of the same photos, sorted by photo.
        unscored: Why unknown equipment has no scores, in words; None where it has.
        looked_at: Photos that were looked at now; of the others it was known.
        runtime: In which, in words.
    """

    detections: pl.DataFrame
    unknown_equipment: pl.DataFrame
    unscored: str | None
    looked_at: int = 0
    runtime: str = "none: no photo had to be looked at"


def detect_day(
    clean_photos: pl.DataFrame,
    *,
    looked_at: LookedAt | None,
    champion: Champion | None,
    download: Callable[[Champion, str, str], Path],
    read_photo: Callable[[str], bytes],
    threads: int,
    progress: Callable[[int, int], None],
    device: str = "cpu",
) -> DayFindings:
    """Look at the day's usable photos that this version of model and code has not looked at yet.

    Args:
        clean_photos: CLEAN_PHOTOS of the day.
        looked_at: What is known of them, and where what is found is kept meanwhile; None without a champion.
        champion: What serves; without one nothing can be found and the tables are empty.
        download: Local path of a file of the champion, by its name in the registry and its SHA-256.
        read_photo: Bytes of a normalised photo.
        threads: Photos that are worked on at a time.
        progress: Called with photos done and to do.
        device: Of the network, see `runtimes.open_network`.

    Raises:
        RuntimeError: Of some photos nothing is known in the end: another run of the day has cleared the parts.
    """
    if champion is None or looked_at is None:
        return DayFindings(*_sorted(Looked.none()), "no champion yet")
    usable = clean_photos.filter(pl.col("verdict") == "usable")["photo_id"].sort()
    known = looked_at.known(usable)
    todo = usable.filter(~usable.is_in(known.photo_ids().implode())).to_list()
    runtime = DayFindings.runtime
    if todo:
        predictor = OnnxPredictor(
            download(champion, files.ONNX, champion.export_sha256),
            list(champion.class_map),
            threads=threads,
            device=device,
        )
        runtime = predictor.description
        chunk = _Chunk(predictor, _references(champion, download), champion.version, looked_at)
        # Those that are begun with when it is killed count as well.
        size = max(1, CHUNK - predictor.ahead)
        for done, seen in enumerate(predictor.observe(todo, read_photo, confidence=MIN_CONFIDENCE), start=1):
            chunk.add(seen)
            if done % size == 0 or done == len(todo):
                chunk.keep()
            progress(done, len(todo))
        known = _complete(looked_at.known(usable), usable)
    unscored = (
        None if champion.references_sha256 else f"model version {champion.version} has no features of known equipment"
    )
    return DayFindings(*_sorted(known), unscored, len(todo), runtime)


def _complete(known: Looked, usable: pl.Series) -> Looked:
    missing = usable.filter(~usable.is_in(known.photo_ids().implode())).len()
    if missing:
        raise RuntimeError(
            f"Of {missing} of the day's {len(usable)} usable photos nothing is kept any more, though they were looked "
            "at: another run of the same day has cleared what was unfinished. The retry looks at them again"
        )
    return known


def _sorted(looked: Looked) -> tuple[pl.DataFrame, pl.DataFrame]:
    return (
        looked.detections.sort(
            "photo_id", "class_id", "confidence", descending=[False, False, True], maintain_order=True
        ),
        looked.unknown_equipment.sort("photo_id"),
    )


class _Chunk:
    """Gathers what is found on some photos, until it is kept."""

    def __init__(
        self, predictor: OnnxPredictor, references: References | None, model_version: str, looked_at: LookedAt
    ) -> None:
        self._predictor, self._references, self._version = predictor, references, model_version
        self._looked_at = looked_at
        self._found: list[tuple[str, Detections]] = []
        self._unknown: list[tuple[object, ...]] = []

    def add(self, seen: Observation) -> None:
        """Take one photo, and score it."""
        self._found.append((seen.photo_id, seen.detections))
        scored = most_unknown(seen, self._references, self._predictor) if self._references else None
        box = (scored and scored.box) or (None,) * 4
        self._unknown.append((seen.photo_id, *box, scored and scored.score, self._version))

    def keep(self) -> None:
        """Write it, and begin the next."""
        found = prediction_rows(self._found, self._predictor.class_ids, self._version)
        self._looked_at.append(Looked(found, pl.DataFrame(self._unknown, schema=UNKNOWN_EQUIPMENT, orient="row")))
        self._found, self._unknown = [], []


def _references(champion: Champion, download: Callable[[Champion, str, str], Path]) -> References | None:
    if champion.references_sha256 is None:
        return None
    return References.load(download(champion, files.REFERENCES, champion.references_sha256))
