"""A live server in a process of its own, and how the tests of this folder ask it."""

import http.client
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tiny_model import registry

from rehearsal.environment import basics
from resources.model_registry import ModelVersionInfo
from resources.settings import PROJECT

POLL_SECONDS = 0.2
MAX_REQUESTS = 6
MAX_MEGABYTES = 1


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Server:
    """A live server, and the registry that it follows."""

    port: int
    uri: str
    versions: dict[str, ModelVersionInfo] = field(default_factory=dict)
    before: dict[str, Answer] = field(default_factory=dict)

    def ask(
        self, method: str, path: str, body: bytes | None = None, content_type: str | None = None, **headers: str
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)
        try:
            named = headers | ({"Content-Type": content_type} if content_type else {})
            connection.request(method, path, body, named)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def detect(self, photo: bytes, query: str = "", content_type: str = "image/jpeg") -> Answer:
        return self.ask("POST", f"/detect{query}", photo, content_type)

    def serve(self, name: str) -> None:
        """Move the alias, and wait until the version serves."""
        number = self.versions[name].version
        registry(self.uri).set_champion(number)
        until(lambda: self.state()["version"] == number and not self.state()["failure"])

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = self.ask("GET", "/ready").json()
        return state


def until(true: Callable[[], bool], seconds: float = 150) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        time.sleep(0.05)


def settings(folder: Path, uri: str, **more: str) -> dict[str, str]:
    return basics({"MLOPS_HOME": str(folder), "MLOPS_MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(PROJECT), **more})
