"""Runs one container from its specification; imports only the standard library, since it starts every pod.

With namespaces it stays outside as the container's shim, passes SIGTERM in, and ends as the container does. Without,
it becomes the container's command.
"""

import json
import os
import signal
import socket
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

from rehearsal.cluster.sandbox import kernel, relay
from rehearsal.cluster.sandbox.root import Mount, build

SETUP_FAILED = 128
"""Exit code where the container could not be made, as of a container runtime (RunContainerError)."""


@dataclass(frozen=True)
class Spec:
    """One container, all paths absolute."""

    command: list[str]
    environment: dict[str, str]
    workdir: str
    root: str
    uid: int
    gid: int
    cpus: list[int]
    mounts: list[Mount]
    routes: list[relay.Route]
    hosts: str
    isolated: bool
    own_network: bool
    read_only_root: bool
    no_new_privileges: bool

    def write(self, path: Path) -> None:
        """Keep it as JSON."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> "Spec":
        """Read what `write` kept."""
        fields = json.loads(path.read_text())
        fields["mounts"] = [Mount(**mount) for mount in fields["mounts"]]
        fields["routes"] = [relay.Route(**route) for route in fields["routes"]]
        return cls(**fields)


def run(spec: Spec) -> int:
    """Run the container to its end; returns its exit code, 128 + signal where a signal ended it."""
    kernel.die_with_parent()
    if spec.cpus:
        os.sched_setaffinity(0, spec.cpus)
    if not spec.isolated:
        os.chdir(spec.workdir)
        _become(spec)
    outside, inside = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    child = os.fork()
    if child == 0:
        outside.close()
        os._exit(_shim(spec, inside))
    inside.close()
    _pass_signals_to(child)
    _, descriptors, _, _ = socket.recv_fds(outside, 1, max(1, len(spec.routes)))
    relay.serve([socket.socket(fileno=descriptor) for descriptor in descriptors], spec.routes[: len(descriptors)])
    return _wait(child)


def _shim(spec: Spec, outside: socket.socket) -> int:
    """Enter the namespaces; a process between, since one that has asked for new process ids can start no threads."""
    kernel.die_with_parent()
    if os.getuid() != 0:
        kernel.become_root_of_namespace(spec.uid, spec.gid)
    kernel.unshare(kernel.NEW_MOUNTS | kernel.NEW_PROCESSES)
    child = os.fork()
    if child == 0:
        _container(spec, outside)
    outside.close()
    _pass_signals_to(child)
    return _wait(child)


def _pass_signals_to(child: int) -> None:
    def pass_on(number: int, _: FrameType | None) -> None:
        os.kill(child, number)

    signal.signal(signal.SIGTERM, pass_on)


def _wait(child: int) -> int:
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return 128 - code if code < 0 else code


def _container(spec: Spec, outside: socket.socket) -> None:
    try:
        kernel.die_with_parent()
        if spec.own_network:
            kernel.unshare(kernel.NEW_NETWORK)
            relay.raise_loopback()
            opened = relay.listeners(spec.routes)
            socket.send_fds(outside, [b"r"], [listener.fileno() for listener in opened])
            for listener in opened:
                listener.close()
        else:
            outside.send(b"r")
        outside.close()
        build(spec.root, spec.mounts, spec.hosts, spec.uid, spec.read_only_root)
        os.chdir(spec.workdir)
        _become(spec)
    except OSError as error:
        print(f"container could not be made: {error}", file=sys.stderr, flush=True)
        os._exit(SETUP_FAILED)


def _become(spec: Spec) -> None:
    """Take the user, and become the command; returns never."""
    if spec.isolated and os.getuid() == 0:
        os.setgroups([])
        os.setgid(spec.gid)
        os.setuid(spec.uid)
        kernel.die_with_parent()  # a change of user clears it
    if spec.no_new_privileges:
        kernel.no_new_privileges()
    try:
        os.execvpe(spec.command[0], spec.command, spec.environment)  # noqa: S606 the pod's own words
    except OSError as error:
        print(f"exec {spec.command[0]}: {error}", file=sys.stderr, flush=True)
        os._exit(SETUP_FAILED - 1)


def start() -> int:
    """Run the specification whose file is the first argument."""
    return run(Spec.read(Path(sys.argv[1])))
