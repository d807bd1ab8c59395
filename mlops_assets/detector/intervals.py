"""How sure a model's figures are: percentile intervals of a bootstrap over the test enclosures."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import polars as pl

from mlops_assets.detector.matching import ClassMatches, Matches
from mlops_assets.detector.resampling import draw_enclosures, enclosure_numbers, resampled_ap50
from mlops_assets.detector.schema import DETECTOR_INTERVALS

CONFIDENCE = 0.95
"""Share of the samples that an interval holds."""

MEASURES = ("ap50", "precision", "recall", "f1")

_Samples = dict[str, npt.NDArray[np.float64]]
"""A measure's value on each sample, (samples,); NaN where a sample does not define it."""


def bootstrap_intervals(
    matches: Matches, thresholds: Mapping[int, float], *, model_version: str, samples: int, seed: int = 0
) -> pl.DataFrame:
    """Intervals of AP50, and of precision, recall and F1 at the thresholds, by class and over all classes.

    The percentile bootstrap (Efron and Tibshirani, 1993, ch. 13) with enclosures as the unit that is drawn. With few
    enclosures it is somewhat too narrow, and it cannot tell that a figure which is the same in all of them is unsure.

    Args:
        matches: Of one model on one snapshot.
        thresholds: Confidence from which each class counts.
        model_version: Written to every row.
        samples: Bootstrap samples.
        seed: The same seed draws the same enclosures, also for another model.

    Returns:
        Rows of DETECTOR_INTERVALS; class_id null: macro AP50, micro precision, recall and F1. What no sample defines
        has no row.
    """
    enclosure = enclosure_numbers(matches)
    count = int(enclosure.max()) + 1 if enclosure.size else 0
    draws = draw_enclosures(count, samples, seed)
    rows: list[tuple[object, ...]] = []
    totals = np.zeros((3, samples))
    macro: list[npt.NDArray[np.float64]] = []
    for class_id, of_class in matches.classes.items():
        counted = _resampled_counts(of_class, thresholds[class_id], draws, enclosure)
        totals += counted
        if of_class.labels.any():
            ap50 = resampled_ap50(of_class, draws, enclosure)
            macro.append(ap50)
            shown = np.unique(enclosure[of_class.labels > 0]).size
            rows += _rows(model_version, class_id, {"ap50": ap50, **_shares(counted)}, shown)
    everything = {**({"ap50": _mean(np.stack(macro))} if macro else {}), **_shares(totals)}
    return pl.DataFrame([*rows, *_rows(model_version, None, everything, count)], DETECTOR_INTERVALS, orient="row")


def ap50_interval(matches: Matches, *, samples: int, seed: int = 0) -> tuple[float, float] | None:
    """The interval of macro AP50 alone; None without a label."""
    enclosure = enclosure_numbers(matches)
    with_labels = [each for each in matches.classes.values() if each.labels.any()]
    if not with_labels:
        return None
    draws = draw_enclosures(int(enclosure.max()) + 1, samples, seed)
    return _interval(_mean(np.stack([resampled_ap50(each, draws, enclosure) for each in with_labels])))


def _resampled_counts(
    matches: ClassMatches, threshold: float, draws: npt.NDArray[np.float64], enclosure: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Hits, predictions and labels of a class on each sample, (3, samples)."""
    counted = matches.confidence >= threshold
    size = draws.shape[1]
    found = np.bincount(enclosure[matches.photo[counted]], minlength=size)
    hits = np.bincount(enclosure[matches.photo[counted & matches.hit[0]]], minlength=size)
    labels = np.bincount(enclosure, weights=matches.labels, minlength=size)
    return np.stack([draws @ each for each in (hits, found, labels)])


def _shares(counted: npt.NDArray[np.float64]) -> _Samples:
    hits, found, labels = counted
    with np.errstate(invalid="ignore", divide="ignore"):
        return {"precision": hits / found, "recall": hits / labels, "f1": 2 * hits / (found + labels)}


def _mean(of_classes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean over the classes that a sample shows, (samples,)."""
    shown = ~np.isnan(of_classes)
    with np.errstate(invalid="ignore"):
        mean: npt.NDArray[np.float64] = np.where(shown, of_classes, 0).sum(axis=0) / shown.sum(axis=0)
    return mean


def _interval(values: npt.NDArray[np.float64]) -> tuple[float, float] | None:
    defined = values[~np.isnan(values)]
    if not defined.size:
        return None
    low, high = np.quantile(defined, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _rows(version: str, class_id: int | None, samples: _Samples, enclosures: int) -> list[tuple[object, ...]]:
    intervals = {measure: _interval(samples[measure]) for measure in MEASURES if measure in samples}
    return [(version, class_id, measure, *found, enclosures) for measure, found in intervals.items() if found]
