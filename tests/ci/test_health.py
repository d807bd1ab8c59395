"""Health as a real Dagster webserver and real HTTP servers tell it."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from scripts.ci import health

GOOD = "import dagster as dg\n\n\n@dg.asset\ndef photo():\n    pass\n\n\ndefs = dg.Definitions([photo])\n"
BAD = "import no_such_module\n"


@contextmanager
def answering(status: int, body: str) -> Iterator[str]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def dagster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a webserver with a code location that loads and one that does not."""
    folder = tmp_path_factory.mktemp("dagster")
    (folder / "good.py").write_text(GOOD)
    (folder / "bad.py").write_text(BAD)
    (folder / "workspace.yaml").write_text("load_from:\n- python_file: good.py\n- python_file: bad.py\n")
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["dagster-webserver", "-h", "127.0.0.1", "-p", str(port), "-w", "workspace.yaml"]
    environment = {**os.environ, "DAGSTER_HOME": str(folder)}
    program = str(Path(sys.executable).with_name(command[0]))
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen([program, *command[1:]], cwd=folder, env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            address = f"http://127.0.0.1:{port}"
            health.eventually(lambda: health.mlflow(f"{address}/server_info?"), 120, 0.2)
            yield address
        finally:
            process.terminate()


def test_a_real_webserver_s_broken_location_and_silent_daemons_are_told(dagster: str) -> None:
    with pytest.raises(health.UnhealthyError) as complaint:
        health.webserver(dagster, 3)
    said = str(complaint.value)
    assert "code location bad.py: LOADED" in said
    assert "no_such_module" in said
    assert "good.py" not in said
    assert "2 code locations instead of 3" in said
    assert "no heartbeat of" in said  # no daemon runs here
    assert "SCHEDULER" in said


def test_another_server_is_not_taken_for_dagster() -> None:
    with answering(200, "{}") as address, pytest.raises(health.UnhealthyError, match="is not Dagster's"):
        health.webserver(address, 1)


def test_a_server_s_error_is_told_and_a_good_answer_is_not() -> None:
    with answering(500, "no database") as address, pytest.raises(health.UnhealthyError, match="500"):
        health.mlflow(address)
    with answering(200, "OK") as address:
        health.mlflow(address)


def test_a_port_without_a_server_is_unhealthy() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(health.UnhealthyError, match="refused"):
            health.mlflow(f"http://127.0.0.1:{closed.getsockname()[1]}")


def test_waiting_ends_with_the_last_complaint() -> None:
    complaints = iter(["first", "second", "third"])

    def check() -> None:
        raise health.UnhealthyError(next(complaints))

    with pytest.raises(health.UnhealthyError, match="second"):
        health.eventually(check, 0.3, 0.2)


def test_all_well_is_no_problem_and_an_error_of_the_query_is_one() -> None:
    location = {"loadStatus": "LOADED", "locationOrLoadError": {"__typename": "RepositoryLocation"}}
    daemons = [{"daemonType": "SENSOR", "required": True, "healthy": True}]
    workspace = {"__typename": "Workspace", "locationEntries": [{"name": "enclosures", **location}]}
    data = {"workspaceOrError": workspace, "instance": {"daemonHealth": {"allDaemonStatuses": daemons}}}
    assert health.judge({"data": data}, 1) == []
    assert health.judge({"errors": [{"message": "Cannot query field"}]}, 1) == ["GraphQL: Cannot query field"]
