"""A training in several processes, one a GPU, as Ultralytics starts them; what they tell comes back through a socket.

Ultralytics writes a file that torch.distributed.run starts once a GPU; it rebuilds the trainer from its class, settings
and callbacks. Callbacks of the process that asks would be copied, and tell nobody. So the plan's report is replaced by
one that sends: every process its failure, the first one its progress. A process whose report finds nobody any more
ends, so that no training goes on beside its own retry.
"""

import queue
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

from mlops_assets.detector.training_errors import TrainingError
from mlops_assets.detector.training_events import Event, Failed, TrainingPlan

_POLL_SECONDS = 0.5
_END_SECONDS = 30.0


@dataclass(frozen=True)
class SentReport:
    """Sends events to the process that listens at an address; plain data, so that it can be pickled."""

    address: str
    key: bytes

    def __call__(self, event: Event) -> None:
        """Send one event.

        Raises:
            OSError: Nobody listens any more.
        """
        _connected(self.address, self.key).send(event)


@cache
def _connected(address: str, key: bytes) -> "Connection[Any, Any]":
    return Client(address, family="AF_UNIX", authkey=key)


def run_processes(trainer: Any, plan: TrainingPlan) -> None:
    """Train in one process a GPU, and report what they tell in this one.

    Args:
        trainer: Of Ultralytics, set up for several GPUs.
        plan: Its report is called in this thread.

    Raises:
        TrainingError: As a process failed.
    """
    from ultralytics.utils.dist import ddp_cleanup, generate_ddp_command

    with _inbox() as (events, report):
        trainer.follow(replace(plan, report=report))
        command, file = generate_ddp_command(trainer)
        process = subprocess.Popen(command)  # noqa: S603 Ultralytics' own command
        try:
            failure = _relay(process, events, plan)
        finally:
            _end(process)
            ddp_cleanup(trainer, str(file))
            trainer.follow(plan)
    if failure is not None:
        raise failure
    if process.returncode:
        raise TrainingError(
            f"A process of the training on {trainer.args.device} ended with exit code {process.returncode}"
        )


def _relay(
    process: "subprocess.Popen[bytes]", events: "queue.Queue[Event]", plan: TrainingPlan
) -> TrainingError | None:
    """Report events until the processes have ended and all is told; returns the failure that says most."""
    failure: TrainingError | None = None
    while True:
        ended = process.poll() is not None
        try:
            event = events.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            if ended:
                return failure
            continue
        if isinstance(event, Failed):
            # One process fails for a reason, the others since it is gone.
            failure = event.error if failure is None or type(failure) is TrainingError else failure
        else:
            plan.report(event)


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.terminate()  # torch.distributed.run ends its processes
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)
        if process.poll() is None:
            process.kill()
            process.wait()


@contextmanager
def _inbox() -> Iterator[tuple["queue.Queue[Event]", SentReport]]:
    import secrets

    events: queue.Queue[Event] = queue.Queue()
    with tempfile.TemporaryDirectory(prefix="train-") as folder:  # a socket's address has at most 107 characters
        report = SentReport(str(Path(folder) / "events"), secrets.token_bytes(32))
        with Listener(report.address, family="AF_UNIX", authkey=report.key) as listener:
            threading.Thread(target=_accept, args=(listener, events), daemon=True).start()
            yield events, report


def _accept(listener: Listener, events: "queue.Queue[Event]") -> None:
    with suppress(OSError):  # closed: the training has ended
        while True:
            threading.Thread(target=_receive, args=(listener.accept(), events), daemon=True).start()


def _receive(connection: "Connection[Any, Any]", events: "queue.Queue[Event]") -> None:
    with connection, suppress(EOFError, ConnectionError):
        while True:
            events.put(connection.recv())
