"""Services as processes of their own: started, waited for, and ended with all that they started.

What is started and with which settings is for `services` and its neighbours.
"""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

TAIL_LINES = 30
STOP_SECONDS = 20.0


class ServiceError(RuntimeError):
    """A service did not start or has ended; the message shows the end of its log and where that lies."""


@dataclass(frozen=True)
class Command:
    """How one service is started.

    Attributes:
        name: What people call it; its log is `<name>.log`.
        arguments: Program and arguments.
        environment: All of its environment variables.
        healthy: Whether it answers; asked again and again, and may raise OSError while the service is not up.
        timeout: Seconds that it may take to become healthy.
        user: System user that it runs as, where that is not ours.
        stop_signal: What ends it in good order.
        folder: Its working directory.
    """

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    healthy: Callable[[], bool]
    timeout: float = 90.0
    user: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    folder: Path = field(default_factory=Path.cwd)


@dataclass(frozen=True)
class Service:
    """A service that runs."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def raise_if_ended(self) -> None:
        """Nothing, while it runs.

        Raises:
            ServiceError: It has ended.
        """
        if self.process.poll() is not None:
            raise ServiceError(f"{self.name} ended with {self.process.returncode}. {tail(self.log)}")


def free_port() -> int:
    """A port on loopback that nobody listens on now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log, under a line that says where it lies."""
    text = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return "\n".join([f"Its log {log} ends with:", *(f"    {line}" for line in text[-lines:] or ["(nothing)"])])


@contextmanager
def running(command: Command, folder: Path) -> Iterator[Service]:
    """Start a service, wait until it is healthy, and end it with everything that it started.

    Args:
        command: What to start.
        folder: Where its log goes, and the record by which a later rehearsal finds what a killed one left behind.

    Raises:
        ServiceError: It ended, or did not become healthy in time.
    """
    log = folder / f"{command.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 our own commands
            command.arguments,
            env=dict(command.environment),
            cwd=command.folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches us alone, and we end services in order
            user=command.user,
            group=command.user,
            extra_groups=[] if command.user else None,
        )
        service = Service(command.name, process, log)
        record = folder / f"{command.name}.pid"
        try:
            record.write_text(json.dumps({"pid": process.pid, "started": psutil.Process(process.pid).create_time()}))
            _wait(service, command)
            yield service
        finally:
            _end(process, command.stop_signal)
            record.unlink(missing_ok=True)


def end_left_over(folder: Path) -> list[str]:
    """End the services of an earlier rehearsal that was killed; returns their names."""
    ended = []
    for record in sorted(folder.glob("*.pid")):
        known = json.loads(record.read_text())
        if _is_ours(known["pid"], known["started"]) and _kill_session(known["pid"]):
            ended.append(record.stem)
        record.unlink()
    return ended


def session_members(leader: int) -> list[psutil.Process]:
    """Processes of a session that still run."""
    found = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _is_ours(leader: int, started: float) -> bool:
    """Whether a session is the one of that record: a pid is used again only when nobody is left in its session."""
    try:
        return bool(abs(psutil.Process(leader).create_time() - started) < 0.1)
    except psutil.NoSuchProcess:
        return True


def _wait(service: Service, command: Command) -> None:
    deadline = time.monotonic() + command.timeout
    while True:
        service.raise_if_ended()
        with suppress(OSError):
            if command.healthy():
                return
        if time.monotonic() > deadline:
            raise ServiceError(
                f"{service.name} did not become healthy within {command.timeout:.0f} s. {tail(service.log)}"
            )
        time.sleep(0.2)


def _end(process: "subprocess.Popen[bytes]", stop_signal: signal.Signals) -> None:
    process.send_signal(stop_signal)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _kill_session(process.pid)


def _kill_session(leader: int) -> int:
    """Kill what a service left behind of its own session, which no process of ours is in; how many there were."""
    deadline = time.monotonic() + STOP_SECONDS
    count = 0
    while members := session_members(leader):
        count = max(count, len(members))
        for process in members:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        if time.monotonic() > deadline:
            raise ServiceError(f"Processes {[process.pid for process in members]} cannot be ended")
        time.sleep(0.05)
    return count
