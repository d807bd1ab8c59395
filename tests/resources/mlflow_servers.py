"""Real MLflow servers for tests: started, stopped and started again on their port."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rehearsal.environment import answers, basics
from rehearsal.processes import Command, Service, free_port, running


@dataclass(frozen=True)
class ServerPlace:
    """Where a server listens and keeps its things; `variables` for what its store of artifacts needs."""

    port: int
    backend: str
    artifacts: str
    variables: Mapping[str, str]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def command(self) -> list[str]:
        """As in k8s/base/services/mlflow.yaml, but for the number of workers."""
        arguments = ("--host", "127.0.0.1", "--port", str(self.port), "--workers", "1", "--serve-artifacts")
        return [sys.executable, "-m", "mlflow", "server", *arguments]

    @property
    def environment(self) -> dict[str, str]:
        more = {
            "MLFLOW_BACKEND_STORE_URI": self.backend,
            "MLFLOW_ARTIFACTS_DESTINATION": self.artifacts,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        return basics(self.variables, more)


def file_place(folder: Path) -> ServerPlace:
    """On a SQLite file and a folder."""
    return ServerPlace(free_port(), f"sqlite:///{folder / 'mlflow.db'}", str(folder / "artifacts"), {})


@contextmanager
def serving(place: ServerPlace, folder: Path) -> Iterator[Service]:
    """The server while it runs; leaving ends it, and a later call starts it again on the same port."""
    healthy = answers(f"{place.address}/health", "OK")
    command = Command("mlflow", place.command, place.environment, healthy, timeout=300.0, folder=folder)
    with running(command, folder) as service:
        yield service
