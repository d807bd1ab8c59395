"""MLflow as in production: a server on PostgreSQL that passes artifacts on to an object store."""

import multiprocessing
import os
import signal
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import mlflow
import pytest
from mlflow_crowd import CROWD, METRICS, crowd, tag_at_once
from mlflow_servers import ServerPlace, serving

from rehearsal.object_store import ObjectStore, running_object_store
from rehearsal.postgresql import Database, running_postgresql
from rehearsal.processes import free_port
from resources.alias_lookup import alias_version
from resources.mlflow import MlflowTracking
from resources.mlflow_address import MlflowUnavailableError
from resources.mlflow_client import ensure_experiment, open_client
from resources.mlflow_run import join_run
from resources.mlflow_status import FIRST_RUN_TAG, reconcile_statuses, search_runs, set_true_status
from resources.model_registry import ModelRegistry

pytestmark = pytest.mark.production


@dataclass(frozen=True)
class Production:
    """The server, and what stands behind it."""

    place: ServerPlace
    database: Database
    store: ObjectStore


@dataclass
class Server:
    """Stopped and started again on its port, by its process."""

    place: ServerPlace
    folder: Path
    stack: ExitStack

    @property
    def address(self) -> str:
        return self.place.address

    def start(self) -> None:
        self.stack.enter_context(serving(self.place, self.folder))

    def stop(self) -> None:
        self.stack.close()


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    folder = tmp_path_factory.mktemp("production")
    with (
        running_postgresql(folder, ["mlflow"]) as postgresql,
        running_object_store(folder, ["mlflow"]) as store,
    ):
        database = postgresql.databases["mlflow"]
        yield Production(
            ServerPlace(free_port(), database.url, "s3://mlflow/artifacts", store.environment), database, store
        )


@pytest.fixture(scope="module")
def server(production: Production, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with ExitStack() as stack:
        started = Server(production.place, tmp_path_factory.mktemp("server"), stack)
        started.start()
        yield started


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def run_step(
    server: "Server", instance: dg.DagsterInstance, step: Callable[[MlflowTracking], Any]
) -> dg.ExecuteInProcessResult:
    @dg.op
    def log(mlflow: MlflowTracking) -> None:
        step(mlflow)

    @dg.job(resource_defs={"mlflow": MlflowTracking(tracking_uri=server.address, experiment_name="outage")})
    def training() -> None:
        log()

    return training.execute_in_process(instance=instance, raise_on_error=False)


def test_the_server_and_its_database_tell_the_same_version_behind_an_alias(
    server: Server, production: Production
) -> None:
    client = open_client(server.address)
    run = client.create_run(ensure_experiment(client, "aliases", server.address))
    client.create_registered_model("racks-detector")
    for _ in range(2):
        client.create_model_version("racks-detector", f"{run.info.artifact_uri}/model", run.info.run_id)
    uris = (server.address, production.database.url)
    assert [alias_version(uri, "racks-detector", "champion") for uri in uris] == [None, None]
    for version in ("1", "2", "1"):
        client.set_registered_model_alias("racks-detector", "champion", version)
        assert [alias_version(uri, "racks-detector", "champion") for uri in uris] == [version, version]


def test_a_database_that_does_not_answer_is_given_up(server: Server, production: Production) -> None:
    from sqlalchemy import create_engine, text

    assert alias_version(production.database.url, "no-such-detector", "champion") is None
    asked = time.monotonic()
    with create_engine(production.database.url).connect() as holder:
        holder.execute(text("LOCK TABLE registered_model_aliases IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(MlflowUnavailableError, match="statement timeout"):
            alias_version(production.database.url, "racks-detector", "champion", timeout=0.5)
    assert time.monotonic() - asked < 10


def test_a_database_that_is_away_is_named_without_its_password(production: Production) -> None:
    gone = production.database.url.replace(f":{production.database.port}/", f":{free_port()}/")
    with pytest.raises(MlflowUnavailableError, match="refused") as told:
        alias_version(gone, "racks-detector", "champion")
    assert production.database.password not in str(told.value)


def test_eight_processes_share_one_experiment_one_run_and_one_version(
    server: Server, production: Production, tmp_path: Path
) -> None:
    (tmp_path / "best.pt").write_bytes(b"weights")
    seen = crowd(server.address, tmp_path / "best.pt")
    assert len(seen) == CROWD
    ((_, version), *_) = {(each["run"], each["version"]) for each in seen}
    assert len({tuple(sorted(each.items())) for each in seen}) == 1
    client = open_client(server.address)
    (run,) = search_runs(client, seen[0]["experiment"], f"tags.{FIRST_RUN_TAG} = 'the Dagster run'")
    logged = {name: len(client.get_metric_history(run.info.run_id, name)) for name in run.data.metrics}
    assert logged == {f"loss_{number}": METRICS for number in range(CROWD)}
    registry = ModelRegistry(tracking_uri=server.address, model_name="crowd-detector")
    assert [info.version for info in registry.versions()] == [version]
    assert registry.download(version, "best.pt", tmp_path / "cache").read_bytes() == b"weights"
    assert len(production.store.keys("mlflow", f"artifacts/{seen[0]['experiment']}/{run.info.run_id}/")) == 1


def test_a_tag_that_many_threads_set_first_at_once_fails_none_of_them(server: Server) -> None:
    assert set(tag_at_once(server.address, 5)) == {f"tag {tag}" for tag in range(5)}


def test_a_training_outlives_a_server_that_is_away_and_mlflow_gets_every_epoch_once(
    server: Server, instance: dg.DagsterInstance
) -> None:
    took: list[float] = []

    def step(tracking: MlflowTracking) -> None:
        for epoch in range(1, 41):
            if epoch == 11:
                server.stop()
            if epoch == 31:
                server.start()
            before = time.monotonic()
            tracking.log_metrics({"loss": 1 / epoch, "map50": epoch / 100}, step=epoch)
            took.append(time.monotonic() - before)
        tracking.log_metrics({"export_parity": 1.0})

    result = run_step(server, instance, step)
    assert result.success
    assert max(took) < 11  # at most one request of ten seconds, however long the server is away
    client = open_client(server.address)
    (run,) = search_runs(
        client, client.get_experiment_by_name("outage").experiment_id, f"tags.{FIRST_RUN_TAG} = '{result.run_id}'"
    )
    for name, expected in (("loss", lambda e: 1 / e), ("map50", lambda e: e / 100)):
        history = client.get_metric_history(run.info.run_id, name)
        assert [(entry.step, entry.value) for entry in history] == [(e, expected(e)) for e in range(1, 41)]
    assert run.data.metrics["export_parity"] == 1.0


def test_a_server_that_stays_away_fails_the_step_with_its_address_and_the_remedy(
    server: Server, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")

    def step(tracking: MlflowTracking) -> None:
        tracking.log_metrics({"loss": 1.0}, step=1)
        server.stop()
        tracking.log_metrics({"loss": 0.5}, step=2)
        tracking.flush()

    try:
        result = run_step(server, instance, step)
    finally:
        server.start()
    assert not result.success
    assert mlflow.active_run() is None  # or the next run of this process would be refused
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    told = str(failure.step_failure_data.error)
    assert f"MlflowUnavailableError: MLflow at {server.address} cannot be asked" in told
    assert "operations.md" in told
    (run_id,) = reconcile_statuses(failed(instance, result), server.address, "outage")
    assert open_client(server.address).get_run(run_id).info.status == "FAILED"


@pytest.mark.parametrize(("ended", "status"), [("SUCCESS", "FINISHED"), ("FAILURE", "FAILED"), ("CANCELED", "KILLED")])
def test_every_end_of_a_dagster_run_has_its_status_there_too(server: Server, ended: str, status: str) -> None:
    client = open_client(server.address)
    run_id = join_run(client, ensure_experiment(client, "ends", server.address), [f"run {ended}"], "retrain")
    for _ in range(2):
        settled = set_true_status(server.address, "ends", [f"run {ended}"], dg.DagsterRunStatus(ended))
        assert settled == {run_id: status}
        assert client.get_run(run_id).info.status == status


def failed(instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult) -> dg.DagsterInstance:
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.status == dg.DagsterRunStatus.FAILURE
    return instance


def test_a_registration_that_was_killed_in_its_upload_leaves_no_version_and_succeeds_when_tried_again(
    server: Server, production: Production, tmp_path: Path
) -> None:
    client = open_client(server.address)
    experiment = ensure_experiment(client, "killed upload", server.address)
    run_id = client.create_run(experiment).info.run_id
    registry = ModelRegistry(tracking_uri=server.address, model_name="killed-detector")
    files = {name: tmp_path / name.replace("/", "-") for name in ("onnx/model.onnx", "weights/best.pt", "z/big.bin")}
    for path in files.values():
        path.write_bytes(os.urandom(3_000_000))
    registering = multiprocessing.get_context("fork").Process(target=registry.register, args=(run_id, files, {}))
    registering.start()
    prefix = f"artifacts/{experiment}/{run_id}/"
    while not production.store.keys("mlflow", prefix):
        assert registering.is_alive()
    os.kill(registering.pid or 0, signal.SIGKILL)
    registering.join()
    assert registry.versions() == []
    version = registry.register(run_id, files, {}).version
    assert version == "1"
    for name, path in files.items():
        assert registry.download(version, name, tmp_path / "cache").read_bytes() == path.read_bytes()


def test_an_upload_that_breaks_off_is_no_file(server: Server, production: Production) -> None:
    client = open_client(server.address)
    experiment = ensure_experiment(client, "broken upload", server.address)
    run_id = client.create_run(experiment).info.run_id
    path = f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run_id}/artifacts/best.pt"
    with socket.create_connection(("127.0.0.1", production.place.port)) as broken:
        broken.sendall(
            f"PUT {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5000000\r\n\r\n".encode() + bytes(1_000_000)
        )
    stored = f"artifacts/{experiment}/{run_id}/"
    time.sleep(2)
    assert production.store.keys("mlflow", stored) == []
    whole = urllib.request.Request(server.address + path, data=bytes(1000), method="PUT")  # noqa: S310
    with urllib.request.urlopen(whole, timeout=30) as answer:  # noqa: S310
        assert answer.status == 200
    assert production.store.keys("mlflow", stored) == [f"{stored}artifacts/best.pt"]
