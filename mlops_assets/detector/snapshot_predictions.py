"""Predictions of the models of one evaluation, of which those that an earlier one made are not made again.

A prediction is the same where the bytes of the photo, the exported model, the code that looks, and the merges of
classes are; `seen_as` is a digest of these. So a champion looks at test photos once, however many candidates are held
against it, and an evaluation that was killed goes on where it was last kept.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import polars as pl

from mlops_assets.code_versions import code_version
from mlops_assets.detector.merged_classes import resolve_detections
from mlops_assets.detector.snapshot import MEASURED_SPLITS, SPLIT_PREDICTIONS, SnapshotPredictor
from mlops_assets.labels.class_links import NO_LINKS, ClassLinks

KEEP_EVERY_S = 30.0
"""Seconds of looking that a kill may cost; writing some thousands of photos' predictions takes well under one."""

SO_FAR = "detector_predictions_so_far"
"""Table of what a running evaluation has; empty after it, since `detector_predictions` holds all."""

_AT_ONCE = 100
"""Photos between two looks at the clock."""

_DIGITS = 12


class TableReader(Protocol):
    """What is needed of the table resource."""

    def read(self, name: str, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
        """The last version of a table, empty if there is none."""


def earlier_predictions(tables: TableReader) -> pl.DataFrame:
    """SPLIT_PREDICTIONS of the last evaluation, and of one that was cut off."""
    done = tables.read("detector_predictions", SPLIT_PREDICTIONS)
    key = ["photo_id", "split", "model_version", "seen_as"]
    cut_off = tables.read(SO_FAR, SPLIT_PREDICTIONS).join(done, on=key, how="anti")
    return pl.concat([done, cut_off])


class SnapshotPredictions:
    """What the models of one evaluation find on its val and test photos.

    Args:
        dataset: TRAINING_DATASET; its val and test photos are looked at.
        read_photo: Bytes of a normalised photo; called from several threads.
        threads: Of the network, and as many for decoding.
        earlier: SPLIT_PREDICTIONS of earlier evaluations, whatever their models and photos.
        keep: Called now and then with all that this evaluation has so far, SPLIT_PREDICTIONS.
        progress: Called with photos done and to do.
    """

    def __init__(
        self,
        dataset: pl.DataFrame,
        read_photo: Callable[[str], bytes],
        *,
        threads: int,
        earlier: pl.DataFrame | None = None,
        keep: Callable[[pl.DataFrame], object] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._photos = (
            dataset.filter(pl.col("split").is_in(MEASURED_SPLITS))
            .select("photo_id", "split", "photo_sha256")
            .unique("photo_id", keep="first")
            .sort("photo_id")
        )
        self._read_photo, self._threads = read_photo, threads
        self._earlier = earlier if earlier is not None else SPLIT_PREDICTIONS.to_frame()
        self._keep, self._progress = keep, progress
        self._made: list[pl.DataFrame] = [SPLIT_PREDICTIONS.to_frame()]
        self._kept_at = time.monotonic()
        self.looked_at: dict[str, int] = {}
        """Photos that were looked at now, by model version; the others were known."""
        self.runtimes: set[str] = set()
        """In which they were looked at, with version and processor."""

    def of(
        self, model_version: str, export: Path, class_ids: Sequence[int], links: ClassLinks = NO_LINKS
    ) -> pl.DataFrame:
        """Detections of a model on every val and test photo, under the classes that theirs count for.

        Args:
            model_version: Written to every row.
            export: ONNX file of the model.
            class_ids: The class of each output index, in order.
            links: Which classes were merged.

        Returns:
            Rows of SPLIT_PREDICTIONS.

        Raises:
            PredictionError: A photo's bytes are no picture, or the model does not fit its classes.
        """
        wanted = self._photos.with_columns(seen_as=self._seen_as(export, class_ids, links))
        known = self._earlier.filter(pl.col("model_version") == model_version).join(
            wanted, on=["photo_id", "split", "seen_as"], how="semi"
        )
        self._made.append(known)
        found = [known]
        todo = wanted.join(known, on="photo_id", how="anti")
        self.looked_at[model_version] = todo.height
        if todo.is_empty():
            return known.sort("photo_id", maintain_order=True)
        predictor = SnapshotPredictor(export, class_ids, threads=self._threads)
        self.runtimes.add(predictor.runtime)
        for first in range(0, todo.height, _AT_ONCE):
            some = todo.slice(first, _AT_ONCE)
            seen = predictor.predict(
                some["photo_id"].to_list(),
                self._read_photo,
                model_version=model_version,
                progress=self._from(first, todo.height),
            )
            rows = resolve_detections(seen, links).join(some.drop("photo_sha256"), on="photo_id")
            found.append(rows.select(SPLIT_PREDICTIONS.names()))
            self._made.append(found[-1])
            self._keep_if_due()
        return pl.concat(found).sort("photo_id", maintain_order=True)

    def _seen_as(self, export: Path, class_ids: Sequence[int], links: ClassLinks) -> pl.Series:
        with export.open("rb") as stream:
            model = hashlib.file_digest(stream, "sha256").hexdigest()
        merged = {class_id: links.target(class_id) for class_id in class_ids if class_id != links.target(class_id)}
        code = code_version(SnapshotPredictor.__module__, SnapshotPredictor.__name__, image="cpu")
        looking = json.dumps([model, code, sorted(merged.items())])
        digests = [hashlib.sha256(f"{looking} {photo}".encode()).hexdigest() for photo in self._photos["photo_sha256"]]
        return pl.Series("seen_as", [digest[:_DIGITS] for digest in digests], pl.String)

    def _from(self, first: int, total: int) -> Callable[[int], None] | None:
        progress = self._progress
        return None if progress is None else lambda done: progress(first + done, total)

    def _keep_if_due(self) -> None:
        if self._keep is not None and time.monotonic() - self._kept_at >= KEEP_EVERY_S:
            self._keep(pl.concat(self._made))
            self._kept_at = time.monotonic()
