"""Deployment and rollback of the project's real manifests, from git, with a test double of kubectl.

The servers' answers come from a stand-in over real HTTP. No cluster is part of this.
"""

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from scripts.ci.deploy import FAILED, ROLLBACK_FAILED, Deployer, Patience, Release
from scripts.ci.kubectl import Kubectl
from scripts.ci.overlay import ROOT

OVERLAY = "prod-cpu"
LOADED = {"loadStatus": "LOADED", "locationOrLoadError": {"__typename": "RepositoryLocation"}}
BROKEN = {"loadStatus": "LOADED", "locationOrLoadError": {"__typename": "PythonError", "message": "No module named x"}}


def images(letter: str) -> dict[str, str]:
    names = ("enclosure-catalog-cpu", "enclosure-catalog-gpu")
    return {name: f"registry.test/{name}@sha256:{letter * 64}" for name in names}


def git(repository: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(repository), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifests in a repository of two commits, `first` and `second`; the second sets something else."""
    folder = tmp_path_factory.mktemp("repository")
    shutil.copytree(ROOT / "k8s", folder / "k8s")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "k8s")
    git(folder, "commit", "-q", "-m", "first")
    git(folder, "tag", "first")
    with (folder / "k8s" / "overlays" / OVERLAY / "settings.env").open("a") as settings:
        settings.write("MLOPS_SENSOR_INTERVAL=77\n")
    git(folder, "commit", "-q", "-a", "-m", "second")
    git(folder, "tag", "second")
    return folder


class Cluster:
    """What the double was told and what it has seen."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.sick: set[str] = set()
        (state / "migration").write_text("Complete")

    def object(self, kind: str, name: str) -> dict:
        return json.loads((self.state / "objects" / f"{kind}.{name}.json").read_text())

    def image(self, deployment: str) -> str:
        return self.object("deployment", deployment)["spec"]["template"]["spec"]["containers"][0]["image"]

    def calls(self, *beginning: str) -> list[str]:
        lines = [line.split(" ", 2)[2] for line in (self.state / "calls").read_text().splitlines()]
        return [line for line in lines if line.startswith(" ".join(beginning))]

    def location(self) -> dict:
        return BROKEN if self.image("code-enclosures") in self.sick else LOADED

    def answer(self, path: str) -> str:
        if path == "/graphql":
            workspace = {"__typename": "Workspace", "locationEntries": [{"name": "enclosures", **self.location()}]}
            daemons = {"daemonHealth": {"allDaemonStatuses": []}}
            return json.dumps({"data": {"workspaceOrError": workspace, "instance": daemons}})
        return {"/server_info": '{"dagster_webserver_version": "1"}', "/health": "OK"}[path]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path)

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(cluster.answer(self.path).encode())

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("KUBECTL_STATE", str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        (tmp_path / "port").write_text(str(server.server_port))
        yield cluster
        server.shutdown()


@pytest.fixture
def deployer(cluster: Cluster, repository: Path, tmp_path: Path) -> Deployer:
    program = tmp_path / "kubectl"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).with_name("kubectl_double.py")} "$@"\n')
    program.chmod(0o755)
    return Deployer(Kubectl("enclosure-catalog", str(program)), Patience(5, 5, 1), repository)


FIRST = Release("first", OVERLAY, images("a"))
SECOND = Release("second", OVERLAY, images("b"))
SERVERS = ("dagster-webserver", "dagster-daemon", "code-enclosures", "mlflow")


def test_a_first_deployment_goes_through_the_phases_and_is_recorded(deployer: Deployer, cluster: Cluster) -> None:
    assert deployer.deploy(FIRST) == 0
    assert {cluster.image(name) for name in SERVERS} == {images("a")["enclosure-catalog-cpu"]}
    settings = cluster.object("configmap", "catalog-settings")["data"]
    assert (settings["MLOPS_CPU_IMAGE"], settings["MLOPS_GPU_IMAGE"]) == tuple(images("a").values())
    assert deployer.recorded() == FIRST
    order = [line.split(" ")[0] for line in cluster.calls()]
    assert order[:5] == ["get", "apply", "delete", "apply", "get"]  # record, foundation, old Job, new Job, its end
    assert len(cluster.calls("rollout status")) == 5


def test_the_second_replaces_the_first_and_restarts_for_a_changed_setting(deployer: Deployer, cluster: Cluster) -> None:
    deployer.deploy(FIRST)
    assert cluster.calls("rollout restart") == []
    assert deployer.deploy(SECOND) == 0
    assert {cluster.image(name) for name in SERVERS} == {images("b")["enclosure-catalog-cpu"]}
    assert cluster.object("configmap", "catalog-settings")["data"]["MLOPS_SENSOR_INTERVAL"] == "77"
    assert len(cluster.calls("rollout restart")) == 1
    assert deployer.recorded() == SECOND


@pytest.mark.parametrize("fault", ["never ready", "code location does not load", "migration fails"])
def test_what_fails_is_rolled_back_to_the_digests_and_manifests_before(
    fault: str, deployer: Deployer, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    deployer.deploy(FIRST)
    bad = SECOND.images["enclosure-catalog-cpu"]
    if fault == "never ready":
        (cluster.state / "broken").write_text(bad)
    elif fault == "code location does not load":
        cluster.sick.add(bad)
    else:
        (cluster.state / "migration").write_text("Failed")
    assert deployer.deploy(SECOND) == FAILED
    assert {cluster.image(name) for name in SERVERS} == {images("a")["enclosure-catalog-cpu"]}
    settings = cluster.object("configmap", "catalog-settings")["data"]
    assert settings["MLOPS_GPU_IMAGE"] == images("a")["enclosure-catalog-gpu"]
    assert settings.get("MLOPS_SENSOR_INTERVAL") != "77"
    assert deployer.recorded() == FIRST
    said = capsys.readouterr().out
    expected = {"never ready": "progress deadline", "code location does not load": "No module named x"}
    assert expected.get(fault, "Job catalog-migrate failed: no such table") in said
    assert "first is back and healthy" in said


def test_a_rollback_that_fails_too_says_so(deployer: Deployer, cluster: Cluster, capsys) -> None:
    deployer.deploy(FIRST)
    (cluster.state / "broken").write_text("\n".join([*images("a").values(), *images("b").values()]))
    assert deployer.deploy(SECOND) == ROLLBACK_FAILED
    assert "The rollback to first does not work either" in capsys.readouterr().out
    assert deployer.recorded() == FIRST


def test_a_failing_first_deployment_has_nothing_to_return_to(deployer: Deployer, cluster: Cluster, capsys) -> None:
    (cluster.state / "broken").write_text(images("a")["enclosure-catalog-cpu"])
    assert deployer.deploy(FIRST) == ROLLBACK_FAILED
    assert "No release before this one is recorded" in capsys.readouterr().out
    assert deployer.recorded() is None
