"""The sensors in a code server of their own, evaluated by Dagster's daemon, also twice at once."""

import logging
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.sensor import execute_sensor_iteration

from mlops_assets.jobs import IMPORT_LABELS
from resources.settings import PROJECT, load_settings

QUEUED = {"run_coordinator": {"module": "dagster.core.run_coordinator", "class": "QueuedRunCoordinator"}}


class Daemon:
    """Dagster's sensor daemon without its pauses; runs stay in the queue."""

    def __init__(self, instance: dg.DagsterInstance, workspace: Any) -> None:
        self.instance = instance
        self.workspace = workspace
        self.futures: dict[str, Future[Any]] = {}

    def tick(self, pool: ThreadPoolExecutor) -> None:
        log = logging.getLogger("daemon")
        list(execute_sensor_iteration(self.workspace, log, pool, None, sensor_tick_futures=self.futures))
        for future in self.futures.values():
            future.result(timeout=60)

    def until_asked(self, attempt: str) -> dg.DagsterRun:
        with ThreadPoolExecutor(4) as pool:
            for _ in range(30):
                self.tick(pool)
                for run in self.runs():
                    if run.tags["mlops/attempt"] == attempt:
                        return run
                time.sleep(0.5)
        raise AssertionError(f"attempt {attempt} was not asked for")

    def runs(self) -> list[dg.DagsterRun]:
        return list(self.instance.get_runs(dg.RunsFilter(job_name=IMPORT_LABELS)))

    def evaluate_at_once(self, times: int) -> list[list[str | None]]:
        """Run keys of as many evaluations at the same time as there are threads, as two daemons would ask for them."""
        (location,) = self.workspace.create_request_context().code_locations
        (repository,) = location.get_repositories().values()
        cursor = next(
            state.instigator_data.cursor  # type: ignore[union-attr]
            for state in self.instance.all_instigator_state()
            if state.instigator_name == "new_labels"
        )
        together = Barrier(times)

        def evaluate() -> list[str | None]:
            together.wait()
            data = location.get_sensor_execution_data(
                self.instance, repository.handle, "new_labels", None, None, cursor, None, None
            )
            return [request.run_key for request in data.run_requests or []]

        with ThreadPoolExecutor(times) as pool:
            return [future.result() for future in [pool.submit(evaluate) for _ in range(times)]]


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLOPS_SENSOR_INTERVAL", "1")
    target = ModuleTarget("definitions", None, str(PROJECT), "enclosures")
    with (
        dg.instance_for_test(overrides=QUEUED) as instance,
        create_test_daemon_workspace_context(target, instance) as workspace,
    ):
        yield Daemon(instance, workspace)


def test_the_daemon_asks_once_and_again_after_a_failure_and_evaluations_at_once_agree(daemon: Daemon) -> None:
    settings = load_settings()
    drop = Path(settings.places(settings.use_case).labels)
    drop.mkdir(parents=True)
    (drop / "labels.json").write_text("[]")
    first = daemon.until_asked("1")
    assert first.status == dg.DagsterRunStatus.QUEUED
    assert daemon.evaluate_at_once(2) == [[], []]  # queued already
    assert [run.run_id for run in daemon.runs()] == [first.run_id]
    daemon.instance.report_run_failed(first)
    (keys,) = {tuple(keys) for keys in daemon.evaluate_at_once(4)}
    second = daemon.until_asked("2")
    assert keys == (second.tags["dagster/run_key"],)
    with ThreadPoolExecutor(4) as pool:
        daemon.tick(pool)
    assert len(daemon.runs()) == 2
