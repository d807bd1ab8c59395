"""Where candidate and champion are good and where not: all tables and charts of an evaluation, from its matches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import polars as pl

from mlops_assets.detector import evaluation_charts as charts
from mlops_assets.detector import schema
from mlops_assets.detector.confusion import box_outcomes, confusion_matrix
from mlops_assets.detector.intervals import bootstrap_intervals
from mlops_assets.detector.judging import Judged
from mlops_assets.detector.precision_recall import precision_recall_curves
from mlops_assets.detector.reliability import calibration_error, reliability
from mlops_assets.detector.slices import slice_results, slices_of
from mlops_assets.detector.worst_misses import Miss, worst_photos
from mlops_assets.labels.class_links import NO_LINKS, ClassLinks
from mlops_assets.use_case import PromotionRules

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TABLES = {
    "detector_curves": schema.DETECTOR_CURVES,
    "detector_confusion": schema.DETECTOR_CONFUSION,
    "detector_intervals": schema.DETECTOR_INTERVALS,
    "detector_reliability": schema.DETECTOR_RELIABILITY,
    "detector_slices": schema.DETECTOR_SLICES,
}
"""Written beside `detector_evaluation`."""

WORST = 12
"""Photos of which pictures are drawn."""


@dataclass(frozen=True)
class Report:
    """What an evaluation says of test.

    Attributes:
        tables: Of TABLES, by name.
        figures: Of the candidate, for MLflow.
        charts: By file name without suffix, candidate against champion.
        misses: The candidate's worst photos.
    """

    tables: dict[str, pl.DataFrame]
    figures: dict[str, float]
    charts: dict[str, "Figure"]
    misses: list[Miss]


def make_report(
    judged: Sequence[Judged],
    dataset: pl.DataFrame,
    facts: pl.DataFrame,
    *,
    names: Mapping[int, str],
    rules: PromotionRules,
    zone: ZoneInfo,
    links: ClassLinks = NO_LINKS,
) -> Report:
    """Work out all that is said beyond the evaluation's own table.

    Args:
        judged: The candidate, then the champion where there is one.
        dataset: TRAINING_DATASET; its test rows are used.
        facts: Of `slices.photo_facts`, of the test photos.
        names: Display names.
        rules: Bootstrap samples, and enclosures that make a slice judgeable.
        zone: In which a month begins.
        links: Since when classes with merged ones are known.
    """
    test = dataset.filter(pl.col("split") == "test")
    membership = slices_of(facts, zone)
    shared = set.intersection(*(set(each.class_ids) for each in judged)) or set(judged[0].class_ids)
    parts: dict[str, list[pl.DataFrame]] = {name: [declared.to_frame()] for name, declared in TABLES.items()}
    misses: list[Miss] = []
    for number, each in enumerate(judged):
        version = each.version
        found = each.predictions.filter(pl.col("split") == "test")
        outcomes = box_outcomes(test, found, each.thresholds, each.class_ids, links)
        parts["detector_curves"].append(precision_recall_curves(each.matches, model_version=version))
        parts["detector_confusion"].append(confusion_matrix(outcomes, model_version=version))
        parts["detector_reliability"].append(reliability(each.matches, model_version=version))
        parts["detector_intervals"].append(
            bootstrap_intervals(each.matches, each.thresholds, model_version=version, samples=rules.bootstrap_samples)
        )
        parts["detector_slices"].append(
            slice_results(
                each.matches,
                membership,
                each.thresholds,
                model_version=version,
                class_ids=sorted(shared),
                min_enclosures=rules.min_test_enclosures,
                samples=rules.bootstrap_samples,
            )
        )
        if number == 0:
            misses = worst_photos(outcomes, WORST)
    tables = {name: pl.concat(frames) for name, frames in parts.items()}
    return Report(tables, _figures(judged[0], tables), _charts(judged, tables, names), misses)


def _figures(candidate: Judged, tables: Mapping[str, pl.DataFrame]) -> dict[str, float]:
    of_candidate = pl.col("model_version") == candidate.version
    error = calibration_error(tables["detector_reliability"].filter(of_candidate))
    total = tables["detector_intervals"].filter(of_candidate & pl.col("class_id").is_null())
    figures = {} if error is None else {"test_calibration_error": error}
    for measure, low, high in total.select("measure", "low", "high").iter_rows():
        name = {"ap50": "map50"}.get(measure, measure)
        figures |= {f"test_{name}_low": low, f"test_{name}_high": high}
    return figures


def _charts(
    judged: Sequence[Judged], tables: Mapping[str, pl.DataFrame], names: Mapping[int, str]
) -> dict[str, "Figure"]:
    evaluation = pl.concat([each.evaluation for each in judged])
    roles = ("candidate", "champion")
    models = [(each.version, f"{role} {each.version}") for each, role in zip(judged, roles, strict=False)]
    matrices = {
        "confusion_matrix" if number == 0 else "confusion_matrix_champion": charts.confusion_chart(
            tables["detector_confusion"].filter(pl.col("model_version") == version),
            names,
            f"What test boxes were taken for by {name}\nIoU 0.5, at the stored thresholds",
        )
        for number, (version, name) in enumerate(models)
    }
    return {
        "precision_recall_curve": charts.precision_recall_chart(tables["detector_curves"], evaluation, names, models),
        **matrices,
        "reliability_curve": charts.reliability_chart(tables["detector_reliability"], models),
        "slices_chart": charts.slices_chart(tables["detector_slices"], models),
    }
