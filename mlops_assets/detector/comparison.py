"""Candidate against champion on one snapshot of the test set: a paired bootstrap over enclosures.

Photos of one enclosure show the same devices, so enclosures, not photos, are drawn. What follows from the figures
belongs in `promotion.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from mlops_assets.detector.evaluation import counts_at
from mlops_assets.detector.matching import ClassMatches, Matches, average_precision, match_predictions
from mlops_assets.detector.resampling import draw_enclosures, enclosure_numbers, resampled_ap50
from mlops_assets.labels.class_links import NO_LINKS, ClassLinks
from mlops_assets.use_case import PromotionRules

_LOWER_QUANTILE = 0.05

_ROUNDING = 1e-9
"""0.95 - 1.00 is below -0.05 in binary fractions, and a fall of just the tolerance is none of more than it."""


@dataclass(frozen=True)
class ClassComparison:
    """One class that both sides are measured on.

    Attributes:
        class_id: The class.
        candidate_ap50: On the whole test set.
        champion_ap50: On the whole test set.
        loss_probability: Share of bootstrap samples in which the candidate's AP50 is lower by more than the tolerance.
        enclosures: Test enclosures with a box of the class.
    """

    class_id: int
    candidate_ap50: float
    champion_ap50: float
    loss_probability: float
    enclosures: int

    @property
    def change(self) -> float:
        """Candidate minus champion, AP50."""
        return self.candidate_ap50 - self.champion_ap50


@dataclass(frozen=True)
class Comparison:
    """What the candidate changes on the classes that the champion knows.

    Attributes:
        known_classes: Classes of the champion, with or without test boxes.
        classes: Those of them with test boxes.
        macro_change: Mean change of AP50 over `classes`; None without any.
        macro_lower_bound: One-sided 95 % lower bound of it; None without any.
        candidate_f1: Micro F1 at the candidate's stored thresholds, over the known classes; those left out that have no
            test box and that the candidate does not know, such as deprecated ones.
        champion_f1: The same for the champion.
        samples: Bootstrap samples drawn.
    """

    known_classes: tuple[int, ...]
    classes: tuple[ClassComparison, ...]
    macro_change: float | None
    macro_lower_bound: float | None
    candidate_f1: float
    champion_f1: float
    samples: int


def compare(
    truth: pl.DataFrame,
    candidate: pl.DataFrame,
    champion: pl.DataFrame,
    *,
    known_classes: Sequence[int],
    candidate_thresholds: Mapping[int, float],
    champion_thresholds: Mapping[int, float],
    rules: PromotionRules,
    seed: int = 0,
    links: ClassLinks = NO_LINKS,
) -> Comparison:
    """Compare two models on the same test photos.

    Each of `rules.bootstrap_samples` draws as many test enclosures as there are, with replacement, the same for both
    models, and computes every class's AP50 anew from the matches at IoU 0.5.

    Args:
        truth: Rows of TRAINING_DATASET; those of test are used.
        candidate: Its predictions of test photos, down to a low confidence.
        champion: The champion's predictions of the same photos.
        known_classes: Classes of the champion; a class that the candidate dropped counts as never found.
        candidate_thresholds: Stored with the candidate; 1 is taken for a class that it dropped.
        champion_thresholds: Stored with the champion.
        rules: Tolerance and number of samples.
        seed: Of the bootstrap; the same seed gives the same figures.
        links: Since when classes with merged ones are known.

    Raises:
        SnapshotError: Predictions of photos that are not in the test set.
    """
    test = truth.filter(pl.col("split") == "test")
    return compare_matches(
        match_predictions(test, candidate, known_classes, links),
        match_predictions(test, champion, known_classes, links),
        candidate_thresholds=candidate_thresholds,
        champion_thresholds=champion_thresholds,
        rules=rules,
        seed=seed,
    )


def compare_matches(
    ours: Matches,
    theirs: Matches,
    *,
    candidate_thresholds: Mapping[int, float],
    champion_thresholds: Mapping[int, float],
    rules: PromotionRules,
    seed: int = 0,
) -> Comparison:
    """As `compare`, of matches of the champion's classes on one snapshot."""
    known_classes = list(theirs.classes)
    judged = [class_id for class_id in known_classes if ours.classes[class_id].labels.any()]
    enclosure = enclosure_numbers(ours)
    changes = _bootstrap_changes(ours, theirs, judged, enclosure, rules.bootstrap_samples, seed)
    classes = tuple(
        ClassComparison(
            class_id=class_id,
            candidate_ap50=_ap50(ours.classes[class_id]),
            champion_ap50=_ap50(theirs.classes[class_id]),
            loss_probability=_loss_probability(changes[:, column], rules.tolerance),
            enclosures=int(np.unique(enclosure[ours.classes[class_id].labels > 0]).size),
        )
        for column, class_id in enumerate(judged)
    )
    # A class that nobody labels any more, and that the candidate need not know, says nothing for or against either.
    counted = [class_id for class_id in known_classes if class_id in judged or class_id in candidate_thresholds]
    thresholds = dict.fromkeys(known_classes, 1.0) | dict(candidate_thresholds)
    return Comparison(
        known_classes=tuple(known_classes),
        classes=classes,
        macro_change=float(np.mean([c.change for c in classes])) if classes else None,
        macro_lower_bound=_macro_lower_bound(changes) if classes else None,
        candidate_f1=counts_at(_of_classes(ours, counted), thresholds).f1 or 0.0,
        champion_f1=counts_at(_of_classes(theirs, counted), champion_thresholds).f1 or 0.0,
        samples=rules.bootstrap_samples,
    )


def _of_classes(matches: Matches, class_ids: Sequence[int]) -> Matches:
    return replace(matches, classes={class_id: matches.classes[class_id] for class_id in class_ids})


def enclosures_by_class(truth: pl.DataFrame) -> dict[int, int]:
    """Count the test enclosures that show each class; classes without test boxes are left out."""
    shown = truth.filter((pl.col("split") == "test") & pl.col("class_id").is_not_null())
    return dict(shown.group_by("class_id").agg(pl.n_unique("enclosure_id")).iter_rows())


def _bootstrap_changes(
    ours: Matches, theirs: Matches, class_ids: list[int], enclosure: npt.NDArray[np.int64], samples: int, seed: int
) -> npt.NDArray[np.float64]:
    """Return (samples, classes) changes of AP50; NaN where a sample drew no label of the class."""
    count = int(enclosure.max()) + 1 if enclosure.size else 0
    draws = draw_enclosures(count, samples, seed)
    columns = [
        resampled_ap50(ours.classes[c], draws, enclosure) - resampled_ap50(theirs.classes[c], draws, enclosure)
        for c in class_ids
    ]
    return np.stack(columns, axis=1) if columns else np.zeros((samples, 0))


def _ap50(matches: ClassMatches) -> float:
    one = np.ones((1, matches.confidence.size))
    return float(average_precision(matches.hit[0], one, np.array([float(matches.labels.sum())]))[0])


def _loss_probability(changes: npt.NDArray[np.float64], tolerance: float) -> float:
    drawn = changes[~np.isnan(changes)]
    return float((drawn < -tolerance - _ROUNDING).mean()) if drawn.size else 0.0


def _macro_lower_bound(changes: npt.NDArray[np.float64]) -> float:
    drawn = changes[~np.isnan(changes).all(axis=1)]
    return float(np.quantile(np.nanmean(drawn, axis=1), _LOWER_QUANTILE))
