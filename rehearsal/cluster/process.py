"""One container's process: starts it, keeps its log with times, measures its memory, ends it with all it started."""

import asyncio
import contextlib
import datetime as dt
import os
import signal
import sys
import time
from pathlib import Path

import psutil

from rehearsal.cluster.sandbox.main import Spec

_PROJECT = Path(__file__).resolve().parents[2]
START_ARGUMENTS = (
    *("-S", "-E", "-c"),
    "import sys; sys.path.insert(0, sys.argv[2]); from rehearsal.cluster.sandbox import main; sys.exit(main.start())",
)
"""Arguments of Python that start a container; the file of its specification and the project's folder follow."""
_OUTPUT_CHUNK = 1 << 16
_LAST_WORDS_SECONDS = 2.0


class ContainerProcess:
    """A running container; made by `start`."""

    def __init__(self, process: asyncio.subprocess.Process, spec: Spec, log: Path) -> None:
        self._process, self._spec, self._log = process, spec, log
        self.first_line: float | None = None
        self.peak_memory = 0

    @classmethod
    async def start(cls, spec: Spec, folder: Path, log: Path) -> "ContainerProcess":
        """Start it; its log grows at `log`, one line with its time in front each."""
        at = folder / "spec.json"
        spec.write(at)
        log.parent.mkdir(parents=True, exist_ok=True)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *(*START_ARGUMENTS, str(at), str(_PROJECT)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            env={},
        )
        return cls(process, spec, log)

    @property
    def pid(self) -> int:
        """Process id on this machine, of the shim where there is one."""
        return self._process.pid

    async def wait(self) -> int:
        """Wait for the end; returns the exit code, 128 + signal where a signal ended it."""
        reading = asyncio.ensure_future(self._keep_output())
        code = await self._process.wait()
        self.kill()  # what it left behind would hold its output open
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(reading, _LAST_WORDS_SECONDS)
        return 128 - code if code < 0 else code

    def terminate(self) -> None:
        """Ask it to end."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """End it, and all that it has started, at once."""
        for process in reversed(self._tree()):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._send(signal.SIGKILL, group=True)

    def kill_container(self) -> None:
        """SIGKILL for the container's first process alone, as of its kernel; the shim reports it."""
        inside = self._inside()
        with contextlib.suppress(psutil.NoSuchProcess):
            (inside[0] if inside else psutil.Process(self.pid)).kill()

    def measure(self) -> int:
        """Bytes that the container's processes hold now, pages that they share counted once where it matters."""
        inside = self._inside()
        held = sum(_memory(process, shared_once=False) for process in inside)
        if held > self.peak_memory:
            held = sum(_memory(process, shared_once=True) for process in inside)
        self.peak_memory = max(self.peak_memory, held)
        return held

    def _send(self, number: int, group: bool = False) -> None:
        with contextlib.suppress(ProcessLookupError):
            if group or not self._spec.isolated:
                os.killpg(self.pid, number)
            else:
                os.kill(self.pid, number)

    def _tree(self) -> list[psutil.Process]:
        try:
            tree: list[psutil.Process] = psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        return tree

    def _inside(self) -> list[psutil.Process]:
        """The container's own processes, its first one first."""
        tree = self._tree()
        if self._spec.isolated:
            return tree[1:]  # the first is the shim's second half
        with contextlib.suppress(psutil.NoSuchProcess):
            return [psutil.Process(self.pid), *tree]
        return tree

    async def _keep_output(self) -> None:
        output, rest = self._process.stdout, b""
        if output is None:
            return
        with self._log.open("ab") as log:
            while chunk := await output.read(_OUTPUT_CHUNK):
                self.first_line = self.first_line or time.time()
                stamp = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z ").encode()
                *lines, rest = (rest + chunk).split(b"\n")
                log.write(b"".join(stamp + line + b"\n" for line in lines))
                log.flush()
            if rest:
                log.write(dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z ").encode() + rest + b"\n")


def _memory(process: psutil.Process, shared_once: bool) -> int:
    try:
        return int(process.memory_full_info().pss if shared_once else process.memory_info().rss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0
