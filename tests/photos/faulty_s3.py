"""An S3 server on loopback behind a proxy that fails as object stores do now and then."""

import http.client
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

Fault = Literal["slow_down", "internal_error", "dropped", "cut", "denied"]
"""A 503 that asks to slow down, a 500, a closed connection before the answer, one after half of it, and a 403."""

_ANSWERS = {"slow_down": (503, "SlowDown"), "internal_error": (500, "InternalError"), "denied": (403, "AccessDenied")}
_NOT_PASSED_ON = {"transfer-encoding", "connection", "content-length", "server", "date"}


class FaultyProxy:
    """Passes requests on to `server`, except those for which `fault` names one; counts what it was asked.

    Args:
        server: Host and port.
        fault: Called with a number from 1 on, the method and the path of each request.
    """

    def __init__(self, server: tuple[str, int], fault: Callable[[int, str, str], Fault | None]) -> None:
        self.server, self.fault = server, fault
        self.asked: list[tuple[str, str]] = []
        self.failed: list[Fault] = []
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> "FaultyProxy":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def choose(self, method: str, path: str) -> Fault | None:
        with self._lock:
            self.asked.append((method, path))
            fault = self.fault(len(self.asked), method, path)
            if fault is not None:
                self.failed.append(fault)
            return fault


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultyProxy

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.proxy.choose(self.command, self.path)
        if fault == "dropped":
            self.close_connection = True
            return
        if fault in _ANSWERS:
            status, code = _ANSWERS[fault]
            self._answer(status, [("Content-Type", "application/xml")], f"<Error><Code>{code}</Code></Error>".encode())
            return
        connection = http.client.HTTPConnection(*self.proxy.server, timeout=60)
        connection.request(self.command, self.path, body, dict(self.headers))
        answer = connection.getresponse()
        content = answer.read()
        headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in _NOT_PASSED_ON]
        length = int(answer.getheader("Content-Length", len(content))) if self.command == "HEAD" else len(content)
        self._answer(answer.status, headers, content[: len(content) // 2] if fault == "cut" else content, length)
        self.close_connection = fault == "cut"
        connection.close()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _any  # noqa: N815 as http.server wants them

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes, length: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing."""
