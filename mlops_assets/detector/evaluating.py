"""One evaluation from start to finish: candidate and champion look at the snapshot, and all that is said of it.

Where it is kept is for the asset.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from zoneinfo import ZoneInfo

import polars as pl

from mlops_assets.detector.candidate import Download, ModelVersion
from mlops_assets.detector.evaluation_report import TABLES, Report, make_report
from mlops_assets.detector.judging import Judged, class_map_of, judge
from mlops_assets.detector.old_classes import OldClassChange, old_class_change
from mlops_assets.detector.schema import DETECTOR_EVALUATION, OLD_CLASS_CHANGE
from mlops_assets.detector.slices import photo_facts
from mlops_assets.detector.snapshot import SPLIT_PREDICTIONS
from mlops_assets.detector.snapshot_predictions import SnapshotPredictions
from mlops_assets.labels.class_links import ClassLinks
from mlops_assets.photos.lookup import TableDays
from mlops_assets.use_case import UseCase

PREDICTIONS_TABLE = "detector_predictions"

SAID = {**TABLES, "old_class_change": OLD_CLASS_CHANGE}
"""Tables beside `detector_evaluation` that say something of its models."""

KEPT = {PREDICTIONS_TABLE: SPLIT_PREDICTIONS, **SAID}
"""All that an evaluation keeps beside its own table."""


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation comes to.

    Attributes:
        judged: The candidate, then the champion where there is one.
        report: What is said beside their figures.
        names: Display names of all classes that one of them knows.
    """

    judged: list[Judged]
    report: Report
    names: Mapping[int, str]

    @property
    def candidate(self) -> Judged:
        """Whose thresholds were chosen."""
        return self.judged[0]

    @cached_property
    def old_classes(self) -> OldClassChange:
        """What happened to the classes that the champion knows."""
        return old_class_change(self.table(), self.candidate.version)

    def table(self) -> pl.DataFrame:
        """DETECTOR_EVALUATION of all."""
        return pl.concat([DETECTOR_EVALUATION.to_frame(), *(each.evaluation for each in self.judged)])

    def kept(self) -> dict[str, pl.DataFrame]:
        """The tables of KEPT."""
        predictions = pl.concat([SPLIT_PREDICTIONS.to_frame(), *(each.predictions for each in self.judged)])
        return {PREDICTIONS_TABLE: predictions, **self.report.tables, "old_class_change": self.old_classes.table}

    def figures(self) -> dict[str, float]:
        """Of the candidate on test, for MLflow and the asset's page."""
        return self.candidate.figures() | self.report.figures | self.old_classes.figures()

    def for_people(self) -> pl.DataFrame:
        """The table with the classes' names."""
        named = pl.col("class_id").replace_strict(self.names, default="all classes", return_dtype=pl.String)
        return self.table().with_columns(class_name=named).sort("split", "class_id", "model_version")


def evaluate_versions(
    versions: Sequence[ModelVersion],
    dataset: pl.DataFrame,
    tables: TableDays,
    predictions: SnapshotPredictions,
    *,
    download: Download,
    use_case: UseCase,
    links: ClassLinks,
    keeps_thresholds: bool,
) -> Evaluation:
    """Measure models on one snapshot.

    Args:
        versions: The candidate, and what it is held against.
        dataset: TRAINING_DATASET.
        tables: Where brightness, camera and so on of the test photos are looked up.
        predictions: Looks at the dataset's photos, or knows what is found there.
        download: Brings the exports.
        use_case: Its rules.
        links: Which classes the dataset takes for one.
        keeps_thresholds: Whether the candidate has served, so that its thresholds are not chosen anew.
    """
    judged = [
        judge(
            version,
            dataset,
            download=download,
            predictions=predictions,
            default_threshold=use_case.inventory.default_threshold,
            is_candidate=version is versions[0] and not keeps_thresholds,
            links=links,
        )
        for version in versions
    ]
    names = {class_id: name for version in reversed(versions) for class_id, name in class_map_of(version).items()}
    report = make_report(
        judged,
        dataset,
        photo_facts(tables, dataset.filter(pl.col("split") == "test")),
        names=names,
        rules=use_case.promotion,
        zone=ZoneInfo(use_case.timezone),
        links=links,
    )
    return Evaluation(judged, report, names)
