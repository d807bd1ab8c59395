import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import cv2
import numpy as np
import polars as pl
import pytest
from snapshots import LEFT, RIGHT, TOP, Label, Prediction, predicted, random_snapshot, truth

from mlops_assets.detector.evaluation import score
from mlops_assets.detector.evaluation_pictures import log_pictures, small_charts, small_misses
from mlops_assets.detector.evaluation_report import TABLES, WORST, Report, make_report
from mlops_assets.detector.judging import Judged
from mlops_assets.detector.matching import match_predictions
from mlops_assets.detector.snapshot import SPLIT_PREDICTIONS
from mlops_assets.metadata import picture
from mlops_assets.use_case import PromotionRules
from resources.mlflow_client import ensure_experiment, open_client
from resources.mlflow_pictures import SHEET, runs_picturing

CHARTS = {"precision_recall_curve", "confusion_matrix", "reliability_curve", "slices_chart"}
FIGURES = {"map50", "precision", "recall", "f1"}


def judged(version: str, labels: pl.DataFrame, found: Sequence[Prediction], class_ids: list[int]) -> Judged:
    rows = predicted(found).with_columns(
        model_version=pl.lit(version), split=pl.lit("test"), seen_as=pl.lit(None, pl.String)
    )
    matches = match_predictions(labels, rows, class_ids)
    thresholds = dict.fromkeys(class_ids, 0.3)
    table = score(matches, model_version=version, split="test", class_ids=class_ids, thresholds=thresholds)
    return Judged(version, class_ids, rows.select(SPLIT_PREDICTIONS.names()), table, thresholds, matches)


def report(labels: pl.DataFrame, *models: Judged, names: dict[int, str] | None = None) -> Report:
    facts = labels.select("photo_id").unique().sort("photo_id")
    facts = facts.with_columns(
        brightness=pl.int_range(facts.height).cast(pl.Float64),
        sharpness=pl.lit(None, pl.Float64),
        box_area=pl.lit(0.1),
        camera=pl.lit(None, pl.String),
        captured_at=pl.lit(None, pl.Datetime("us", "UTC")),
    )
    made = make_report(
        models,
        labels,
        facts,
        names=names or {},
        rules=PromotionRules(bootstrap_samples=100),
        zone=ZoneInfo("Europe/Budapest"),
    )
    assert {name: frame.schema for name, frame in made.tables.items()} == TABLES
    for name, png in small_charts(made).items():
        shown = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
        assert min(shown.shape[:2]) > 100, name
        assert len(str(picture(png, name).value)) <= 100_000, name
    return made


def photo(photo_id: str) -> bytes:
    noise = np.random.default_rng(sum(photo_id.encode())).integers(0, 256, (600, 800, 3)).astype(np.uint8)
    return cv2.imencode(".jpg", noise)[1].tobytes()


def test_both_models_stand_in_every_table_and_on_the_charts() -> None:
    labels, found = random_snapshot(1)
    less = [row for row in found if row[1] != 2]
    test = truth(labels)
    made = report(test, judged("8", test, found, [0, 1, 2]), judged("7", test, less, [0, 1]))
    for name, frame in made.tables.items():
        assert set(frame["model_version"]) == {"7", "8"}, name
    whole = made.tables["detector_slices"].filter(pl.col("kind") == "all")
    assert set(whole["n"]) == {sum(class_id != 2 for _, class_id, _ in labels)}, "only classes that both know"
    missed = made.tables["detector_confusion"].filter((pl.col("model_version") == "7") & (pl.col("class_id") == 2))
    assert missed["boxes"].sum() == sum(class_id == 2 for _, class_id, _ in labels)
    assert set(made.charts) == CHARTS | {"confusion_matrix_champion"}
    assert set(small_charts(made)) == CHARTS
    sides = {f"test_{name}_{side}" for name in FIGURES for side in ("low", "high")}
    assert set(made.figures) == {"test_calibration_error", *sides}
    assert 0 < len(made.misses) <= WORST


def test_the_page_shows_the_very_worst_and_says_whom_it_shows() -> None:
    labels, found = random_snapshot(2)
    test = truth(labels)
    made = report(test, judged("8", test, found, [0, 1, 2]))
    shown = small_misses(made, photo, {0: "router"})
    assert shown is not None
    jpeg, alt = shown
    assert alt.split() == [miss.photo_id for miss in made.misses[:6]]
    assert len(base64.b64encode(jpeg)) <= 100_000


FOUND: list[Prediction] = [("A-1", 0, 0.9, LEFT), ("A-1", 0, 0.8, TOP), ("B-1", 0, 0.7, RIGHT)]


@pytest.mark.parametrize(
    ("labels", "found", "class_ids"),
    [
        ([("A-1", 0, LEFT), ("B-1", 0, RIGHT)], [], [0]),
        ([("A-1", 0, LEFT), ("B-1", 0, RIGHT)], FOUND, [0]),
        ([("A-1", None, None), ("B-1", None, None)], FOUND, [0]),
        ([("A-1", 5, LEFT), ("B-1", None, None)], FOUND, [0]),
        ([("A-1", None, None)], [], [0]),
        ([], [], [0]),
    ],
    ids=["nothing found", "one class", "nothing labelled", "no class known", "neither", "no test photos"],
)
def test_a_snapshot_with_little_in_it_has_its_report_too(
    labels: list[Label], found: list[Prediction], class_ids: list[int]
) -> None:
    test = truth(labels)
    made = report(test, judged("8", test, found, class_ids))
    assert set(made.charts) == CHARTS
    if not labels:
        assert all(frame.is_empty() for name, frame in made.tables.items() if name != "detector_slices")


@dataclass(frozen=True)
class Run:
    """An MLflow run outside of Dagster."""

    tracking_uri: str
    client: Any
    run_id: str

    def artifacts(self, folder: str) -> set[str]:
        return {Path(entry.path).name for entry in self.client.list_artifacts(self.run_id, folder)}


def test_the_run_keeps_large_pictures_but_none_of_a_photo_that_is_erased_meanwhile(
    new_mlflow: Callable[[Path], str], tmp_path: Path
) -> None:
    uri = new_mlflow(tmp_path)
    client = open_client(uri)
    run = Run(uri, client, client.create_run(ensure_experiment(client, "case", uri)).info.run_id)
    photo_ids = [digit * 64 for digit in "abc"]
    test = truth([(photo_id, 0, LEFT) for photo_id in photo_ids])
    made = report(test, judged("8", test, [], [0]))
    scratch = tmp_path / "scratch"
    for erased in (set[str](), {photo_ids[0]}):
        log_pictures(
            made, "8", run, read_photo=photo, names={0: "router"}, erased=lambda found=erased: found, scratch=scratch
        )
        left = {miss.file_name for miss in made.misses if miss.photo_id not in erased}
        assert run.artifacts("evaluation/version-8/worst_misses") == left | (set() if erased else {SHEET})
        assert run.artifacts("evaluation/version-8") == {f"{name}.png" for name in CHARTS} | {"worst_misses"}
    assert (runs_picturing(uri, photo_ids[0]), runs_picturing(uri, photo_ids[1])) == ([], [run.run_id])
    assert list(scratch.iterdir()) == []


def test_many_classes_of_long_names_fit_the_page() -> None:
    rng = np.random.default_rng(0)
    labels: list[Label] = [(f"E{i % 40}-1", i % 45, (*rng.uniform(0.2, 0.8, 2), 0.1, 0.1)) for i in range(400)]
    found: list[Prediction] = [(p, int(rng.integers(45)), float(rng.random()), box) for p, _, box in labels]
    test, classes = truth(labels, class_map_version=50), list(range(45))
    names = {class_id: f"Túlfeszültség-levezető, {class_id} pólusú, kültéri" for class_id in classes}
    made = report(test, judged("8", test, found, classes), judged("7", test, found, classes), names=names)
    assert made.tables["detector_curves"]["class_id"].n_unique() == 45
