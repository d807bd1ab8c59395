"""The commands that the README gives, run as a reader would run them."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from resources.settings import PROJECT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")

RUN_BY_CI = {"check", "test", "test-production", "test-label-studio"}
RUN_NIGHTLY = {"production-rehearsal", "fault-table"}
STARTED_BY_TESTS = {"label-studio"}
RUN_HERE = {"demo", "ui", "mlflow", "serve", "validate", "help"}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Nothing of this machine's own instance is touched."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLOPS_", "DAGSTER_", "MAKE"))}
    return {**kept, "MLOPS_HOME": str(tmp_path)}


def make(environment: dict[str, str], *arguments: str, timeout: float = 300) -> str:
    done = subprocess.run(
        ["make", *arguments],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_every_command_of_the_readme_is_run_by_ci_or_here() -> None:
    blocks = re.findall(r"```sh\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)
    commands = [line.split("#")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]
    assert commands
    assert all(command.startswith("make ") for command in commands), commands
    assert {command.split()[1] for command in commands} == RUN_BY_CI | RUN_NIGHTLY | STARTED_BY_TESTS | RUN_HERE
    script = (PROJECT / ".ci" / "run").read_text()
    assert all(f"make {target}\n" in script for target in RUN_BY_CI)
    nightly = (PROJECT / ".github" / "workflows" / "nightly.yaml").read_text()
    assert all(f"make {target}" in nightly for target in RUN_NIGHTLY)


def test_what_starts_label_studio_is_what_its_tests_start() -> None:
    recipe = (PROJECT / "Makefile").read_text().partition("\nlabel-studio:")[2].splitlines()[1]
    server = (PROJECT / "tests" / "labelling" / "label_studio_server.py").read_text()
    assert "-m scripts.label_studio --home" in recipe
    assert '"-m", "scripts.label_studio", "--home"' in server


def test_help_names_every_target(environment: dict[str, str]) -> None:
    listed = make(environment, "help")
    for target in RUN_BY_CI | STARTED_BY_TESTS | RUN_HERE - {"help"}:
        assert f"make {target} " in listed


def test_the_definitions_validate_under_both_profiles(environment: dict[str, str]) -> None:
    output = make(environment, "validate")
    assert output.count("dagster definitions validate") == 2


@contextmanager
def serving(environment: dict[str, str], target: str, port_variable: str) -> Iterator[str]:
    """A target that serves a page, on a free port, ended with everything that it started."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen(
        ["make", target],
        cwd=PROJECT,
        env={**environment, port_variable: str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            end(psutil.Process(process.pid))


def end(top: psutil.Process) -> None:
    """Interrupt a process tree as Ctrl-C does, and kill what is left of it after a while."""
    tree = [top, *top.children(recursive=True)]
    for process in tree:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGINT)
    _, alive = psutil.wait_procs(tree, timeout=30)
    for process in alive:
        process.kill()


def answers(address: str, seconds: float = 120) -> str:
    """The page at an address, once its server is up."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310 a server of ours on loopback
                return answer.read().decode()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            assert time.monotonic() < deadline, f"{address} did not answer in {seconds:.0f} s"
            time.sleep(1)


def ask(address: str, query: str) -> dict:
    request = urllib.request.Request(  # noqa: S310 a server of ours on loopback
        f"{address}/graphql", json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return json.load(answer)["data"]


QUERY = """{
  repositoriesOrError { ... on RepositoryConnection { nodes {
    schedules { name scheduleState { status } }
    sensors { name sensorState { status } }
    assetNodes { assetKey { path } }
  } } }
  instance { daemonHealth { allDaemonStatuses { daemonType healthy required } } }
}"""


def test_the_ui_starts_with_graph_schedule_sensors_and_daemon(environment: dict[str, str]) -> None:
    with serving(environment, "ui", "PORT") as address:
        answers(f"{address}/server_info")
        deadline = time.monotonic() + 60
        while True:
            data = ask(address, QUERY)
            daemons = {d["daemonType"]: d for d in data["instance"]["daemonHealth"]["allDaemonStatuses"]}
            if data["repositoriesOrError"]["nodes"] and daemons["SENSOR"]["healthy"]:
                break
            assert time.monotonic() < deadline, "the daemon did not come up in a minute"
            time.sleep(1)
    (repository,) = data["repositoriesOrError"]["nodes"]
    assert len(repository["assetNodes"]) == 16
    assert {(s["name"], s["scheduleState"]["status"]) for s in repository["schedules"]} == {
        ("nightly_ingestion", "RUNNING")
    }
    assert {s["sensorState"]["status"] for s in repository["sensors"]} == {"RUNNING"}


def test_mlflows_page_starts(environment: dict[str, str]) -> None:
    with serving(environment, "mlflow", "MLFLOW_PORT") as address:
        assert answers(f"{address}/health") == "OK"


def test_the_live_server_starts_and_waits_for_a_champion(environment: dict[str, str]) -> None:
    with serving(environment, "serve", "SERVE_PORT") as address:
        answers(f"{address}/ping")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{address}/ready", timeout=30)  # noqa: S310 a server of ours on loopback
        state = json.load(refused.value)
    assert (refused.value.code, state["model"], state["version"]) == (503, "enclosures-detector", None)


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_demo_tells_its_story_and_a_second_time_changes_nothing(
    environment: dict[str, str], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    arguments = ("demo", f"DEMO=--out {output}")
    make(environment, *arguments, timeout=1200)
    first = json.loads((output / "summary.json").read_text())
    photos = first["photos"]
    assert photos["landed"] == photos["accepted"] + photos["duplicate"] + photos["quarantined"] > 0
    assert first["retrain"]["triggered_by"] == "new_equipment_classes"
    assert first["retrain"]["new_classes"]
    make(environment, *arguments, timeout=1200)
    second = json.loads((output / "summary.json").read_text())
    assert second["seconds"] < first["seconds"] / 2
    for name in ("photos", "models", "retrain", "catalogue"):
        assert second[name] == first[name], name
