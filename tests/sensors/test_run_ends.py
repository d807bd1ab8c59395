"""What is told when a run ends: an alert for what went wrong, the true status to MLflow for a run that logged there."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest
from dagster._core.remote_origin import (
    InProcessCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from resources.alerts import Alerts
from resources.mlflow_address import MlflowUnavailableError
from resources.mlflow_client import ensure_experiment, open_client
from resources.mlflow_status import DAGSTER_RUN_TAG, FIRST_RUN_TAG, MLFLOW_RUN_TAG
from sensors import run_failures
from sensors.run_failures import run_end_sensors

MLFLOW_ENDS = {"run_failures": "FAILED", "runs_canceled": "KILLED", "runs_succeeded": "FINISHED"}
EVENTS = {
    "run_failures": "PIPELINE_FAILURE",
    "runs_canceled": "PIPELINE_CANCELED",
    "runs_succeeded": "PIPELINE_SUCCESS",
}


@dg.op
def nothing() -> None:
    """Does nothing."""


@dg.job
def retrain() -> None:
    nothing()


@pytest.fixture(scope="module")
def tracking_uri(new_mlflow: Callable[[Path], str], tmp_path_factory: pytest.TempPathFactory) -> str:
    return new_mlflow(tmp_path_factory.mktemp("mlflow"))


def tell(name: str, tracking_uri: str, alerts: Path, *, logged: bool, ticks: int = 1) -> str | None:
    """End a run as the sensor's status says, evaluate the sensor, and give the status of its MLflow run."""
    (sensor,) = [s for s in run_end_sensors("case", tracking_uri, 1) if s.name == name]
    client = open_client(tracking_uri)
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(retrain, tags={"mlops/reason": "first request"})
        mlflow_run = None
        if logged:
            experiment = ensure_experiment(client, "case", tracking_uri)
            tags = {DAGSTER_RUN_TAG: run.run_id, FIRST_RUN_TAG: run.run_id}
            mlflow_run = client.create_run(experiment, tags=tags).info.run_id
            instance.add_run_tags(run.run_id, {MLFLOW_RUN_TAG: mlflow_run})
        ended = instance.get_run_by_id(run.run_id)
        event = dg.DagsterEvent(EVENTS[name], run.job_name, message="step detector_weights was killed")
        for _ in range(ticks):
            context = dg.build_run_status_sensor_context(name, event, instance, ended)
            sensor(context, alerts=Alerts(path=str(alerts), webhook_url="", timeout_seconds=1.0))
    return client.get_run(mlflow_run).info.status if mlflow_run else None


@pytest.mark.parametrize(("name", "severity"), [("run_failures", "error"), ("runs_canceled", "warning")])
def test_what_went_wrong_is_told_with_its_cause(name: str, severity: str, tracking_uri: str, tmp_path: Path) -> None:
    alerts = tmp_path / "alerts.jsonl"
    assert tell(name, tracking_uri, alerts, logged=True) == MLFLOW_ENDS[name]
    (line,) = alerts.read_text().splitlines()
    alert = json.loads(line)
    assert alert["severity"] == severity
    assert "case: retrain" in alert["title"]
    assert "detector_weights was killed" in alert["text"]
    assert "first request" in alert["text"]


def test_success_is_told_to_mlflow_only(tracking_uri: str, tmp_path: Path) -> None:
    alerts = tmp_path / "alerts.jsonl"
    assert tell("runs_succeeded", tracking_uri, alerts, logged=True) == "FINISHED"
    assert not alerts.exists()


@pytest.mark.parametrize("name", sorted(MLFLOW_ENDS))
def test_a_status_told_twice_stays_the_same(name: str, tracking_uri: str, tmp_path: Path) -> None:
    assert tell(name, tracking_uri, tmp_path / "alerts.jsonl", logged=True, ticks=2) == MLFLOW_ENDS[name]


def test_a_run_that_logged_nothing_is_alerted_all_the_same(tracking_uri: str, tmp_path: Path) -> None:
    alerts = tmp_path / "alerts.jsonl"
    assert tell("run_failures", tracking_uri, alerts, logged=False) is None
    assert len(alerts.read_text().splitlines()) == 1


def test_an_mlflow_that_hangs_is_waited_for_once_and_asked_again_later(
    tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alerts, now = Alerts(path=str(tmp_path / "alerts.jsonl"), webhook_url="", timeout_seconds=1.0), [1000.0]
    monkeypatch.setattr(run_failures, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(run_failures, "_next_ask", {})
    asked: list[str] = []

    def hangs(*arguments: object) -> None:
        asked.append(str(arguments[1]))
        now[0] += 20
        raise MlflowUnavailableError(tracking_uri, "timed out")

    monkeypatch.setattr(run_failures, "settle_run", hangs)
    (sensor,) = [s for s in run_end_sensors("case", tracking_uri, 1) if s.name == "run_failures"]
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(retrain, tags={MLFLOW_RUN_TAG: "1"})
        event = dg.DagsterEvent(EVENTS["run_failures"], run.job_name, message="killed")

        def end() -> None:
            sensor(dg.build_run_status_sensor_context("run_failures", event, instance, run), alerts=alerts)

        with pytest.raises(MlflowUnavailableError):
            end()
        end()
        end()
        assert (len(asked), now) == (1, [1020.0])
        now[0] += 121
        with pytest.raises(MlflowUnavailableError):
            end()
    assert len(asked) == 2
    assert len((tmp_path / "alerts.jsonl").read_text().splitlines()) == 4


@pytest.mark.parametrize(("location", "told"), [("enclosures", 1), ("blood_cells", 0)])
def test_only_the_runs_of_its_own_code_location_are_told(
    location: str, told: int, tracking_uri: str, tmp_path: Path
) -> None:
    """Two use cases in one instance: each has these sensors, and each end of a run must be told once."""
    (sensor,) = [s for s in run_end_sensors("case", tracking_uri, 1) if s.name == "run_failures"]
    alerts = tmp_path / "alerts.jsonl"
    resources = {"alerts": Alerts(path=str(alerts), webhook_url="", timeout_seconds=1.0)}
    with dg.instance_for_test() as instance:
        cursor = None
        for look in ("before the run", "after it"):
            if look == "after it":
                job = RemoteJobOrigin(RemoteRepositoryOrigin(_origin("enclosures"), "__repository__"), retrain.name)
                run = instance.create_run_for_job(retrain, remote_job_origin=job, status=dg.DagsterRunStatus.STARTED)
                instance.report_run_failed(run)
            with dg.SensorEvaluationContext(
                instance_ref=instance.get_ref(),
                instance=instance,
                last_tick_completion_time=None,
                last_run_key=None,
                cursor=cursor,
                repository_name="__repository__",
                code_location_origin=_origin(location),
                resources=resources,
            ) as context:
                sensor.evaluate_tick(context)
                cursor = context.cursor
    assert len(alerts.read_text().splitlines() if alerts.exists() else []) == told


def _origin(location: str) -> InProcessCodeLocationOrigin:
    return InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name="definitions"), location_name=location)
