"""The photos that models are measured on, and what a model finds on them."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from mlops_assets.dataset.schema import TRAINING_DATASET
from mlops_assets.detector.predictor import PREDICTIONS, OnnxPredictor, detect_photos

SPLIT_PREDICTIONS = pl.Schema({**PREDICTIONS, "split": pl.String(), "seen_as": pl.String()})
"""What models found on the labelled val and test photos, down to `EVALUATION_CONFIDENCE`.

seen_as says what was looked at, by what: see `snapshot_predictions`.
"""

EVALUATION_CONFIDENCE = 0.001
"""Average precision looks at the whole ranking; Ultralytics and COCO evaluate from here too."""

MEASURED_SPLITS = ("val", "test")


def snapshot_name(dataset: pl.DataFrame) -> str:
    """Name of the test set as it stands: SHA-256 of its rows, in their canonical order."""
    test = dataset.filter(pl.col("split") == "test").select(TRAINING_DATASET.names()).sort(TRAINING_DATASET.names())
    return hashlib.sha256(json.dumps(test.rows(), ensure_ascii=False).encode()).hexdigest()


class SnapshotPredictor:
    """A model that looks at photos down to `EVALUATION_CONFIDENCE`.

    Args:
        export: ONNX file of the model.
        class_ids: The class of each output index, in order.
        threads: Of the network, and as many for decoding.

    Raises:
        PredictionError: The model does not fit its classes.
    """

    def __init__(self, export: Path, class_ids: Sequence[int], *, threads: int) -> None:
        self._predictor = OnnxPredictor(export, class_ids, threads=threads)

    @property
    def runtime(self) -> str:
        """With version and processor."""
        return self._predictor.description

    def predict(
        self,
        photo_ids: Sequence[str],
        read_photo: Callable[[str], bytes],
        *,
        model_version: str,
        progress: Callable[[int], None] | None = None,
    ) -> pl.DataFrame:
        """Rows of PREDICTIONS.

        Args:
            photo_ids: Photos to look at.
            read_photo: Bytes of a normalised photo; called from several threads.
            model_version: Written to every row.
            progress: Called after each photo with the number done.

        Raises:
            PredictionError: A photo's bytes are no picture.
        """
        return detect_photos(
            self._predictor,
            photo_ids,
            read_photo,
            model_version=model_version,
            confidence=EVALUATION_CONFIDENCE,
            progress=progress,
        )
