"""A client that asks the live server over a few connections that stay open; a process of its own, and a cheap one.

    python -m benchmarks.serving_load <port> <folder of photos> <seconds> <connections> <kind> <report.json>

Requests are made before the first is sent, and of an answer only status, length and version are read, so that the
client takes little of the processors that it shares with the server. kind is `raw` (POST /detect) or `json`
(POST /invocations).
"""

import base64
import json
import random
import re
import resource
import socket
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

MALFORMED_SHARE = 0.05

_VERSION = re.compile(rb'"model_version": ?"(\d+)"')
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


@dataclass
class Seen:
    """What one connection saw; latencies in seconds, of valid requests."""

    valid: Counter[int] = field(default_factory=Counter)
    malformed: Counter[int] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    without_version: int = 0
    broken: list[str] = field(default_factory=list)


def request(path: str, body: bytes, content_type: str) -> bytes:
    """One request of HTTP/1.1."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "\r\n",
    ]
    return "\r\n".join(lines).encode() + body


def valid_requests(photos: list[bytes], kind: str) -> list[bytes]:
    """One a photo."""
    if kind == "raw":
        return [request("/detect", photo, "image/jpeg") for photo in photos]
    bodies = [{"dataframe_records": [{"photo": base64.b64encode(photo).decode()}]} for photo in photos]
    return [request("/invocations", json.dumps(body).encode(), "application/json") for body in bodies]


def malformed_requests(photos: list[bytes]) -> list[bytes]:
    """One of each kind that a client gets wrong."""
    photo = photos[0]
    return [
        request("/detect", photo[: len(photo) // 2], "image/jpeg"),
        request("/detect", b"", "image/jpeg"),
        request("/detect", b"not a picture" * 100, "image/jpeg"),
        request("/detect", photo, "text/plain"),
        request("/detect?confidence=2", photo, "image/jpeg"),
        request("/detect", photo, "multipart/form-data"),
        request("/invocations", b"{", "application/json"),
        request("/invocations", b'{"dataframe_records": [{"photo": "%%%"}]}', "application/json"),
        request("/invocations", b"photo\nx\n", "text/csv"),
    ]


def answer(wire: socket.socket) -> tuple[int, bytes]:
    """Status and body of the next answer on a connection."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += _more(wire)
    head, _, body = received.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    if length is None:
        raise ConnectionError("an answer without a length")
    while len(body) < int(length.group(1)):
        body += _more(wire)
    return int(head[9:12]), body


def _more(wire: socket.socket) -> bytes:
    chunk = wire.recv(65536)
    if not chunk:
        raise ConnectionError("the server closed the connection")
    return chunk


def ask(port: int, valid: list[bytes], malformed: list[bytes], until: float, seed: int, seen: Seen) -> None:
    """Ask until a moment, one request after the other; a connection that breaks is counted and opened again."""
    dice = random.Random(seed)  # noqa: S311 no secret
    turn = seed
    while time.perf_counter() < until:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=60) as wire:
                wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while time.perf_counter() < until:
                    turn += 1
                    _exchange(wire, valid[turn % len(valid)], malformed, dice, seen)
        except OSError as error:
            seen.broken.append(repr(error))


def _exchange(wire: socket.socket, valid: bytes, malformed: list[bytes], dice: random.Random, seen: Seen) -> None:
    if dice.random() < MALFORMED_SHARE:
        wire.sendall(dice.choice(malformed))
        seen.malformed[answer(wire)[0]] += 1
        return
    started = time.perf_counter()
    wire.sendall(valid)
    status, body = answer(wire)
    seen.latencies.append(time.perf_counter() - started)
    seen.valid[status] += 1
    version = _VERSION.search(body)
    if version is None:
        seen.without_version += 1
    else:
        seen.versions[version.group(1).decode()] += 1


def main(port: str, folder: str, seconds: str, connections: str, kind: str, report: str) -> None:
    """Ask over all connections, and write what was seen."""
    photos = [path.read_bytes() for path in sorted(Path(folder).iterdir())]
    valid, malformed = valid_requests(photos, kind), malformed_requests(photos)
    seen = [Seen() for _ in range(int(connections))]
    started = time.perf_counter()
    arguments = [(int(port), valid, malformed, started + float(seconds), n, each) for n, each in enumerate(seen)]
    threads = [threading.Thread(target=ask, args=each) for each in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    used = resource.getrusage(resource.RUSAGE_SELF)
    content = {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "seen": [vars(each) for each in seen],
    }
    Path(report).write_text(json.dumps(content), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
