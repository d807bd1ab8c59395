"""A training that is killed again and again, and gone on with by Dagster's RetryPolicy."""

import itertools
import os
import random
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from killed_training_job import training_job
from tiny_detector import NAMES, write_dataset

from mlops_assets.detector.epochs import read_curves
from resources.mlflow_client import open_client

LONG = pytest.mark.slow


@dataclass
class Killer:
    """Kills the step's process at random moments: after some epochs of an attempt, and a part of the next one."""

    place: Path
    kills: int
    epochs: int
    killed: list[int] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        moments = random.Random(20261127)  # noqa: S311 no secret
        for attempt in range(self.kills):
            wanted = moments.randrange(self.epochs // (self.kills + 1))
            while (pid := self._reached(attempt, wanted)) is None:
                if self.done.wait(0.02):
                    return
            if not self.done.wait(moments.uniform(0, 1.5) * self._pace()):
                os.kill(pid, signal.SIGKILL)
                self.killed.append(pid)

    def _reached(self, attempt: int, epochs: int) -> int | None:
        """The process of an attempt once it has completed so many epochs."""
        lines = [line.split() for line in notes(self.place)]
        of_attempt = [line for line in lines if line[1] == str(attempt)]
        return int(of_attempt[0][2]) if len(of_attempt) > epochs else None

    def _pace(self) -> float:
        """Seconds of an epoch."""
        times = [float(line.split()[-1]) for line in notes(self.place) if line.startswith("epoch")]
        return min((later - earlier for earlier, later in itertools.pairwise(times)), default=2.0)


@pytest.fixture(autouse=True)
def _modules_of_this_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """The step's processes import the job."""
    folder = Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(folder.parents[1])]))


def notes(place: Path) -> list[str]:
    path = place / "notes.txt"
    return path.read_text().splitlines() if path.exists() else []


@pytest.fixture(scope="module")
def mlflow_uri(new_mlflow: Callable[[Path], str], tmp_path_factory: pytest.TempPathFactory) -> str:
    return new_mlflow(tmp_path_factory.mktemp("mlflow"))


def run_config(place: Path, mlflow_uri: str, **step: Any) -> dict[str, Any]:
    data = write_dataset(place / "data", NAMES, {"train": 8, "val": 4})
    return {
        "ops": {"train_detector": {"config": {"data": str(data), "place": str(place), **step}}},
        "resources": {
            "checkpoints": {"config": {"root": str(place / "store")}},
            "mlflow": {"config": {"tracking_uri": mlflow_uri, "experiment_name": place.name}},
        },
    }


def attempts(place: Path) -> dict[int, list[int]]:
    """Epochs that each attempt completed."""
    found: dict[int, list[int]] = {}
    for line in notes(place):
        what, attempt, value, *_ = line.split()
        found.setdefault(int(attempt), [])
        if what == "epoch":
            found[int(attempt)].append(int(value))
    return found


@pytest.mark.parametrize(
    ("kills", "epochs", "every"),
    [
        pytest.param(1, 5, 1, id="short"),
        pytest.param(5, 18, 1, id="long", marks=LONG),
        pytest.param(5, 18, 3, id="every third epoch", marks=LONG),
    ],
)
def test_a_training_that_is_killed_again_and_again_ends_as_one_that_is_not(
    tmp_path: Path, mlflow_uri: str, kills: int, epochs: int, every: int
) -> None:
    config = run_config(tmp_path, mlflow_uri, epochs=epochs, checkpoint_epochs=every)
    killer = Killer(tmp_path, kills, epochs)
    thread = threading.Thread(target=killer.run)
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        thread.start()
        try:
            with dg.execute_job(dg.reconstructable(training_job), instance=instance, run_config=config) as result:
                assert result.success
                retries = [event for event in result.all_events if event.is_step_up_for_retry]
        finally:
            killer.done.set()
            thread.join()
    tried = attempts(tmp_path)
    assert len(killer.killed) == kills == len(retries)
    assert len(tried) == kills + 1

    # No epoch is trained twice but those since the checkpoint before the kill.
    reached = 0
    for done in tried.values():
        if done:
            assert reached + 1 - every <= done[0] <= reached + 1, f"from {reached} on to {done[0]}"
            assert done == list(range(done[0], done[-1] + 1))
        reached = max([reached, *done])

    rows = read_curves((tmp_path / "results.csv").read_bytes())
    assert [row.epoch for row in rows] == list(range(1, epochs + 1))
    # Ultralytics' rule after the warm-up of three epochs, which a kill must not begin again.
    rate = [0.002 * ((1 - epoch / epochs) * 0.99 + 0.01) for epoch in range(epochs)]
    assert [row.figures["lr/pg0"] for row in rows[3:]] == pytest.approx(rate[3:], rel=1e-4)
    assert [row.figures["lr/pg0"] for row in rows[:3]] == sorted(row.figures["lr/pg0"] for row in rows[:3])

    client = open_client(mlflow_uri)
    (run,) = client.search_runs([client.get_experiment_by_name(tmp_path.name).experiment_id])
    for name in ("val/map50", "val/map50_95", "train/box_loss", "val/cls_loss", "lr/pg0"):
        history = sorted(client.get_metric_history(run.info.run_id, name), key=lambda entry: entry.step)
        assert [entry.step for entry in history] == [row.epoch for row in rows], name
        assert [entry.value for entry in history] == [row.figures[name] for row in rows], name
    assert run.data.params["seed"] == "0"
    assert not (tmp_path / "store" / "checkpoints" / result.run_id).exists()


def test_a_training_that_cannot_succeed_is_not_tried_again(tmp_path: Path, mlflow_uri: str) -> None:
    config = run_config(tmp_path, mlflow_uri, epochs=2, learning_rate=1e30)
    with dg.DagsterInstance.ephemeral() as instance:
        result = training_job.execute_in_process(run_config=config, instance=instance, raise_on_error=False)
    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert not [event for event in result.all_events if event.is_step_up_for_retry]
    assert "lr0" in str(failure.step_failure_data.error)
    assert attempts(tmp_path) == {0: []}
