"""One MLflow run for a Dagster run and those that go on with it, on a real instance and a SQLite file."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from resources.mlflow import MlflowTracking
from resources.mlflow_client import ensure_experiment, open_client
from resources.mlflow_run import join_run
from resources.mlflow_status import (
    DAGSTER_RUN_TAG,
    FIRST_RUN_TAG,
    MLFLOW_RUN_TAG,
    reconcile_statuses,
    set_true_status,
    settle_run,
)
from resources.run_lineage import attempts

AUTOMATIC = {"dagster/retry_number": "1"}


class Behaviour(dg.Config):
    """Which step fails."""

    fails: str = ""


@dg.op
def train(config: Behaviour, mlflow: MlflowTracking) -> str:
    mlflow.log_params({"epochs": 3})
    if config.fails == "train":
        raise RuntimeError("killed in training")
    return mlflow.run_id


@dg.op
def evaluate(config: Behaviour, trained: str, mlflow: MlflowTracking) -> str:
    if config.fails == "evaluate":
        raise RuntimeError("killed in evaluation")
    mlflow.log_metrics({"ap50": 0.9})
    return mlflow.run_id


@dg.op
def report(config: Behaviour, evaluated: str) -> None:
    if config.fails == "report":
        raise RuntimeError("this step logs nothing")


@dg.job
def retrain() -> None:
    report(evaluate(train()))


@pytest.fixture(scope="module")
def uri(new_mlflow: Callable[[Path], str], tmp_path_factory: pytest.TempPathFactory) -> str:
    return new_mlflow(tmp_path_factory.mktemp("mlflow"))


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as real:
        yield real


class Runs:
    """Executes the job and its re-executions, each with an experiment of the test's own."""

    def __init__(self, instance: dg.DagsterInstance, uri: str, experiment: str) -> None:
        self.instance, self.uri, self.experiment, self.client = instance, uri, experiment, open_client(uri)

    def run(self, fails: str = "", options: dg.ReexecutionOptions | None = None, **tags: str) -> dg.DagsterRun:
        mlflow = {"tracking_uri": self.uri, "experiment_name": self.experiment}
        config = {
            "resources": {"mlflow": {"config": mlflow}},
            "ops": {name: {"config": {"fails": fails}} for name in ("train", "evaluate", "report")},
            "execution": {"config": {"in_process": {}}},
        }
        result = dg.execute_job(
            dg.reconstructable(configured),
            self.instance,
            run_config=config,
            tags=tags,
            reexecution_options=options,
        )
        run = self.instance.get_run_by_id(result.run_id)
        assert run is not None
        return run

    def from_failure(self, run: dg.DagsterRun) -> dg.ReexecutionOptions:
        return dg.ReexecutionOptions.from_failure(run.run_id, self.instance)

    def settle(self, run: dg.DagsterRun) -> dict[str, str]:
        return settle_run(self.instance, self.uri, self.experiment, run, run.status)

    def told(self, run: dg.DagsterRun) -> dict[str, str]:
        return set_true_status(self.uri, self.experiment, attempts(self.instance, run), run.status)

    @property
    def found(self) -> list[Any]:
        experiment = self.client.get_experiment_by_name(self.experiment).experiment_id
        return list(self.client.search_runs([experiment]))


def configured() -> dg.JobDefinition:
    return dg.Definitions(jobs=[retrain], resources={"mlflow": MlflowTracking.configure_at_launch()}).get_job_def(
        "retrain"
    )


@pytest.fixture
def runs(instance: dg.DagsterInstance, uri: str, request: pytest.FixtureRequest) -> Runs:
    return Runs(instance, uri, request.node.name)


def test_a_retry_goes_on_in_the_mlflow_run_which_is_running_again_and_ends_as_the_retry_does(runs: Runs) -> None:
    first = runs.run("train")
    (logged,) = runs.found
    assert runs.settle(first) == {logged.info.run_id: "FAILED"}
    second = runs.run("evaluate", dg.ReexecutionOptions(first.run_id), **AUTOMATIC)
    (logged,) = runs.found
    assert logged.info.status == "RUNNING"
    assert logged.data.tags[DAGSTER_RUN_TAG] == second.run_id
    assert logged.data.tags[FIRST_RUN_TAG] == first.run_id
    assert runs.told(first) == {}  # its sensor ticks late, and must not close what goes on
    third = runs.run("", runs.from_failure(second), **AUTOMATIC)
    assert {run.tags[MLFLOW_RUN_TAG] for run in (second, third)} == {logged.info.run_id}
    assert runs.told(second) == {}
    assert runs.settle(third) == {logged.info.run_id: "FINISHED"}
    assert attempts(runs.instance, third) == [third.run_id, second.run_id, first.run_id]


def test_a_retry_that_logs_nothing_decides_on_the_status_all_the_same(runs: Runs) -> None:
    first = runs.run("report")
    (logged,) = runs.found
    assert runs.settle(first) == {logged.info.run_id: "FAILED"}
    second = runs.run("", runs.from_failure(first))
    assert runs.settle(second) == {logged.info.run_id: "FINISHED"}


def test_by_hand_from_failure_or_of_one_step_goes_on_and_of_all_steps_starts_anew(runs: Runs) -> None:
    first = runs.run("evaluate")
    by_hand = runs.run("", runs.from_failure(first))
    one_step = runs.run("", dg.ReexecutionOptions(by_hand.run_id, step_selection=["evaluate"]))
    (logged,) = runs.found
    assert logged.data.tags[DAGSTER_RUN_TAG] == one_step.run_id
    anew = runs.run("", dg.ReexecutionOptions(one_step.run_id))
    assert len(runs.found) == 2
    assert anew.tags[MLFLOW_RUN_TAG] != logged.info.run_id
    retried = runs.run("", dg.ReexecutionOptions(anew.run_id), **AUTOMATIC)
    assert retried.tags[MLFLOW_RUN_TAG] == anew.tags[MLFLOW_RUN_TAG]
    assert len(runs.found) == 2


def test_a_retry_of_a_run_that_was_deleted_from_dagster_goes_on_too(runs: Runs) -> None:
    first = runs.run("evaluate")
    second = runs.run("evaluate", dg.ReexecutionOptions(first.run_id), **AUTOMATIC)
    runs.instance.delete_run(first.run_id)
    third = runs.run("", dg.ReexecutionOptions(second.run_id), **AUTOMATIC)
    (logged,) = runs.found
    assert third.tags[MLFLOW_RUN_TAG] == logged.info.run_id


def test_what_ended_while_the_sensors_were_off_is_settled_when_they_see_another_end(runs: Runs) -> None:
    missed = runs.run("train")
    seen = runs.run()
    assert {run.info.status for run in runs.found} == {"RUNNING", "FAILED"}  # the second start settled the first
    runs.client.update_run(missed.tags[MLFLOW_RUN_TAG], "RUNNING")
    assert runs.settle(seen) == {missed.tags[MLFLOW_RUN_TAG]: "FAILED", seen.tags[MLFLOW_RUN_TAG]: "FINISHED"}
    assert reconcile_statuses(runs.instance, runs.uri, runs.experiment) == {}


def test_a_starter_that_was_killed_is_waited_for_only_once(uri: str) -> None:
    client = open_client(uri)
    experiment = ensure_experiment(client, "killed starter", uri)
    orphan = client.create_run(experiment, tags={FIRST_RUN_TAG: "a", DAGSTER_RUN_TAG: "a"}).info.run_id
    assert join_run(client, experiment, ["a"], "retrain", silence_s=0.3) == orphan
    assert join_run(client, experiment, ["a"], "retrain", silence_s=600) == orphan


def test_a_run_that_somebody_deleted_in_mlflow_is_named_with_the_remedy(uri: str) -> None:
    client = open_client(uri)
    experiment = ensure_experiment(client, "deleted run", uri)
    run_id = join_run(client, experiment, ["a"], "retrain")
    client.delete_run(run_id)
    with pytest.raises(RuntimeError, match=f"{run_id} of this Dagster run was deleted; restore it"):
        join_run(client, experiment, ["a"], "retrain")
    client.restore_run(run_id)
    assert join_run(client, experiment, ["a"], "retrain") == run_id
