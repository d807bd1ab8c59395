"""The version behind an alias, asked without mlflow; on a real server and PostgreSQL in test_mlflow_production."""

import http.server
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from rehearsal.processes import free_port
from resources.alias_lookup import alias_version
from resources.mlflow_address import MlflowUnavailableError
from resources.mlflow_client import open_client


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An MLflow of two versions of one model, the first of which is champion."""
    found = f"sqlite:///{tmp_path_factory.mktemp('a folder') / 'mlflow 100%.db'}"
    client = open_client(found)
    client.create_registered_model("racks-detector")
    for _ in range(2):
        client.create_model_version("racks-detector", "file:///somewhere")
    client.set_registered_model_alias("racks-detector", "champion", "1")
    return found


def test_the_alias_names_its_version_and_follows_when_it_moves(uri: str) -> None:
    assert alias_version(uri, "racks-detector", "champion") == "1"
    open_client(uri).set_registered_model_alias("racks-detector", "champion", "2")
    assert alias_version(uri, "racks-detector", "champion") == "2"


def test_what_is_not_there_has_no_version(uri: str, tmp_path: Path) -> None:
    assert alias_version(uri, "racks-detector", "challenger") is None
    assert alias_version(uri, "other-detector", "champion") is None
    assert alias_version(f"sqlite:///{tmp_path / 'mlflow.db'}", "racks-detector", "champion") is None
    assert not (tmp_path / "mlflow.db").exists()


def test_a_database_of_another_program_is_refused_and_one_in_the_making_is_not(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'some.db'}"
    with closing(sqlite3.connect(tmp_path / "some.db")) as connection:
        assert alias_version(uri, "racks-detector", "champion") is None
        connection.execute("CREATE TABLE photos (id)")
        with pytest.raises(MlflowUnavailableError, match="another program's database"):
            alias_version(uri, "racks-detector", "champion")
        connection.execute("CREATE TABLE experiments (id)")  # the first that MLflow makes
        assert alias_version(uri, "racks-detector", "champion") is None
    (tmp_path / "text.db").write_text("no database at all, but a text of some length")
    with pytest.raises(MlflowUnavailableError, match=r"text\.db cannot be asked \(file is not a database"):
        alias_version(f"sqlite:///{tmp_path / 'text.db'}", "racks-detector", "champion")


def test_a_server_that_is_away_is_named_with_the_remedy_and_without_its_password() -> None:
    port = free_port()
    with pytest.raises(MlflowUnavailableError, match="refused") as told:
        alias_version(f"http://user:secret@127.0.0.1:{port}", "racks-detector", "champion")  # pragma: allowlist secret
    assert f"http://127.0.0.1:{port} cannot be asked" in str(told.value)
    assert "operations.md" in str(told.value)
    assert "secret" not in str(told.value)


@contextmanager
def answering(status: int, body: bytes, location: str = "") -> Iterator[tuple[str, list[Any]]]:
    """Some other web server, which keeps the headers that it was sent."""
    seen: list[Any] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers)
            self.send_response(status)
            if location:
                self.send_header("Location", location)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Silent."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}", seen
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, b"<html>a login page</html>", "no answer of MLflow"),
        (200, b"{}", "no answer of MLflow"),
        (200, b"[]", "no answer of MLflow"),
        (200, b'{"registered_model": []}', "no answer of MLflow"),
        (200, b'{"registered_model": {"aliases": ["champion"]}}', "no answer of MLflow"),
        (404, b"<html>nothing here</html>", "HTTP 404"),
        (403, b'{"error_code": "PERMISSION_DENIED"}', "HTTP 403"),
        (503, b"", "HTTP 503"),
    ],
)
def test_what_is_no_answer_of_mlflow_is_no_missing_alias(status: int, body: bytes, words: str) -> None:
    with (
        answering(status, body) as (address, _),
        pytest.raises(MlflowUnavailableError, match=words),
    ):
        alias_version(f"http://{address}", "racks-detector", "champion")


def test_user_and_password_of_the_address_are_sent() -> None:
    body = b'{"registered_model": {"aliases": [{"alias": "champion", "version": "7"}]}}'
    with answering(200, body) as (address, seen):
        with_password = f"http://user:pass%40word@{address}/"  # pragma: allowlist secret
        assert alias_version(with_password, "racks-detector", "champion") == "7"
    assert seen[0]["Authorization"] == "Basic dXNlcjpwYXNzQHdvcmQ="


def test_a_redirection_does_not_take_the_password_with_it() -> None:
    body = b'{"registered_model": {"aliases": [{"alias": "champion", "version": "7"}]}}'
    with answering(200, body) as (other, seen), answering(302, b"", f"http://{other}/") as (address, _):
        with_password = f"http://user:word@{address}/"  # pragma: allowlist secret
        assert alias_version(with_password, "racks-detector", "champion") == "7"
    assert seen[0]["Authorization"] is None


def test_asking_imports_neither_mlflow_nor_sqlalchemy(uri: str) -> None:
    code = (
        "import sys; from resources.alias_lookup import alias_version\n"
        f"assert alias_version({uri!r}, 'racks-detector', 'champion')\n"
        "print([name for name in ('mlflow', 'sqlalchemy', 'requests', 'dagster') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_another_kind_of_address_is_refused() -> None:
    with pytest.raises(ValueError, match="a local one is sqlite:///<file>"):
        alias_version("mlruns", "racks-detector", "champion")
