"""The ASGI application that is served: limits, readiness, metrics and raw photos before MLflow's scoring server.

A request is refused before its body is read where that can be told, and never with a stack trace. What the scoring
server does itself, it does: `/invocations` comes to it with a body that has been checked.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mlops_assets.serving import bodies
from mlops_assets.serving.detector import ServedDetector
from mlops_assets.serving.following import Follower
from mlops_assets.serving.metrics import CONTENT_TYPE, Metrics
from mlops_assets.serving.refusals import FAILED, RefusalError

DETECT, INVOCATIONS, READY, METRICS = "/detect", "/invocations", "/ready", "/metrics"
OF_MLFLOW = ("/ping", "/health", "/version")
METHODS = {DETECT: "POST", INVOCATIONS: "POST", READY: "GET", METRICS: "GET", **dict.fromkeys(OF_MLFLOW, "GET")}

RETRY_SECONDS = 1
DRAIN_SECONDS = 2.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RequestLimits:
    """What one request may hold, and how many there may be.

    Attributes:
        max_bytes: Of a body.
        max_photos: Of a request.
        max_requests: That are read, wait or are worked on; the next is told to come again.
        body_seconds: In which a body must have arrived.
    """

    max_bytes: int = 20_000_000
    max_photos: int = 16
    max_requests: int = 32
    body_seconds: float = 60.0


class _GoneError(Exception):
    """The client went away."""


class Front:
    """The application.

    Args:
        model_name: The registered model, for answers.
        follower: Knows the version that serves; started and stopped with the application.
        scoring: MLflow's scoring server.
        pool: In which photos are looked at.
        limits: Of requests.
    """

    def __init__(
        self, model_name: str, follower: Follower, scoring: ASGIApp, pool: ThreadPoolExecutor, limits: RequestLimits
    ) -> None:
        self.model_name = model_name
        self._follower = follower
        self._scoring = scoring
        self._pool = pool
        self._parsers = ThreadPoolExecutor(1, thread_name_prefix="parse")  # so that parsing waits for no network
        self._limits = limits
        self._metrics = Metrics()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or start and stop with the server."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await _Exchange(scope, receive, send, self._metrics).run(self._answer)
        else:
            await send({"type": "websocket.close", "code": 1003})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self._follower.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._follower.stop()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._parsers.shutdown(wait=False, cancel_futures=True)
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, exchange: "_Exchange") -> None:
        path, method = exchange.path, exchange.scope["method"]
        if path not in METHODS:
            raise RefusalError(404, f"There is nothing at {path[:200]!r}, only at {', '.join(METHODS)}.")
        if method != METHODS[path] and (METHODS[path], method) != ("GET", "HEAD"):
            raise RefusalError(405, f"{path} takes {METHODS[path]}, not {method[:20]}.", {"Allow": METHODS[path]})
        if path == READY:
            await self._ready(exchange)
        elif path == METRICS:
            await exchange.send_bytes(200, self._metrics.text(self._follower.state()).encode(), CONTENT_TYPE)
        elif path in OF_MLFLOW:
            # To MLflow, which knows no HEAD, it is a GET.
            await self._scoring({**exchange.scope, "method": "GET"}, exchange.receive, exchange.send)
        else:
            await self._admitted(exchange)

    async def _ready(self, exchange: "_Exchange") -> None:
        state = self._follower.state()
        status = 200 if self._follower.current() else 503
        content = {"ready": status == 200, "model": self.model_name, **asdict(state)}
        await exchange.send_json(status, content)

    async def _admitted(self, exchange: "_Exchange") -> None:
        detector = self._follower.current()
        if detector is None:
            raise _later(self._follower.state().failure or "The first version is being opened.")
        if self._metrics.in_flight >= self._limits.max_requests:
            raise _later(f"{self._limits.max_requests} requests are under way, which is the limit.")
        self._metrics.in_flight += 1
        started = time.perf_counter()
        try:
            photos = await (self._detect(exchange, detector) if exchange.path == DETECT else self._invoke(exchange))
        finally:
            self._metrics.in_flight -= 1
        self._metrics.observe(time.perf_counter() - started, photos)

    async def _detect(self, exchange: "_Exchange", detector: ServedDetector) -> int:
        content_type = exchange.headers.get("content-type", "")
        is_form = bodies.media_type(content_type) == bodies.FORM_TYPE
        if not is_form and not bodies.is_raw(content_type):
            raise RefusalError(
                415,
                f"The Content-Type {content_type[:200]!r} is not taken here: send a photo as image/jpeg, several as "
                f"{bodies.FORM_TYPE}, and JSON to {INVOCATIONS}.",
            )
        confidence = bodies.confidence_of(dict(parse_qsl(exchange.scope["query_string"].decode())).get("confidence"))
        body = await exchange.body(self._limits)
        arrived = time.perf_counter()
        photos = [body]
        if is_form:
            photos = await self._run(self._parsers, bodies.form_photos, body, content_type, self._limits.max_photos)
        body = b""  # the photos of a form are copies of it
        looked = await self._looks(detector, photos, confidence)
        total = 1000 * (time.perf_counter() - arrived)
        content = {
            "model": self.model_name,
            "model_version": detector.version,
            "photos": looked,
            "milliseconds": {
                "total": round(total, 2),
                "waiting": round(total - max(photo["milliseconds"] for photo in looked), 2),
            },
        }
        await exchange.send_json(200, content)
        return len(photos)

    async def _looks(
        self, detector: ServedDetector, photos: list[bytes], confidence: float | None
    ) -> list[dict[str, Any]]:
        looks = [asyncio.ensure_future(self._run(self._pool, detector.detect, each, confidence)) for each in photos]
        try:
            return [await _of_photo(index, look, len(looks)) for index, look in enumerate(looks)]
        finally:
            for look in looks:
                look.cancel()

    async def _invoke(self, exchange: "_Exchange") -> int:
        content_type = exchange.headers.get("content-type", "")
        if bodies.media_type(content_type) != bodies.JSON_TYPE:
            raise RefusalError(
                415, f"The Content-Type {content_type[:200]!r} is not taken here: send {bodies.JSON_TYPE}."
            )
        body = await exchange.body(self._limits)
        photos: int = await self._run(self._parsers, _count_photos, body, self._limits.max_photos)
        await self._scoring(exchange.scope, _replayed(body, exchange.receive), exchange.send)
        return photos

    @staticmethod
    async def _run(pool: ThreadPoolExecutor, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(pool, work, *arguments)


class _Exchange:
    """One request and its answer, which is counted; refusals and failures become answers."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, metrics: Metrics) -> None:
        self.scope = scope
        self.headers = Headers(scope=scope)
        self.path: str = scope["path"]
        self.receive = receive
        self._send = send
        self._metrics = metrics
        self._status = 0
        self._read = False

    async def run(self, answer: Callable[["_Exchange"], Any]) -> None:
        """Answer, whatever happens."""
        try:
            await answer(self)
        except _GoneError:
            return
        except RefusalError as error:
            await self._refuse(error)
        except Exception:  # noqa: BLE001  the log has it; the client gets an answer, and no stack trace
            _log.exception("%s failed", self.path)
            if not self._status:
                await self._refuse(RefusalError(500, FAILED))
        finally:
            self._metrics.count(self.path if self.path in METHODS else "other", self._status)

    async def send(self, message: Message) -> None:
        """Pass on a part of the answer."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
        elif self.scope["method"] == "HEAD":
            message = {**message, "body": b""}
        await self._send(message)

    async def send_json(self, status: int, content: dict[str, Any]) -> None:
        """Answer with JSON."""
        await self.send_bytes(status, json.dumps(content, separators=(",", ":")).encode(), "application/json")

    async def send_bytes(self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        """Answer as a whole."""
        named = {"content-type": kind, "content-length": str(len(body)), **(headers or {})}
        pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in named.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": pairs})
        await self.send({"type": "http.response.body", "body": body})

    async def body(self, limits: RequestLimits) -> bytes:
        """The whole body.

        Raises:
            RefusalError: It is too large, or does not arrive in time.
        """
        length = self.headers.get("content-length", "")
        if length.isdigit() and int(length) > limits.max_bytes:
            raise RefusalError(413, f"The body has {length} bytes; {limits.max_bytes} at most are taken.")
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(limits.body_seconds):
                async for chunk in self._chunks():
                    size += len(chunk)
                    if size > limits.max_bytes:
                        raise RefusalError(413, f"The body is larger than {limits.max_bytes} bytes.")
                    chunks.append(chunk)
        except TimeoutError as error:
            raise RefusalError(408, f"The body did not arrive within {limits.body_seconds:.0f} seconds.") from error
        return b"".join(chunks)

    async def _chunks(self) -> Any:
        while not self._read:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise _GoneError
            self._read = not message.get("more_body", False)
            yield message.get("body", b"")

    async def _refuse(self, refusal: RefusalError) -> None:
        headers = dict(refusal.headers)
        if not await self._drained():
            headers["Connection"] = "close"
        await self.send_bytes(refusal.status, refusal.body(), "application/json", headers)

    async def _drained(self) -> bool:
        """Whether the rest of the body was read: an answer amid an upload that is cut off may be lost on its way."""
        if self.headers.get("expect"):
            return False
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                async for _ in self._chunks():
                    pass
        except (TimeoutError, _GoneError):
            return False
        return True


def _later(reason: str) -> RefusalError:
    return RefusalError(503, f"{reason} Try again.", {"Retry-After": str(RETRY_SECONDS)})


async def _of_photo(index: int, look: "asyncio.Future[dict[str, Any]]", count: int) -> dict[str, Any]:
    """The look's answer; a refusal says of which photo, where there are several."""
    try:
        return await look
    except RefusalError as error:
        if count == 1:
            raise
        raise RefusalError(error.status, f"Photo {index}: {error.reason}", error.headers) from error


def _count_photos(body: bytes, most: int) -> int:
    """Of a request to MLflow's scoring server, which decodes them again: here they are let go of at once."""
    return len(bodies.json_photos(body, most))


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A body that was read already, for the next application; then what else comes."""
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again
