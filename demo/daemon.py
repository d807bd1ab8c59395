"""Dagster's own daemon for the length of the demo: it evaluates schedules, sensors and conditions, and starts runs."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

BIN = Path(sys.executable).parent
STOP_SECONDS = 30


@contextmanager
def running_daemon(project: Path, log: Path, settings: Mapping[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """Start `dagster-daemon run` on the project's workspace, and stop it at the end.

    Args:
        project: Folder of workspace.yaml.
        log: Where its output goes.
        settings: Environment variables beside this process's own.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [str(BIN / "dagster-daemon"), "run", "-w", "workspace.yaml"]
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 our own command
            command, cwd=project, env={**os.environ, **settings}, stdout=output, stderr=subprocess.STDOUT
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


def launch_day(project: Path, job: str, day: str) -> None:
    """Put a day's run into the queue, as `dagster job launch` does for anybody.

    Raises:
        RuntimeError: Dagster refused; the message is its own.
    """
    command = [str(BIN / "dagster"), "job", "launch", "-w", "workspace.yaml", "-j", job]
    command += ["--tags", json.dumps({"dagster/partition": day})]
    done = subprocess.run(  # noqa: S603 our own command
        command, cwd=project, env=os.environ, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"`{' '.join(command)}` failed:\n{done.stdout}{done.stderr}")
