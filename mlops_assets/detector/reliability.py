"""Whether a confidence means what it says: of detections with confidence 0.8, do four of five find a label?"""

import numpy as np
import polars as pl

from mlops_assets.detector.matching import Matches
from mlops_assets.detector.schema import DETECTOR_RELIABILITY

BINS = 10
"""Of equal width. Guo et al. (2017) take 15 for tens of thousands of predictions; a test set here has hundreds."""

LOWEST = 0.05
"""Detections below are left out: a detector gives hundreds a photo with confidence near 0, nothing reads them, and
weighted by number they alone would make the error look small."""


def reliability(matches: Matches, *, model_version: str) -> pl.DataFrame:
    """Mean confidence and precision of a model's predictions, in bins of confidence, over all classes.

    As Küppers et al. (CVPR workshops 2020) carry the reliability diagram over to detection: what is compared with the
    confidence is precision, the share of detections that find a label of their class, here at IoU 0.5. Whatever is
    missed has no part in it.

    Args:
        matches: Of one model on one snapshot.
        model_version: Written to every row.

    Returns:
        Rows of DETECTOR_RELIABILITY, one a bin that has predictions, lowest first.
    """
    confidence = np.concatenate([np.zeros(0), *(each.confidence for each in matches.classes.values())])
    hit = np.concatenate([np.zeros(0, bool), *(each.hit[0] for each in matches.classes.values())])
    counted = confidence >= LOWEST
    confidence, hit = confidence[counted], hit[counted]
    edges = np.arange(BINS + 1) / BINS  # linspace would put 0.7 below its own edge
    number = np.clip(np.searchsorted(edges, confidence, side="right") - 1, 0, BINS - 1)
    n = np.bincount(number, minlength=BINS)
    shown = np.flatnonzero(n)
    return pl.DataFrame(
        {
            "model_version": [model_version] * shown.size,
            "confidence_from": edges[shown],
            "confidence_to": edges[shown + 1],
            "n": n[shown],
            "confidence": np.bincount(number, weights=confidence, minlength=BINS)[shown] / n[shown],
            "precision": np.bincount(number, weights=hit, minlength=BINS)[shown] / n[shown],
        },
        schema=DETECTOR_RELIABILITY,
    )


def calibration_error(bins: pl.DataFrame) -> float | None:
    """Expected calibration error: mean distance between confidence and precision, weighted by predictions.

    Guo et al. (2017), eq. 3, with precision for accuracy. 0 to 1, None without a prediction.

    Args:
        bins: DETECTOR_RELIABILITY of one model.
    """
    if bins.is_empty():
        return None
    distance = (bins["confidence"] - bins["precision"]).abs().to_numpy()
    return float(np.average(distance, weights=bins["n"].to_numpy()))
