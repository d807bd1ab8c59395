"""Numbers of epochs: each once in MLflow, whatever an attempt before logged and whether MLflow answers."""

import math
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from rehearsal.processes import free_port
from resources import mlflow_metrics
from resources.mlflow import MlflowTracking
from resources.mlflow_address import MlflowUnavailableError
from resources.mlflow_client import ensure_experiment, open_client
from resources.mlflow_metrics import EpochMetrics
from resources.mlflow_status import FIRST_RUN_TAG, search_runs

NOWHERE = "0" * 32


@pytest.fixture(scope="module")
def uri(new_mlflow: Callable[[Path], str], tmp_path_factory: pytest.TempPathFactory) -> str:
    return new_mlflow(tmp_path_factory.mktemp("mlflow"))


@pytest.fixture(scope="module")
def client(uri: str) -> Any:
    return open_client(uri)


@pytest.fixture
def run_id(client: Any, uri: str) -> str:
    return str(client.create_run(ensure_experiment(client, "metrics", uri)).info.run_id)


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a server that is not there, in a process with little patience."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    return f"http://127.0.0.1:{free_port()}"


def history(client: Any, run_id: str, name: str) -> list[tuple[int, float]]:
    return [(entry.step, entry.value) for entry in client.get_metric_history(run_id, name)]


def test_a_training_resumed_from_an_earlier_checkpoint_leaves_one_value_an_epoch(
    client: Any, uri: str, run_id: str
) -> None:
    killed = EpochMetrics(client, run_id, uri)
    for epoch in (1, 2, 3):
        killed.log({"loss": 1 / epoch, "lr": 0.1}, epoch)
    resumed = EpochMetrics(client, run_id, uri)  # its checkpoint is that of epoch 2
    for epoch in (3, 4):
        resumed.log({"loss": 0.9 / epoch, "lr": 0.1, "map50": 0.5}, epoch)
    assert history(client, run_id, "loss") == [(1, 1.0), (2, 0.5), (3, 1 / 3), (4, 0.9 / 4)]
    assert history(client, run_id, "lr") == [(epoch, 0.1) for epoch in (1, 2, 3, 4)]
    assert history(client, run_id, "map50") == [(3, 0.5), (4, 0.5)]


def test_a_training_that_logs_all_its_epochs_again_adds_only_those_that_were_lost(
    client: Any, uri: str, run_id: str
) -> None:
    EpochMetrics(client, run_id, uri).log({"loss": 1.0}, 1)
    again = EpochMetrics(client, run_id, uri)
    for epoch in (1, 2, 3):
        again.log({"loss": 1 / epoch}, epoch)
    assert history(client, run_id, "loss") == [(1, 1.0), (2, 0.5), (3, 1 / 3)]


def test_a_request_whose_answer_got_lost_doubles_nothing(client: Any, run_id: str) -> None:
    from mlflow.entities import Metric

    batch = [Metric("loss", 0.5, 1_700_000_000_000, 7), Metric("map50", 0.25, 1_700_000_000_000, 7)]
    for _ in range(2):
        client.log_batch(run_id, metrics=batch)
    assert history(client, run_id, "loss") == [(7, 0.5)]


def test_what_is_no_number_is_logged_once_too(client: Any, uri: str, run_id: str) -> None:
    for _ in range(2):
        EpochMetrics(client, run_id, uri).log({"loss": math.nan}, 1)
    ((step, value),) = history(client, run_id, "loss")
    assert step == 1
    assert math.isnan(value)


def test_epochs_wait_for_a_server_that_is_away_and_it_is_not_asked_each_time(away: str) -> None:
    epochs = EpochMetrics(open_client(away), NOWHERE, away)
    started = time.monotonic()
    for epoch in range(500):
        epochs.log({"loss": 1.0, "map50": 0.5}, epoch)
    assert time.monotonic() - started < 10
    assert epochs.waiting == 1000
    with pytest.raises(MlflowUnavailableError, match=f"{away} cannot be asked") as told:
        epochs.flush()
    assert "operations.md" in str(told.value)
    assert epochs.waiting == 1000


def test_what_waits_has_an_end(away: str) -> None:
    epochs = EpochMetrics(open_client(away), NOWHERE, away)
    epochs.log({f"metric {i}": 0.0 for i in range(100_000)}, 1)
    with pytest.raises(MlflowUnavailableError, match="100001 metrics wait for it"):
        epochs.log({"loss": 0.0}, 2)


def test_a_retried_step_keeps_the_first_parameters_and_the_last_figures(client: Any, uri: str) -> None:
    @dg.op(retry_policy=dg.RetryPolicy(max_retries=1))
    def train(context: dg.OpExecutionContext, mlflow: MlflowTracking) -> None:
        mlflow.log_params({"epochs": 3, "batch": 16 // (1 + context.retry_number)})
        mlflow.log_metrics({"test_map50": 0.5 + 0.1 * context.retry_number, "photos": 40})
        if context.retry_number == 0:
            raise RuntimeError("out of memory")
        mlflow.log_params({"epochs": 3, "patience": 5})

    @dg.job(resource_defs={"mlflow": MlflowTracking(tracking_uri=uri, experiment_name="retried step")})
    def training() -> None:
        train()

    with dg.DagsterInstance.ephemeral() as instance:
        result = training.execute_in_process(instance=instance)
        warnings = [entry for entry in instance.all_logs(result.run_id) if "Not as the attempt" in entry.user_message]
    experiment = client.get_experiment_by_name("retried step").experiment_id
    (run,) = search_runs(client, experiment, f"tags.{FIRST_RUN_TAG} = '{result.run_id}'")
    assert run.data.params == {"epochs": "3", "batch": "16", "patience": "5"}
    assert run.data.tags["changed.batch"] == "8"
    assert len(warnings) == 1
    assert run.data.metrics == {"test_map50": 0.6, "photos": 40.0}
    run_id = run.info.run_id
    assert (history(client, run_id, "test_map50"), history(client, run_id, "photos")) == (
        [(0, 0.5), (0, 0.6)],
        [(0, 40.0)],
    )


def test_a_database_that_another_process_writes_is_waited_for(client: Any, uri: str) -> None:
    locked = sqlite3.connect(uri.removeprefix("sqlite:///"), check_same_thread=False, isolation_level=None)
    locked.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(1.5, locked.rollback)
    timer.start()
    started = time.monotonic()
    ensure_experiment(client, "made while locked", uri)
    assert time.monotonic() - started > 1
    timer.join()
    locked.close()


def test_a_run_that_was_deleted_ends_no_training_and_the_end_of_it_says_so(
    client: Any, uri: str, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.exceptions import MlflowException

    monkeypatch.setattr(mlflow_metrics, "_PAUSE_S", 0.0)
    epochs = EpochMetrics(client, run_id, uri)
    epochs.log({"loss": 1.0}, 1)
    client.delete_run(run_id)
    epochs.log({"loss": 0.5}, 2)
    epochs.log({"loss": 0.4}, 3)
    assert epochs.waiting == 2
    with pytest.raises(MlflowException, match="deleted"):
        epochs.flush()
    client.restore_run(run_id)
    epochs.log({"loss": 0.3}, 4)
    assert history(client, run_id, "loss") == [(1, 1.0), (2, 0.5), (3, 0.4), (4, 0.3)]
    assert epochs.waiting == 0


def test_a_step_whose_run_was_deleted_lets_go_of_it(client: Any, uri: str) -> None:
    import mlflow as fluent

    @dg.op
    def train(mlflow: MlflowTracking) -> None:
        mlflow.client.delete_run(mlflow.run_id)
        for epoch in (1, 2):
            mlflow.log_metrics({"loss": 1 / epoch}, step=epoch)

    @dg.job(resource_defs={"mlflow": MlflowTracking(tracking_uri=uri, experiment_name="deleted")})
    def training() -> None:
        train()

    with dg.DagsterInstance.ephemeral() as instance:
        result = training.execute_in_process(instance=instance)
        told = [entry.user_message for entry in instance.all_logs(result.run_id)]
    assert result.success
    assert sum("The training goes on" in message for message in told) == 1
    assert any("2 metrics are lost" in message for message in told)
    assert fluent.active_run() is None
