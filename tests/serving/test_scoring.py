"""MLflow's scoring server within the front, in process: what a failure of the detector becomes."""

import asyncio
import base64
import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mlops_assets.serving.front import Front, RequestLimits
from mlops_assets.serving.refusals import FAILED, RefusalError
from mlops_assets.serving.scoring import scoring_app


class Detector:
    """One that fails, or takes its time."""

    version = "1"

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def detect(self, content: bytes, _confidence: float | None = None) -> dict[str, Any]:
        self.seen.append(content)
        if content == b"slow":
            time.sleep(0.2)
        if content == b"refused":
            raise RefusalError(400, "no picture")
        if content == b"broken":
            raise RuntimeError("secret detail of the network")
        return {"boxes": []}


class Follows:
    """A follower of that detector."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector

    def current(self) -> Detector:
        return self._detector


@pytest.fixture(scope="module")
def ask() -> Any:
    pool = ThreadPoolExecutor(1)
    detector = Detector()
    follower: Any = Follows(detector)
    front = Front("model", follower, scoring_app(follower, pool), pool, RequestLimits())
    yield lambda *photos: (asyncio.run(invoke(front, photos)), detector)
    pool.shutdown()


async def invoke(front: Front, photos: tuple[bytes, ...]) -> tuple[int, bytes]:
    records = [{"photo": base64.b64encode(photo).decode()} for photo in photos]
    received = [{"type": "http.request", "body": json.dumps({"dataframe_records": records}).encode()}]
    sent: list[Any] = []

    async def receive() -> Any:
        return received.pop() if received else await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/invocations",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }
    await front(scope, receive, send)
    return sent[0]["status"], b"".join(each.get("body", b"") for each in sent[1:])


def test_a_failure_is_answered_with_500_and_no_stack_trace_and_is_in_the_log(
    ask: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        (status, body), _ = ask(b"broken")
    content = json.loads(body)
    assert (status, content["error_code"]) == (500, "INTERNAL_ERROR")
    assert FAILED in content["message"]
    for hidden in (b"Traceback", b"stack_trace", b"secret detail", b".py"):
        assert hidden not in body
    assert "secret detail of the network" in caplog.text


def test_a_refusal_is_still_a_400(ask: Any) -> None:
    (status, body), _ = ask(b"refused")
    assert status == 400
    assert b"no picture" in body


def test_the_other_photos_of_a_request_that_failed_are_not_looked_at(ask: Any) -> None:
    (status, _), detector = ask(b"slow", b"broken", b"slow", *[b"unseen"] * 3)
    assert status == 500
    assert b"unseen" not in detector.seen
