"""The MLflow resource and the statuses within one process, on a SQLite file."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from resources.mlflow import MlflowTracking
from resources.mlflow_client import ensure_experiment, open_client
from resources.mlflow_status import (
    DAGSTER_RUN_TAG,
    DAGSTER_STATUS_TAG,
    FIRST_RUN_TAG,
    MLFLOW_RUN_TAG,
    reconcile_statuses,
    set_true_status,
)


@pytest.fixture(scope="module")
def uri(new_mlflow: Callable[[Path], str], tmp_path_factory: pytest.TempPathFactory) -> str:
    return new_mlflow(tmp_path_factory.mktemp("mlflow"))


@pytest.fixture(scope="module")
def client(uri: str) -> Any:
    return open_client(uri)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def run_step(
    uri: str, instance: dg.DagsterInstance, step: Callable[[MlflowTracking], Any], **fields: Any
) -> dg.ExecuteInProcessResult:
    @dg.op
    def log(mlflow: MlflowTracking) -> None:
        step(mlflow)

    @dg.job(resource_defs={"mlflow": MlflowTracking(tracking_uri=uri, experiment_name="tracking", **fields)})
    def logging() -> None:
        log()

    return logging.execute_in_process(instance=instance, raise_on_error=False)


def mlflow_id(instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult) -> str:
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    return run.tags[MLFLOW_RUN_TAG]


def test_everything_logged_is_found_in_mlflow(
    uri: str, client: Any, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    (tmp_path / "curves").mkdir()
    (tmp_path / "curves" / "pr.txt").write_text("curve")
    (tmp_path / "note.txt").write_text("note")

    def step(mlflow: MlflowTracking) -> None:
        mlflow.log_params({f"p{i}": i for i in range(250)})
        mlflow.log_metrics({"ap50": 0.1}, step=1)
        mlflow.log_metrics({"ap50": 0.7}, step=2)
        mlflow.set_tags({"dataset_fingerprint": "abc"})
        mlflow.log_artifact(tmp_path / "curves", "curves")
        mlflow.log_artifact(tmp_path / "note.txt")

    result = run_step(uri, instance, step)
    assert result.success
    run_id = mlflow_id(instance, result)
    run = client.get_run(run_id)
    assert (len(run.data.params), run.data.params["p249"]) == (250, "249")
    assert [(entry.step, entry.value) for entry in client.get_metric_history(run_id, "ap50")] == [(1, 0.1), (2, 0.7)]
    assert run.data.tags["dataset_fingerprint"] == "abc"
    assert run.data.tags[DAGSTER_RUN_TAG] == result.run_id
    assert {file.path for file in client.list_artifacts(run_id)} == {"curves", "note.txt"}
    assert (Path(run.info.artifact_uri) / "curves" / "pr.txt").read_text() == "curve"
    database = Path(uri.removeprefix("sqlite:///"))
    assert Path(run.info.artifact_uri).is_relative_to(database.parent / "mlartifacts")


def test_run_stays_running_until_dagster_has_the_word(uri: str, client: Any, instance: dg.DagsterInstance) -> None:
    result = run_step(uri, instance, lambda mlflow: mlflow.log_metrics({"ap50": 1}))
    run_id = mlflow_id(instance, result)
    assert client.get_run(run_id).info.status == "RUNNING"
    assert reconcile_statuses(instance, uri, "tracking") == {run_id: "FINISHED"}
    assert client.get_run(run_id).data.tags[DAGSTER_STATUS_TAG] == "SUCCESS"


def test_finished_that_is_not_true_is_corrected(uri: str, client: Any, instance: dg.DagsterInstance) -> None:
    def step(mlflow: MlflowTracking) -> None:
        mlflow.client.set_terminated(mlflow.run_id)  # as mlflow's own exit handler does
        raise RuntimeError("the step fails")

    result = run_step(uri, instance, step)
    run_id = mlflow_id(instance, result)
    assert (result.success, client.get_run(run_id).info.status) == (False, "FINISHED")
    assert reconcile_statuses(instance, uri, "tracking") == {run_id: "FAILED"}


@pytest.mark.parametrize(("ended", "status"), [("SUCCESS", "FINISHED"), ("FAILURE", "FAILED"), ("CANCELED", "KILLED")])
def test_every_end_of_a_dagster_run_has_its_status(uri: str, client: Any, ended: str, status: str) -> None:
    experiment = ensure_experiment(client, f"ends {ended}", uri)
    tags = {DAGSTER_RUN_TAG: f"run {ended}", FIRST_RUN_TAG: f"run {ended}"}
    run_id = client.create_run(experiment, tags=tags).info.run_id
    for _ in range(2):  # a sensor may tick twice
        settled = set_true_status(uri, f"ends {ended}", [f"run {ended}"], dg.DagsterRunStatus(ended), ended_at=1234.5)
        assert settled == {run_id: status}
        assert client.get_run(run_id).info.end_time == 1234500
        assert client.get_run(run_id).info.status == status


def test_run_that_goes_on_has_no_end_status(uri: str) -> None:
    with pytest.raises(ValueError, match="STARTED, which is no end"):
        set_true_status(uri, "tracking", ["run"], dg.DagsterRunStatus.STARTED)


def test_runs_of_another_dagster_are_left_alone(uri: str, client: Any, instance: dg.DagsterInstance) -> None:
    experiment = ensure_experiment(client, "shared", uri)
    run_id = client.create_run(experiment, tags={DAGSTER_RUN_TAG: "of another instance"}).info.run_id
    assert reconcile_statuses(instance, uri, "shared") == {}
    assert client.get_run(run_id).info.status == "RUNNING"


def test_dagster_run_without_mlflow_run_settles_nothing(uri: str, instance: dg.DagsterInstance) -> None:
    assert set_true_status(uri, "tracking", ["never logged"], dg.DagsterRunStatus.FAILURE) == {}
    assert set_true_status(uri, "no such experiment", ["never logged"], dg.DagsterRunStatus.FAILURE) == {}
    assert reconcile_statuses(instance, uri, "no such experiment") == {}


def test_next_run_settles_the_one_before(uri: str, client: Any, instance: dg.DagsterInstance) -> None:
    first = run_step(uri, instance, lambda mlflow: mlflow.log_params({"n": 1}))
    second = run_step(uri, instance, lambda mlflow: mlflow.log_params({"n": 2}))
    one, two = mlflow_id(instance, first), mlflow_id(instance, second)
    assert one != two
    assert (client.get_run(one).info.status, client.get_run(two).info.status) == ("FINISHED", "RUNNING")
    assert client.get_run(two).data.params == {"n": "2"}


def test_step_that_outlives_its_run_does_not_reopen_it(uri: str, client: Any, instance: dg.DagsterInstance) -> None:
    def step(mlflow: MlflowTracking) -> None:
        tags = client.get_run(mlflow.run_id).data.tags
        set_true_status(uri, "tracking", [tags[DAGSTER_RUN_TAG]], dg.DagsterRunStatus.FAILURE)  # the sensor, meanwhile

    result = run_step(uri, instance, step)
    assert client.get_run(mlflow_id(instance, result)).info.status == "FAILED"


def test_step_that_logs_nothing_starts_no_mlflow_run(uri: str, instance: dg.DagsterInstance) -> None:
    result = run_step(uri, instance, lambda mlflow: None)
    run = instance.get_run_by_id(result.run_id)
    assert result.success
    assert run is not None
    assert MLFLOW_RUN_TAG not in run.tags


def test_fluent_functions_log_into_the_same_run(uri: str, client: Any, instance: dg.DagsterInstance) -> None:
    import mlflow as fluent

    def step(mlflow: MlflowTracking) -> None:
        active = fluent.active_run()
        assert active is None
        mlflow.log_params({"by": "resource"})
        fluent.log_metric("by_fluent", 1.0)

    result = run_step(uri, instance, step)
    assert result.success
    assert client.get_run(mlflow_id(instance, result)).data.metrics == {"by_fluent": 1.0}
    assert fluent.active_run() is None


def test_foreign_active_run_is_refused(uri: str, client: Any, instance: dg.DagsterInstance) -> None:
    import mlflow as fluent

    fluent.set_tracking_uri(uri)
    foreign = client.create_run(ensure_experiment(client, "foreign", uri)).info.run_id
    fluent.set_experiment("foreign")
    with fluent.start_run(run_id=foreign):
        result = run_step(uri, instance, lambda mlflow: mlflow.log_params({"x": 1}))
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert f"MLflow run {foreign} is active" in str(failure.step_failure_data.error)
    assert DAGSTER_RUN_TAG not in client.get_run(foreign).data.tags


def test_link_opens_the_run_without_credentials(uri: str, instance: dg.DagsterInstance) -> None:
    links = []
    for ui_url in (None, "https://user:secret@mlflow.example/"):
        result = run_step(uri, instance, lambda mlflow: links.append((mlflow.link(), mlflow.run_id)), ui_url=ui_url)
        assert result.success
    (text, first), (url, second) = links
    assert text == dg.MetadataValue.text(first)
    assert url.value.startswith("https://mlflow.example/#/experiments/")
    assert url.value.endswith(f"/runs/{second}")


def test_missing_artifact_is_named(uri: str, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    result = run_step(uri, instance, lambda mlflow: mlflow.log_artifact(tmp_path / "curves.png"))
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "curves.png to store in MLflow" in str(failure.step_failure_data.error)


def test_use_outside_of_a_run_is_refused(uri: str) -> None:
    with (
        dg.build_resources({"mlflow": MlflowTracking(tracking_uri=uri, experiment_name="tracking")}) as resources,
        pytest.raises(RuntimeError, match="outside of one use ModelRegistry"),
    ):
        resources.mlflow.log_params({"x": 1})


@pytest.mark.parametrize("address", ["mlruns", "file:///mlruns", "databricks"])
def test_folder_is_no_mlflow_address(address: str) -> None:
    with pytest.raises(ValueError, match="a local one is sqlite:///<file>"):
        open_client(address)


def test_deleted_experiment_is_named_with_its_remedy(uri: str, client: Any) -> None:
    client.delete_experiment(ensure_experiment(client, "gone", uri))
    with pytest.raises(ValueError, match="'gone' is deleted; restore it"):
        ensure_experiment(client, "gone", uri)
