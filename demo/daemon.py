"""Dagster's own daemon for the length of the demo: it evaluates schedules, sensors and conditions, and starts runs."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

BIN = Path(sys.executable).parent
STOP_SECONDS = 30
QUIET_SECONDS = 45
"""A daemon writes a heartbeat every 30 s; after this long without one it is gone."""


class DaemonRunningError(RuntimeError):
    """Another daemon works on the instance; Dagster does not support two."""


def _refuse_second_daemon(instance: dg.DagsterInstance, stopped_at: float) -> None:
    """Wait until the last heartbeat is old enough, unless it was that of our own daemon, which stopped after it."""
    seen = _last_heartbeat(instance)
    if seen <= stopped_at:
        return
    while time.time() - seen < QUIET_SECONDS:
        time.sleep(1)
        if _last_heartbeat(instance) > seen:
            raise DaemonRunningError("Dagster's daemon runs already, perhaps by `make ui`: stop it, then try again")


def _last_heartbeat(instance: dg.DagsterInstance) -> float:
    return max((beat.timestamp for beat in instance.get_daemon_heartbeats().values()), default=0.0)


@contextmanager
def running_daemon(
    instance: dg.DagsterInstance,
    project: Path,
    log: Path,
    settings: Mapping[str, str],
    command: Sequence[str] = ("dagster-daemon", "run"),
) -> Iterator["subprocess.Popen[bytes]"]:
    """Start `dagster-daemon run` on the project's workspace, and stop it at the end.

    Args:
        instance: What the daemon works on.
        project: Folder of workspace.yaml.
        log: Where its output goes.
        settings: Environment variables beside this process's own.
        command: What else starts the daemon, such as `dagster dev`.

    Raises:
        DaemonRunningError: Another daemon is at work.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    stopped = log.with_suffix(".stopped")
    _refuse_second_daemon(instance, stopped_at=stopped.stat().st_mtime if stopped.exists() else 0.0)
    program, *arguments = command
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 our own command
            [str(BIN / program), *arguments, "-w", "workspace.yaml"],
            cwd=project,
            env={**os.environ, **settings},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            stopped.touch()


def backfill_days(project: Path, job: str, first: str, last: str) -> None:
    """Put the runs of all days from `first` to `last` into the queue, as `dagster job backfill` does for anybody.

    Raises:
        RuntimeError: Dagster refused; the message is its own.
    """
    command = [str(BIN / "dagster"), "job", "backfill", "-w", "workspace.yaml", "-j", job]
    command += ["--from", first, "--to", last, "--noprompt"]
    done = subprocess.run(  # noqa: S603 our own command
        command, cwd=project, env=os.environ, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"`{' '.join(command)}` failed:\n{done.stdout}{done.stderr}")
