"""The way out of a container without a network: only the addresses that it may reach, passed on one by one.

The container has a network namespace of its own with nothing but loopback. It listens there for each address that is
allowed; the process outside takes the connections over and joins them to the host's loopback.
"""

import contextlib
import fcntl
import socket
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass

_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 1
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Route:
    """One allowed address: where the container connects to, and the port on the host's loopback behind it."""

    address: str
    port: int
    host_port: int


def raise_loopback() -> None:
    """Switch loopback on in a new network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anything:
        request = struct.pack("16sh", b"lo", 0)
        flags = struct.unpack("16sh", fcntl.ioctl(anything, _GET_FLAGS, request))[1]
        fcntl.ioctl(anything, _SET_FLAGS, struct.pack("16sh", b"lo", flags | _UP))


def listeners(routes: Sequence[Route]) -> list[socket.socket]:
    """Sockets that listen inside, one a route, in order."""
    opened = []
    for route in routes:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((route.address, route.port))
        listener.listen(128)
        opened.append(listener)
    return opened


def serve(opened: Sequence[socket.socket], routes: Sequence[Route]) -> None:
    """Pass connections on, outside, in threads that end with the process."""
    for listener, route in zip(opened, routes, strict=True):
        threading.Thread(target=_accept, args=(listener, route.host_port), daemon=True).start()


def _accept(listener: socket.socket, host_port: int) -> None:
    while True:
        inside, _ = listener.accept()
        try:
            outside = socket.create_connection(("127.0.0.1", host_port))
        except OSError:
            inside.close()  # refused there, so closed here
            continue
        for pair in ((inside, outside), (outside, inside)):
            threading.Thread(target=_pump, args=pair, daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):  # either side may go at any time; the other learns it by the shutdown below
        while chunk := source.recv(_CHUNK):
            target.sendall(chunk)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RD if end is source else socket.SHUT_WR)
