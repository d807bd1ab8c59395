"""The server as its manifest starts it, against a real MLflow server that goes away and comes back."""

import base64
import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from live_server import Server, settings, until
from tiny_model import MODEL, contents, jpeg, register, registry, tiny_export

from rehearsal.environment import answers, basics
from rehearsal.manifests import Manifests, as_server, rendered
from rehearsal.processes import Command, free_port, running
from resources.settings import PROJECT

pytestmark = [
    pytest.mark.production,
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed"),
]


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> Manifests:
    """An overlay with the optional component, as docs/operations.md says it."""
    copy = tmp_path_factory.mktemp("manifests") / "k8s"
    shutil.copytree(PROJECT / "k8s", copy)
    file = copy / "overlays" / "prod-cpu" / "kustomization.yaml"
    content = yaml.safe_load(file.read_text())
    content["components"].append("../../serving")
    file.write_text(yaml.safe_dump(content))
    return rendered(str(file.parent))


class Mlflow:
    """An MLflow server of the manifest's own command, which can be started again at the same address."""

    def __init__(self, manifests: Manifests, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self.uri = f"http://127.0.0.1:{self._port}"
        self._container = container_of(as_server(manifests.get("Deployment", "mlflow"), self._port))

    @contextmanager
    def up(self) -> Iterator[None]:
        given = {each["name"]: each["value"] for each in self._container["env"] if "value" in each}
        environment = basics(
            given
            | {
                "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{self._folder}/mlflow.db",
                "MLFLOW_ARTIFACTS_DESTINATION": str(self._folder / "artifacts"),
            }
        )
        healthy = answers(f"{self.uri}/health", "OK")
        command = Command("mlflow", self._container["args"], environment, healthy, folder=self._folder)
        with running(command, self._folder):
            yield


def container_of(pod: dict[str, Any]) -> dict[str, Any]:
    (container,) = pod["spec"]["containers"]
    return container


def registered(folder: Path, uri: str, router_at: float) -> str:
    local = contents(folder / f"{router_at}", tiny_export(folder / f"{router_at}.onnx", router_at=router_at))
    return register(uri, local).version


def box_of(answer: dict[str, Any]) -> float:
    (box,) = answer["photos"][0]["boxes"]
    return float(box["box_x"])


def test_as_deployed_it_serves_while_mlflow_is_away_and_follows_when_it_is_back(
    manifests: Manifests, tmp_path: Path
) -> None:
    mlflow, server = Mlflow(manifests, tmp_path), Server(free_port(), "")
    container = container_of(as_server(manifests.get("Deployment", "serving"), server.port))
    places = {"MLOPS_SCRATCH": str(tmp_path / "scratch"), "MLOPS_SERVING_POLL_SECONDS": "0.5", "MLOPS_THREADS": "2"}
    command = Command(
        "serving",
        container["args"],
        settings(tmp_path, mlflow.uri, **{**manifests.settings(), **places, "MLOPS_MLFLOW_TRACKING_URI": mlflow.uri}),
        healthy=lambda: server.ask("GET", container["startupProbe"]["httpGet"]["path"]).status == 200,
        folder=tmp_path,
    )
    with ExitStack() as stack:
        with mlflow.up():
            first, second = (registered(tmp_path, mlflow.uri, place) for place in (16, 32))
            registry(mlflow.uri).set_champion(first)
            as_mlflow_serves_it(mlflow.uri, tmp_path)
            stack.enter_context(running(command, tmp_path))
            ready = container["readinessProbe"]["httpGet"]["path"]
            until(lambda: server.ask("GET", ready).status == 200)
            assert server.state()["version"] == first
            assert box_of(server.detect(jpeg()).json()) == 0.375
        until(lambda: bool(server.state()["failure"]))
        assert server.ask("GET", ready).status == 200
        assert box_of(server.detect(jpeg()).json()) == 0.375
        with mlflow.up():
            registry(mlflow.uri).set_champion(second)
            until(lambda: server.state()["version"] == second)
            assert server.state()["failure"] == ""
            assert box_of(server.detect(jpeg()).json()) == 0.625
    assert (tmp_path / "scratch" / "serving-models" / MODEL / second / "onnx" / "model.onnx").is_file()


def as_mlflow_serves_it(uri: str, folder: Path) -> None:
    """`mlflow models serve` on the alias, without a line of ours but the model's."""
    server = Server(free_port(), uri)
    arguments = [
        *("mlflow", "models", "serve", "-m", f"models:/{MODEL}@champion"),
        *("--env-manager", "local", "--port", str(server.port)),
    ]
    command = Command(
        "models-serve",
        arguments,
        basics({"MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(PROJECT)}),
        healthy=lambda: server.ask("GET", "/ping").status == 200,
        folder=folder,
    )
    with running(command, folder):
        photo = base64.b64encode(jpeg()).decode()
        body = json.dumps({"dataframe_records": [{"photo": photo}], "params": {"confidence": 0.56}}).encode()
        answer = server.ask("POST", "/invocations", body, "application/json")
        assert answer.status == 200, answer.body[:1000]
        (prediction,) = answer.json()["predictions"]
        assert [(box["class_name"], box["threshold"]) for box in prediction["boxes"]] == [("router", 0.56)]
