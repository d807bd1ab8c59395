"""MLflow statuses after real Dagster runs whose steps are processes: one succeeds, one fails, one is killed."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from resources.mlflow_client import open_client
from resources.mlflow_status import (
    DAGSTER_RUN_TAG,
    DAGSTER_STATUS_TAG,
    MLFLOW_RUN_TAG,
    reconcile_statuses,
    search_runs,
    settle_run,
)

ROOT = Path(__file__).parents[2]
HOME = """
telemetry: {enabled: false}
run_coordinator: {module: dagster.core.run_coordinator, class: DefaultRunCoordinator}
"""
SPAWN: dict[str, Any] = {"spawn": {}}
FORKSERVER: dict[str, Any] = {"forkserver": {"preload_modules": ["dagster_mlflow"]}}


@dataclass
class Launched:
    """A `dagster job` command under way, in a session of its own."""

    process: subprocess.Popen[bytes]
    pids: Path
    log: Path


@dataclass
class World:
    """Where Dagster and MLflow keep their state."""

    folder: Path
    uri: str
    instance: dg.DagsterInstance

    @property
    def client(self) -> Any:
        return open_client(self.uri)

    def start(self, command: str, then: str, start_method: dict[str, Any]) -> Launched:
        pids, config, log = (self.folder / f"{then}.{ending}" for ending in ("pids", "yaml", "log"))
        mlflow = {"tracking_uri": self.uri, "experiment_name": then}  # apart, or one run settles the other
        run_config = {
            "resources": {"mlflow": {"config": mlflow}},
            "ops": {"evaluate": {"config": {"then": then, "pids": str(pids)}}},
            "execution": {"config": {"multiprocess": {"start_method": start_method}}},
        }
        config.write_text(json.dumps(run_config))
        arguments = ["job", command, "-f", "tests/resources/mlflow_job.py", "-j", "retrain", "-c", str(config)]
        process = subprocess.Popen(
            [sys.executable, "-m", "dagster", *arguments, "--tags", json.dumps({"scenario": then})],
            cwd=ROOT,
            env={**os.environ, "DAGSTER_HOME": str(self.folder / "home")},
            stdout=log.open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        return Launched(process, pids, log)

    def run(self, then: str) -> dg.DagsterRun:
        (run,) = self.instance.get_runs(dg.RunsFilter(tags={"scenario": then}))
        return run

    def has_ended(self, then: str) -> bool:
        return any(run.is_finished for run in self.instance.get_runs(dg.RunsFilter(tags={"scenario": then})))

    def mlflow_run(self, then: str, dagster_run: dg.DagsterRun) -> Any:
        experiment = self.client.get_experiment_by_name(then).experiment_id
        (run,) = search_runs(self.client, experiment, f"tags.{DAGSTER_RUN_TAG} = '{dagster_run.run_id}'")
        return run


def until(condition: Callable[[], Any], launched: Launched, seconds: float = 400) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        crashed = launched.process.poll() not in (None, 0)  # `launch` leaves at once, its code server stays
        if value := condition():
            return value
        if crashed:
            break
        time.sleep(0.2)
    return pytest.fail(f"it never came to pass:\n{launched.log.read_text()[-3000:]}")


def kill_worker_and_step(world: World, launched: Launched) -> None:
    """SIGKILL, as the kernel does when memory is short; the code server lives on and tells Dagster."""
    step = until(lambda: launched.pids.is_file() and launched.pids.read_text(), launched)
    messages = "\n".join(entry.user_message for entry in world.instance.all_logs(world.run("hang").run_id))
    worker = re.findall(r"parent process \(pid: (\d+)\)", messages)
    for pid in map(int, (*worker, step)):
        assert os.getsid(pid) == launched.process.pid
        os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def world(new_mlflow: Callable[[Path], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    home = folder / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text(HOME)
    uri = new_mlflow(folder)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield World(folder, uri, instance)


@pytest.fixture(scope="module")
def runs(world: World) -> Iterator[dict[str, dg.DagsterRun]]:
    """The three runs side by side; each has ended for Dagster, and no sensor has looked yet."""
    # Spawned processes leave through atexit, where mlflow's handler waits; forked ones do not.
    launched = {
        "fail": world.start("execute", "fail", SPAWN),
        "ok": world.start("execute", "ok", FORKSERVER),
        "hang": world.start("launch", "hang", FORKSERVER),
    }
    try:
        kill_worker_and_step(world, launched["hang"])
        for then, each in launched.items():
            until(lambda then=then: world.has_ended(then), each)
        yield {then: world.run(then) for then in launched}
    finally:
        for each in launched.values():
            with contextlib.suppress(ProcessLookupError):  # it ended by itself
                os.killpg(each.process.pid, signal.SIGKILL)
            each.process.wait()


def test_dagster_knows_how_the_runs_ended(runs: dict[str, dg.DagsterRun]) -> None:
    assert {then: run.status.value for then, run in runs.items()} == {
        "ok": "SUCCESS",
        "fail": "FAILURE",
        "hang": "FAILURE",
    }


def test_all_steps_logged_into_one_mlflow_run_and_both_runs_name_each_other(
    world: World, runs: dict[str, dg.DagsterRun]
) -> None:
    for then, run in runs.items():
        logged = world.mlflow_run(then, run)
        assert logged.data.metrics == {"loss": 0.5, "ap50": 0.9, "photos": 40.0}
        assert logged.data.params == {"epochs": "3"}
        assert run.tags[MLFLOW_RUN_TAG] == logged.info.run_id


def test_status_comes_true_after_success_failure_and_kill(world: World, runs: dict[str, dg.DagsterRun]) -> None:
    before = {then: world.mlflow_run(then, run).info.status for then, run in runs.items()}
    assert before == dict.fromkeys(runs, "RUNNING")  # above all no FINISHED for those that failed

    failed = runs["fail"]
    settled = settle_run(world.instance, world.uri, "fail", failed, failed.status)
    assert settled == {failed.tags[MLFLOW_RUN_TAG]: "FAILED"}
    assert reconcile_statuses(world.instance, world.uri, "ok") == {runs["ok"].tags[MLFLOW_RUN_TAG]: "FINISHED"}
    assert reconcile_statuses(world.instance, world.uri, "hang") == {runs["hang"].tags[MLFLOW_RUN_TAG]: "FAILED"}

    after = {then: world.mlflow_run(then, run) for then, run in runs.items()}
    assert {then: run.info.status for then, run in after.items()} == {
        "ok": "FINISHED",
        "fail": "FAILED",
        "hang": "FAILED",
    }
    assert {then: run.data.tags[DAGSTER_STATUS_TAG] for then, run in after.items()} == {
        then: run.status.value for then, run in runs.items()
    }
    assert all(run.info.end_time >= run.info.start_time for run in after.values())
    assert all(reconcile_statuses(world.instance, world.uri, then) == {} for then in runs)
