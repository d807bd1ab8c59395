"""A candidate's run over the labelled val and test photos, and the names of what is measured on."""

import hashlib
import json
from collections.abc import Callable

import polars as pl

from mlops_assets.dataset.schema import TRAINING_DATASET
from mlops_assets.detector.predictor import PREDICTIONS, OnnxPredictor, detect_photos

SPLIT_PREDICTIONS = pl.Schema({**PREDICTIONS, "split": pl.String()})
"""What models found on the labelled val and test photos, down to `EVALUATION_CONFIDENCE`."""

EVALUATION_CONFIDENCE = 0.001
"""Average precision looks at the whole ranking; Ultralytics and COCO evaluate from here too."""


def snapshot_name(dataset: pl.DataFrame) -> str:
    """Name of the test set as it stands: SHA-256 of its rows, in their canonical order."""
    test = dataset.filter(pl.col("split") == "test").select(TRAINING_DATASET.names()).sort(TRAINING_DATASET.names())
    return hashlib.sha256(json.dumps(test.rows(), ensure_ascii=False).encode()).hexdigest()


def predict_split(
    predictor: OnnxPredictor,
    dataset: pl.DataFrame,
    split: str,
    read_photo: Callable[[str], bytes],
    model_version: str,
) -> pl.DataFrame:
    """Detections of a model on every photo of a split, down to `EVALUATION_CONFIDENCE`, with the split beside them."""
    photo_ids = dataset.filter(pl.col("split") == split)["photo_id"].unique().sort().to_list()
    found = detect_photos(
        predictor, photo_ids, read_photo, model_version=model_version, confidence=EVALUATION_CONFIDENCE
    )
    return found.with_columns(split=pl.lit(split)).select(SPLIT_PREDICTIONS.names())
