"""How good a model is on a split: average precision, precision and recall by class, and the thresholds to use.

Comparing two models belongs in `comparison.py`, deciding between them in `promotion.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from mlops_assets.detector.matching import ClassMatches, Matches, class_average_precision, match_predictions
from mlops_assets.detector.schema import DETECTOR_EVALUATION
from mlops_assets.labels.class_links import NO_LINKS, ClassLinks


@dataclass(frozen=True)
class Counts:
    """True positives, false positives and false negatives at IoU 0.5."""

    hits: int
    false: int
    missed: int

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.hits + other.hits, self.false + other.false, self.missed + other.missed)

    @property
    def precision(self) -> float | None:
        """Share of predictions that found a label; None without a prediction."""
        return self.hits / (self.hits + self.false) if self.hits + self.false else None

    @property
    def recall(self) -> float | None:
        """Share of labels that were found; None without a label."""
        return self.hits / (self.hits + self.missed) if self.hits + self.missed else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall; None without predictions and labels."""
        total = 2 * self.hits + self.false + self.missed
        return 2 * self.hits / total if total else None


def evaluate(
    truth: pl.DataFrame,
    predictions: pl.DataFrame,
    *,
    model_version: str,
    split: str,
    class_ids: Sequence[int],
    thresholds: Mapping[int, float],
    links: ClassLinks = NO_LINKS,
) -> pl.DataFrame:
    """Score predictions against a snapshot of labels.

    Args:
        truth: Rows of TRAINING_DATASET; those of `split` are used.
        predictions: Of that split's photos, down to a low confidence: photo_id, class_id, confidence and box.
        model_version: Written to every row.
        split: val or test.
        class_ids: Classes that the model knows.
        thresholds: Confidence from which each class counts for precision and recall.
        links: Since when classes with merged ones are known.

    Returns:
        Rows of DETECTOR_EVALUATION, one a class (AP null without a label) and one with null class: AP as the mean over
        classes with labels, precision and recall over all boxes.

    Raises:
        SnapshotError: Predictions of photos that are not in the split.
        KeyError: A class without a threshold.
    """
    matches = match_predictions(truth.filter(pl.col("split") == split), predictions, class_ids, links)
    return score(matches, model_version=model_version, split=split, class_ids=class_ids, thresholds=thresholds)


def score(
    matches: Matches, *, model_version: str, split: str, class_ids: Sequence[int], thresholds: Mapping[int, float]
) -> pl.DataFrame:
    """As `evaluate`, of predictions that are matched already."""
    rows = [_class_row(class_id, matches.classes[class_id], thresholds[class_id]) for class_id in class_ids]
    table = pl.DataFrame(rows, schema_overrides=DETECTOR_EVALUATION, schema=_FIGURES)
    micro = counts_at(matches, thresholds)
    total = table.select(
        pl.lit(None, pl.Int32).alias("class_id"),
        pl.mean("ap50", "ap50_95"),
        pl.lit(micro.precision, pl.Float64).alias("precision"),
        pl.lit(micro.recall, pl.Float64).alias("recall"),
        pl.lit(None, pl.Float64).alias("threshold"),
        pl.sum("n"),
    )
    return (
        pl.concat([table, total])
        .with_columns(model_version=pl.lit(model_version), split=pl.lit(split))
        .select(DETECTOR_EVALUATION.names())
    )


_FIGURES = ["class_id", "ap50", "ap50_95", "precision", "recall", "threshold", "n"]


def _class_row(class_id: int, matches: ClassMatches, threshold: float) -> dict[str, float | int | None]:
    precision = class_average_precision(matches)
    counts = count_class(matches, threshold)
    return {
        "class_id": class_id,
        "ap50": None if precision is None else float(precision[0]),
        "ap50_95": None if precision is None else float(precision.mean()),
        "precision": counts.precision,
        "recall": counts.recall,
        "threshold": threshold,
        "n": int(matches.labels.sum()),
    }


def count_class(matches: ClassMatches, threshold: float) -> Counts:
    """Count one class's predictions of at least `threshold` at IoU 0.5."""
    counted = matches.confidence >= threshold
    hits = int(matches.hit[0, counted].sum())
    return Counts(hits, int(counted.sum()) - hits, int(matches.labels.sum()) - hits)


def counts_at(matches: Matches, thresholds: Mapping[int, float]) -> Counts:
    """Count all classes' predictions, each class at its own threshold."""
    return sum((count_class(m, thresholds[class_id]) for class_id, m in matches.classes.items()), Counts(0, 0, 0))


def choose_thresholds(
    truth: pl.DataFrame,
    predictions: pl.DataFrame,
    class_ids: Sequence[int],
    default: float,
    links: ClassLinks = NO_LINKS,
) -> dict[int, float]:
    """Choose the confidence of best F1 for each class, on val only.

    The threshold lies halfway between the least confident prediction counted and the next below, as a small val set
    says nothing about where between the two.

    Args:
        truth: Rows of TRAINING_DATASET; those of val are used.
        predictions: Of val photos, down to a low confidence.
        class_ids: Classes that the model knows.
        default: For a class that val does not show, or that the model finds nowhere in it.
        links: Since when classes with merged ones are known.

    Raises:
        SnapshotError: Predictions of photos that are not in val.
    """
    matches = match_predictions(truth.filter(pl.col("split") == "val"), predictions, class_ids, links)
    return {class_id: _best_threshold(matches.classes[class_id], default) for class_id in class_ids}


def _best_threshold(matches: ClassMatches, default: float) -> float:
    labels = matches.labels.sum()
    if labels == 0 or not matches.hit[0].any():
        return default
    confidence = matches.confidence
    last_of_equals = np.flatnonzero(np.append(confidence[1:] < confidence[:-1], True))
    hits = np.cumsum(matches.hit[0])[last_of_equals]
    f1 = 2 * hits / (last_of_equals + 1 + labels)
    best = last_of_equals[int(np.argmax(f1))]
    following = confidence[best + 1] if best + 1 < confidence.size else confidence[best]
    return float((confidence[best] + following) / 2)
