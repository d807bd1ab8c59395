"""Candidate and champion on one snapshot, and the decision between them, from what the registry keeps of each."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from mlops_assets.class_keys import class_key
from mlops_assets.detector import files
from mlops_assets.detector.candidate import Download, ModelVersion
from mlops_assets.detector.champion import parse_class_map
from mlops_assets.detector.comparison import Comparison, compare, enclosures_by_class
from mlops_assets.detector.evaluation import choose_thresholds, score
from mlops_assets.detector.matching import Matches, match_predictions
from mlops_assets.detector.merged_classes import resolve_classes, resolve_thresholds
from mlops_assets.detector.parity import parity_of
from mlops_assets.detector.promotion import Decision, decide, unusable
from mlops_assets.detector.snapshot import MEASURED_SPLITS
from mlops_assets.detector.snapshot_predictions import SnapshotPredictions
from mlops_assets.detector.soundness import faults
from mlops_assets.labels.class_links import NO_LINKS, ClassLinks
from mlops_assets.use_case import PromotionRules


class NotMeasuredError(ValueError):
    """There are no figures to decide on; the message names the version and what to do."""


@dataclass(frozen=True)
class Judged:
    """One model on the snapshot.

    Attributes:
        version: Of the model.
        class_ids: Classes that it knows, merged ones as the class that they count for.
        predictions: SPLIT_PREDICTIONS.
        evaluation: DETECTOR_EVALUATION.
        thresholds: Confidence from which each class counts.
        matches: Of the predictions on test.
    """

    version: str
    class_ids: list[int]
    predictions: pl.DataFrame
    evaluation: pl.DataFrame
    thresholds: dict[int, float]
    matches: Matches

    def figures(self) -> dict[str, float]:
        """Macro figures on test, for MLflow and the UI; what could not be measured is left out."""
        row = self.evaluation.filter((pl.col("split") == "test") & pl.col("class_id").is_null()).row(0, named=True)
        figures = {
            "test_map50": row["ap50"],
            "test_map50_95": row["ap50_95"],
            "test_precision": row["precision"],
            "test_recall": row["recall"],
        }
        return {name: float(value) for name, value in figures.items() if value is not None}

    def tags(self, *, thresholds: bool) -> dict[str, str]:
        """What the registry keeps with the version; without thresholds where those that it serves with stand."""
        if not thresholds:
            return self._figure_tags()
        # Rounded down: a threshold may be the confidence of the weakest hit itself.
        rounded = {str(class_id): math.floor(value * 1e4) / 1e4 for class_id, value in self.thresholds.items()}
        return {"thresholds": json.dumps(rounded), **self._figure_tags()}

    def _figure_tags(self) -> dict[str, str]:
        return {name: f"{value:.4f}" for name, value in self.figures().items()}


def class_map_of(version: ModelVersion) -> dict[int, str]:
    """Class names by id, in the order of the network's outputs."""
    return parse_class_map(version.tags["class_map"])


def thresholds_of(version: ModelVersion) -> dict[int, float]:
    """The confidences that were chosen on val when the version was a candidate."""
    return {int(k): float(v) for k, v in json.loads(version.tags["thresholds"]).items()}


def judge(
    version: ModelVersion,
    dataset: pl.DataFrame,
    *,
    download: Download,
    predictions: SnapshotPredictions,
    default_threshold: float,
    is_candidate: bool,
    links: ClassLinks = NO_LINKS,
) -> Judged:
    """Look at the val and test photos with one version, and score what it finds.

    A candidate's thresholds are chosen on val; a champion keeps those that it serves with.

    Args:
        version: In the registry.
        dataset: TRAINING_DATASET.
        download: Brings the export.
        predictions: Looks at the dataset's photos, or knows what is found there.
        default_threshold: For classes without a val box.
        is_candidate: Whether thresholds are to be chosen.
        links: Which classes the dataset takes for one; a champion may know them apart.
    """
    outputs = list(class_map_of(version))
    found = predictions.of(version.version, download(version.version, files.ONNX), outputs, links)
    class_ids = resolve_classes(outputs, links)
    of_split = {split: found.filter(pl.col("split") == split) for split in MEASURED_SPLITS}
    if is_candidate:
        thresholds = choose_thresholds(dataset, of_split["val"], class_ids, default_threshold, links)
    else:
        thresholds = resolve_thresholds(thresholds_of(version), links)
    matches = {
        split: match_predictions(dataset.filter(pl.col("split") == split), rows, class_ids, links)
        for split, rows in of_split.items()
    }
    tables = [
        score(of_matches, model_version=version.version, split=split, class_ids=class_ids, thresholds=thresholds)
        for split, of_matches in matches.items()
    ]
    return Judged(version.version, class_ids, found, pl.concat(tables), thresholds, matches["test"])


def decide_on(
    candidate: ModelVersion,
    champion: ModelVersion | None,
    *,
    evaluation: pl.DataFrame,
    predictions: pl.DataFrame,
    dataset: pl.DataFrame,
    download: Download,
    threads: int,
    rules: PromotionRules,
) -> Decision:
    """Apply the promotion rules to what was measured; a candidate that cannot be used at all is refused for that.

    Args:
        candidate: With its tags of `Candidate` and `Judged.tags`.
        champion: What serves now.
        evaluation: DETECTOR_EVALUATION of both.
        predictions: SPLIT_PREDICTIONS of both.
        dataset: TRAINING_DATASET, which holds the test snapshot.
        download: Brings the candidate's files.
        threads: Of the network, when its export is tried.
        rules: Of the use case.

    Raises:
        NotMeasuredError: One of the two was not measured on just this test set.
    """
    broken = faults(candidate, download, threads=threads)
    if broken:
        return unusable(broken)
    for version in (candidate, champion) if champion else (candidate,):
        _must_be_measured(version.version, evaluation, predictions, dataset)
    manifest = download(candidate.version, files.MANIFEST)
    links = links_of(manifest)
    return decide(
        _figures_now(candidate, predictions, dataset, links),
        _comparison(candidate, champion, predictions, dataset, rules, links) if champion else None,
        parity_of(candidate.tags),
        _leakage(manifest, dataset),
        rules,
        test_enclosures=enclosures_by_class(dataset),
        names=_names(candidate, champion, links),
    )


def _figures_now(
    candidate: ModelVersion, predictions: pl.DataFrame, dataset: pl.DataFrame, links: ClassLinks
) -> pl.DataFrame:
    """DETECTOR_EVALUATION of the candidate on test by the labels as they are: they may have changed since."""
    class_ids = resolve_classes(class_map_of(candidate), links)
    on_test = pl.col("split") == "test"
    found = predictions.filter(on_test & (pl.col("model_version") == candidate.version))
    return score(
        match_predictions(dataset.filter(on_test), found, class_ids, links),
        model_version=candidate.version,
        split="test",
        class_ids=class_ids,
        thresholds=thresholds_of(candidate),
    )


def _names(candidate: ModelVersion, champion: ModelVersion | None, links: ClassLinks) -> dict[int, str]:
    """Display names; the key of a class that the champion's merged ones count for and neither side names."""
    of_champion = class_map_of(champion) if champion else {}
    keys = {class_id: class_key(class_id) for class_id in resolve_classes(of_champion, links)}
    return keys | of_champion | class_map_of(candidate)


def _must_be_measured(version: str, evaluation: pl.DataFrame, predictions: pl.DataFrame, dataset: pl.DataFrame) -> None:
    """Both sides look at one snapshot: photos that one was not shown would count as if it had found nothing there."""
    of_version, on_test = pl.col("model_version") == version, pl.col("split") == "test"
    looked_at = set(predictions.filter(of_version & on_test)["photo_id"])
    wanted = set(dataset.filter(on_test)["photo_id"])
    if looked_at != wanted or evaluation.filter(of_version & on_test).is_empty():
        raise NotMeasuredError(
            f"Version {version} was not measured on this test set: it was shown {len(looked_at & wanted)} of its "
            f"{len(wanted)} photos and {len(looked_at - wanted)} others. Materialise detector_evaluation, then decide"
        )


def _comparison(
    candidate: ModelVersion,
    champion: ModelVersion,
    predictions: pl.DataFrame,
    dataset: pl.DataFrame,
    rules: PromotionRules,
    links: ClassLinks,
) -> Comparison:
    on_test = predictions.filter(pl.col("split") == "test").drop("split")
    return compare(
        dataset,
        on_test.filter(pl.col("model_version") == candidate.version),
        on_test.filter(pl.col("model_version") == champion.version),
        known_classes=resolve_classes(class_map_of(champion), links),
        candidate_thresholds=thresholds_of(candidate),
        champion_thresholds=resolve_thresholds(thresholds_of(champion), links),
        rules=rules,
        links=links,
    )


def links_of(manifest: Path) -> ClassLinks:
    """Which classes were merged when the dataset of a manifest was built."""
    return ClassLinks.parse(json.loads(manifest.read_text(encoding="utf-8")))


def _leakage(manifest: Path, dataset: pl.DataFrame) -> set[str]:
    """Test enclosures that the candidate was trained or tuned on."""
    splits: Mapping[str, Mapping[str, list[str]]] = json.loads(manifest.read_text(encoding="utf-8"))["splits"]
    learnt_from = {enclosure for split in ("train", "val") for enclosure in splits[split]["enclosures"]}
    return learnt_from & set(dataset.filter(pl.col("split") == "test")["enclosure_id"])
