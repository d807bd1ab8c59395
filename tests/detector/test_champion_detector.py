"""champion_detector, champion_history, the jobs for people and the sensor, in real runs on a registry in SQLite."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import onnx
import polars as pl
import pytest
from onnx import numpy_helper

from definitions import build_defs, build_resources
from mlops_assets.catalog.detecting import detect_day
from mlops_assets.catalog.looked_at import LookedAt
from mlops_assets.catalog.schema import DETECTIONS, UNKNOWN_EQUIPMENT
from mlops_assets.dataset.schema import TRAINING_DATASET
from mlops_assets.detector import files
from mlops_assets.detector.champion import latest_champion
from mlops_assets.detector.decisions import has_served
from mlops_assets.detector.evaluating import evaluate_versions
from mlops_assets.detector.judging import judge
from mlops_assets.detector.schema import (
    CHAMPION_DETECTOR,
    CHAMPION_HISTORY,
    DETECTOR_EVALUATION,
    DETECTOR_WEIGHTS,
    OLD_CLASS_CHANGE,
)
from mlops_assets.detector.snapshot import SPLIT_PREDICTIONS
from mlops_assets.detector.snapshot_predictions import SnapshotPredictions
from mlops_assets.jobs import DECIDE_CHAMPION, ROLLBACK, champion_config
from mlops_assets.labels.class_links import NO_LINKS
from mlops_assets.use_case import UseCase
from resources.mlflow_client import ensure_experiment, open_client
from resources.model_registry import ModelRegistry
from resources.settings import Settings
from resources.tables import Tables

CASE = UseCase.model_validate(
    {"name": "case", "title": "Case", "start": "2026-10-01", "promotion": {"floor_ap50": 0.0, "bootstrap_samples": 100}}
)
BOXES = {0: (0.2604, 0.4861, 0.3125, 0.4167), 3: (0.7083, 0.5, 0.3438, 0.4583)}
CLASS_MAP = {0: "square", 3: "disc"}
DAY = "2026-10-05"


@dataclass
class House:
    """A deployment with labelled photos and a registry, where candidates are registered instead of trained."""

    settings: Settings
    instance: dg.DagsterInstance
    photos: dict[str, bytes]
    folder: Path

    def __post_init__(self) -> None:
        self.definitions = build_defs(self.settings, CASE)
        self.tables = Tables(root=self.settings.places("case").store)
        resources = build_resources(self.settings, CASE)
        registry = resources["model_registry"]
        assert isinstance(registry, ModelRegistry)
        self.registry = registry
        rows = [
            (photo, f"E{number}", split, class_id, *box, 10, photo)
            for number, photo in enumerate(sorted(self.photos))
            for split in (("train", "val", "test", "test")[number % 4],)
            for class_id, box in BOXES.items()
        ]
        self.dataset = pl.DataFrame(rows, schema=TRAINING_DATASET, orient="row")
        self.tables.write("training_dataset", self.dataset, TRAINING_DATASET)

    def train(self, model: Path, *, trained_on: str = "E0") -> str:
        """Register a version and measure it beside the champion, as the two steps before the decision do."""
        manifest = self.folder / "manifest.json"
        enclosures = {"train": [trained_on], "val": ["E1"], "test": ["E2", "E3"]}
        manifest.write_text(json.dumps({"splits": {s: {"enclosures": e} for s, e in enclosures.items()}}))
        weights = self.folder / "best.pt"
        weights.write_bytes(b"weights, which nobody opens here")
        client = open_client(self.registry.tracking_uri)
        experiment = ensure_experiment(client, "case", self.registry.tracking_uri, str(self.folder / "artifacts"))
        run = client.create_run(experiment).info.run_id
        tags = {"class_map": json.dumps({str(c): n for c, n in CLASS_MAP.items()}), "parity": "[100, 100]"}
        named = {files.WEIGHTS: weights, files.ONNX: model, files.MANIFEST: manifest}
        version = self.registry.register(run, named, {**tags, "dataset_fingerprint": f"data of {run}"}).version
        row = {"model_version": version, "class_map": tags["class_map"], "class_boxes": '{"0": 5}'}
        self.tables.write("detector_weights", pl.DataFrame([row], schema=DETECTOR_WEIGHTS), DETECTOR_WEIGHTS)
        self.measure(version)
        return version

    def measure(self, version: str) -> None:
        champion = self.registry.champion()
        versions = [self.registry.version(version), *([champion] if champion else [])]
        predictions = SnapshotPredictions(self.dataset, self.photos.__getitem__, threads=1)
        judged = [
            judge(
                info,
                self.dataset,
                download=self.download,
                predictions=predictions,
                default_threshold=0.3,
                is_candidate=info.version == version,
            )
            for info in versions
        ]
        self.registry.set_tags(version, judged[0].tags(thresholds=True))
        self.tables.write("detector_predictions", pl.concat([j.predictions for j in judged]), SPLIT_PREDICTIONS)
        evaluation = pl.concat([pl.DataFrame(schema=DETECTOR_EVALUATION), *(j.evaluation for j in judged)])
        self.tables.write("detector_evaluation", evaluation, DETECTOR_EVALUATION)

    def download(self, version: str, name: str) -> Path:
        return self.registry.download(version, name, self.folder / "models")

    def run(self, job: str = DECIDE_CHAMPION, **config: str) -> dg.ExecuteInProcessResult:
        settings: dict[str, Any] = champion_config(**{"decision": "judge", **config})
        return self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance, run_config=settings, raise_on_error=False
        )

    def materialize_evaluation(self) -> dg.ExecuteInProcessResult:
        job = self.definitions.resolve_implicit_global_asset_job_def()
        chosen = job.get_subset(asset_selection={dg.AssetKey(["case", "detector_evaluation"])})
        return chosen.execute_in_process(instance=self.instance, raise_on_error=False)

    def decisions(self) -> pl.DataFrame:
        return self.tables.read("champion_detector", CHAMPION_DETECTOR)

    def data_version(self) -> str | None:
        record = self.instance.fetch_materializations(dg.AssetKey(["case", "champion_detector"]), limit=1).records[0]
        assert record.asset_materialization is not None
        return (record.asset_materialization.tags or {}).get("dagster/data_version")

    def detect(self) -> pl.DataFrame:
        """A day's detections by the champion of the table, kept as the day's tables."""
        champion = latest_champion(self.tables)
        assert champion is not None
        found = detect_day(
            pl.DataFrame({"photo_id": sorted(self.photos), "verdict": "usable"}),
            looked_at=LookedAt(self.tables, DAY, "code", champion.version),
            champion=champion,
            download=lambda champion, name, _sha256: self.download(champion.version, name),
            read_photo=self.photos.__getitem__,
            threads=1,
            progress=lambda _done, _of: None,
        )
        self.tables.write("unknown_equipment", found.unknown_equipment, UNKNOWN_EQUIPMENT, DAY, code_version="code")
        self.tables.write("detections", found.detections, DETECTIONS, DAY, code_version="code")
        return found.detections

    def tick(self) -> tuple[list[dg.RunRequest], str]:
        sensor = self.definitions.get_repository_def().get_sensor_def("champion_changed")
        with dg.build_sensor_context(self.instance, resources=build_resources(self.settings, CASE)) as context:
            data = sensor.evaluate_tick(context)
        return list(data.run_requests or []), data.skip_message or ""


@pytest.fixture(scope="session")
def other_model(onnx_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network with other weights in one layer: it finds other things."""
    model = onnx.load(onnx_model)
    (weight,) = [tensor for tensor in model.graph.initializer if len(tensor.dims) == 4][:1]
    values = numpy_helper.to_array(weight)
    noise = np.random.default_rng(0).normal(0, 0.3 * values.std(), values.shape)
    weight.CopyFrom(numpy_helper.from_array((values + noise).astype(values.dtype), weight.name))
    path = tmp_path_factory.mktemp("other") / "model.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture
def house(photos: dict[str, bytes], new_mlflow: Callable[[Path], str], tmp_path: Path) -> Iterator[House]:
    (tmp_path / "home").mkdir()
    new_mlflow(tmp_path / "home")
    known = {hashlib.sha256(content + bytes([i])).hexdigest(): content for i in range(2) for content in photos.values()}
    with dg.DagsterInstance.ephemeral() as instance:
        yield House(Settings(home=tmp_path / "home", sensor_interval=1), instance, known, tmp_path)


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    assert not result.success
    (failure,) = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    return str(failure.step_failure_data.user_failure_data or failure.step_failure_data.error)


def test_a_rollback_brings_the_previous_champion_and_its_detections_back_exactly(
    house: House, onnx_model: Path, other_model: Path
) -> None:
    house.train(onnx_model)
    assert house.run().success
    before = house.detect()
    house.train(other_model)
    assert house.run(decision="promote", reason="it is another", by="Ada").success
    assert house.data_version() == "2"
    between = house.detect()
    assert not between.drop("model_version").equals(before.drop("model_version"))
    result = house.run(ROLLBACK, decision="roll_back", reason="it found ghosts", by="Ada")
    assert result.success
    champion = house.registry.champion()
    assert champion is not None
    assert (champion.version, house.data_version()) == ("1", "1")
    assert house.detect().equals(before)
    last = house.decisions().row(-1, named=True)
    assert (last["kind"], last["champion_version"], last["run_id"]) == ("rolled_back", "1", result.run_id)
    assert last["reasons"] == ["rolled back from version 2 to 1 by Ada because it found ghosts"]
    history = house.tables.read("champion_history", CHAMPION_HISTORY)
    assert history["version"].to_list() == ["1", "2", "1"]
    assert history["forced"].to_list() == [True, True, False]
    assert history["dataset_fingerprint"].str.starts_with("data of").all()
    # The rules do not bring back what a person took out of service; a second rollback has nowhere to go.
    assert house.run().success
    assert house.decisions().item(-1, "promoted") is False
    assert house.decisions().item(-1, "champion_version") == "1"
    assert "There was no champion before version 1" in failure_of(
        house.run(ROLLBACK, decision="roll_back", reason="again", by="Ada")
    )
    assert house.decisions().item(-1, "champion_version") == "1"


def test_what_serves_keeps_its_thresholds_when_it_is_measured_again(house: House, onnx_model: Path) -> None:
    version = house.train(onnx_model)
    assert house.run().success
    house.registry.set_tags(version, {"thresholds": json.dumps({str(class_id): 0.123 for class_id in CLASS_MAP})})
    evaluation = evaluate_versions(
        [house.registry.version(version)],
        house.dataset,
        house.tables,
        SnapshotPredictions(house.dataset, house.photos.__getitem__, threads=1),
        download=house.download,
        use_case=CASE,
        links=NO_LINKS,
        keeps_thresholds=has_served(house.decisions(), version),
    )
    assert evaluation.candidate.thresholds == dict.fromkeys(CLASS_MAP, 0.123)
    assert set(evaluation.table()["threshold"].drop_nulls()) == {0.123}
    assert "thresholds" not in evaluation.candidate.tags(thresholds=False)


def test_the_job_asks_for_a_reason_and_changes_nothing_without_one(house: House, onnx_model: Path) -> None:
    house.train(onnx_model)
    assert house.run().success
    job = house.definitions.resolve_job_def(ROLLBACK)
    result = job.execute_in_process(instance=house.instance, raise_on_error=False)
    assert "Say why and who: roll_back wants `reason` and `by`" in failure_of(result)
    assert house.decisions().height == 1


def test_a_champion_set_in_mlflow_is_recorded_once_and_the_data_version_follows(
    house: House, onnx_model: Path, other_model: Path
) -> None:
    assert house.tick() == ([], "no champion yet")
    for model in (onnx_model, other_model):
        house.train(model)
        assert house.run(decision="promote", reason="for the test", by="Ada").success
    assert house.tick() == ([], "version 2 serves, as recorded")
    open_client(house.registry.tracking_uri).set_registered_model_alias("case-detector", "champion", "1")
    (request,), _ = house.tick()
    assert str(request.run_key).startswith("champion-1-")
    job = house.definitions.resolve_job_def(DECIDE_CHAMPION)
    assert job.execute_in_process(instance=house.instance, run_config=request.run_config).success
    last = house.decisions().row(-1, named=True)
    assert last["reasons"] == ["the alias was moved outside Dagster: from version 2 to version 1"]
    assert (last["champion_version"], house.data_version()) == ("1", "1")
    assert house.tick() == ([], "version 1 serves, as recorded")


def damage(house: House, version: str, name: str) -> None:
    (stored,) = (house.folder / "artifacts").rglob(f"*{house.registry.version(version).run_id}*/**/{Path(name).name}")
    stored.write_bytes(stored.read_bytes()[:-1] + b"!")
    shutil.rmtree(house.settings.home / "case" / "scratch", ignore_errors=True)


@pytest.mark.parametrize("name", [files.WEIGHTS, files.ONNX, files.MANIFEST])
def test_a_candidate_whose_stored_file_was_altered_is_refused_for_that(
    house: House, onnx_model: Path, name: str
) -> None:
    version = house.train(onnx_model)
    of_before = pl.DataFrame([{"model_version": "0", "n": 1, "old": True}], schema=OLD_CLASS_CHANGE)
    house.tables.write("old_class_change", of_before, OLD_CLASS_CHANGE)
    damage(house, version, name)
    for job_run in (house.materialize_evaluation, house.run):
        assert job_run().success
    assert house.tables.read("detector_evaluation", DETECTOR_EVALUATION).is_empty()
    assert house.tables.read("old_class_change", OLD_CLASS_CHANGE).is_empty()
    last = house.decisions().row(-1, named=True)
    assert (last["promoted"], last["champion_version"]) == (False, None)
    (reason,) = last["reasons"]
    assert reason.startswith(f"(files) failed: {name} of model version 1")
    assert "is damaged" in reason
