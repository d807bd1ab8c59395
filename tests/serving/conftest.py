"""One live server for the folder: the real command, on a registry in SQLite."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from live_server import MAX_MEGABYTES, MAX_REQUESTS, POLL_SECONDS, Server, settings
from tiny_model import contents, register, tiny_export

from rehearsal.processes import Command, free_port, running


@pytest.fixture(scope="session")
def uri(new_mlflow: Callable[[Path], str], tmp_path_factory: pytest.TempPathFactory) -> str:
    return new_mlflow(tmp_path_factory.mktemp("mlflow"))


@pytest.fixture(scope="session")
def server(uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("serving")
    serving = Server(free_port(), uri)
    versions = {
        "left": contents(folder / "left", tiny_export(folder / "left.onnx", router_at=16)),
        "right": contents(folder / "right", tiny_export(folder / "right.onnx", router_at=32), mlflow=False),
        # Its class map names another class than the network.
        "broken": contents(folder / "broken", tiny_export(folder / "broken.onnx"), {0: "router", 4: "fan"}),
    }
    names = {"broken": {0: "router", 4: "fan"}}
    for name, local in versions.items():
        more = {"names": names[name], "thresholds": None} if name in names else {}
        serving.versions[name] = register(serving.uri, local, **more)
    limits = {
        "MLOPS_SERVING_POLL_SECONDS": str(POLL_SECONDS),
        "MLOPS_SERVING_MAX_REQUESTS": str(MAX_REQUESTS),
        "MLOPS_SERVING_MAX_MEGABYTES": str(MAX_MEGABYTES),
        "MLOPS_SERVING_MAX_PHOTOS": "3",
        "MLOPS_THREADS": "2",
    }
    command = Command(
        "serving",
        [sys.executable, "-m", "mlops_assets.serving", "--port", str(serving.port)],
        settings(folder, serving.uri, **limits),
        healthy=lambda: serving.ask("GET", "/ping").status == 200,
        timeout=240,
        folder=folder,
    )
    with running(command, folder) as service:
        for method, path in (("GET", "/ready"), ("POST", "/detect"), ("POST", "/invocations")):
            serving.before[path] = serving.ask(method, path, b"{}" if method == "POST" else None, "application/json")
        serving.serve("left")
        yield serving
        assert service.process.poll() is None, "the server died under its tests"
