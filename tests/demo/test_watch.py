"""The daemon's runs told line by line, from a real instance."""

import subprocess
import sys
import time
from collections.abc import Iterator

import dagster as dg
import pytest

from demo.watch import StoryError, Watch


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture
def daemon() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process
        process.kill()


@dg.op
def train(context: dg.OpExecutionContext) -> None:
    context.log.info("Epoch 1 of 2: mAP50 on val 0.500, 3 s, about 3 s left")
    context.log.info("a detail for Dagster's page")


@dg.job
def training() -> None:
    train()


@dg.op
def fail() -> None:
    raise ValueError("no weights")


@dg.job
def failing() -> None:
    fail()


def test_a_run_is_told_from_its_first_epoch_to_its_end(
    instance: dg.DagsterInstance, daemon: "subprocess.Popen[bytes]", capsys: pytest.CaptureFixture[str]
) -> None:
    watch = Watch(instance, daemon, started=time.time() - 65)
    capsys.readouterr()
    assert training.execute_in_process(instance=instance).success
    watch.until("the run is over", lambda: True, timeout=30)
    told = capsys.readouterr().out.splitlines()
    told = [line for line in told if line.startswith("[")]
    assert told[0].startswith("[ 1:0")
    assert "Epoch 1 of 2" in told[0]
    assert "about 3 s left" in told[0]
    assert "training: done in" in told[-1]
    assert not any("a detail" in line for line in told)
    assert watch.failed == []


def test_earlier_runs_are_not_told_again(
    instance: dg.DagsterInstance, daemon: "subprocess.Popen[bytes]", capsys: pytest.CaptureFixture[str]
) -> None:
    training.execute_in_process(instance=instance)
    watch = Watch(instance, daemon, started=time.time())
    capsys.readouterr()
    watch.until("nothing runs", lambda: True, timeout=30)
    assert capsys.readouterr().out == ""


def test_of_many_days_asked_for_at_once_the_first_ones_are_told_too(
    instance: dg.DagsterInstance, daemon: "subprocess.Popen[bytes]", capsys: pytest.CaptureFixture[str]
) -> None:
    watch = Watch(instance, daemon, started=time.time())
    failing.execute_in_process(instance=instance, raise_on_error=False)
    for _ in range(60):
        instance.create_run_for_job(training, status=dg.DagsterRunStatus.SUCCESS)
    watch.until("all are over", lambda: True, timeout=60)
    assert len(watch.failed) == 1
    assert capsys.readouterr().out.count("training: done in") == 60


def test_runs_that_are_tried_again_end_nothing(instance: dg.DagsterInstance, daemon: "subprocess.Popen[bytes]") -> None:
    watch = Watch(instance, daemon, started=time.time())
    for _ in range(3):
        tags = {"dagster/will_retry": "true"}
        failing.execute_in_process(instance=instance, raise_on_error=False, tags=tags)
    watch.until("they are tried again", lambda: True, timeout=30)
    assert (len(watch.failed), watch.given_up()) == (3, [])


def test_three_failures_end_the_story(instance: dg.DagsterInstance, daemon: "subprocess.Popen[bytes]") -> None:
    watch = Watch(instance, daemon, started=time.time())
    for _ in range(3):
        failing.execute_in_process(instance=instance, raise_on_error=False)
    with pytest.raises(StoryError, match="Runs failed while waiting until labels are learnt"):
        watch.until("labels are learnt", lambda: False, timeout=30)


def test_the_end_of_the_daemon_ends_the_story(instance: dg.DagsterInstance, daemon: "subprocess.Popen[bytes]") -> None:
    watch = Watch(instance, daemon, started=time.time())
    daemon.kill()
    daemon.wait()
    with pytest.raises(StoryError, match="The daemon ended"):
        watch.until("anything", lambda: False, timeout=30)


def test_waiting_has_an_end(instance: dg.DagsterInstance, daemon: "subprocess.Popen[bytes]") -> None:
    watch = Watch(instance, daemon, started=time.time())
    with pytest.raises(StoryError, match="still not so that anything"):
        watch.until("anything", lambda: False, timeout=0)
