"""Precision over recall of each class, and how it is drawn from matches."""

import numpy as np
import polars as pl

from mlops_assets.detector.matching import RECALL_POINTS, ClassMatches, Matches
from mlops_assets.detector.schema import DETECTOR_CURVES


def precision_recall_curves(matches: Matches, *, model_version: str) -> pl.DataFrame:
    """Interpolated precision at COCO's 101 recall points, IoU 0.5; its mean is the AP50.

    Args:
        matches: Of one model on one snapshot.
        model_version: Written to every row.

    Returns:
        Rows of DETECTOR_CURVES, 101 a class with labels.
    """
    frames = [
        _curve(of_class).with_columns(model_version=pl.lit(model_version), class_id=pl.lit(class_id, pl.Int32))
        for class_id, of_class in matches.classes.items()
        if of_class.labels.any()
    ]
    return pl.concat([pl.DataFrame(schema=DETECTOR_CURVES), *(f.select(DETECTOR_CURVES.names()) for f in frames)])


def _curve(matches: ClassMatches) -> pl.DataFrame:
    found = np.cumsum(matches.hit[0])
    precision = found / np.arange(1, found.size + 1)
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    first = np.searchsorted(found / matches.labels.sum(), RECALL_POINTS, side="left")
    return pl.DataFrame(
        {
            "recall": RECALL_POINTS,
            "precision": envelope[first],
            "confidence": np.append(matches.confidence, np.nan)[first],
        }
    ).with_columns(pl.col("confidence").fill_nan(None))
