"""Whether a deployment works: asked of its servers, not of Kubernetes."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

REQUEST_TIMEOUT_S = 20.0
PAUSE_S = 2.0
QUERY = """
query Health {
  workspaceOrError {
    __typename
    ... on Workspace {
      locationEntries { name loadStatus locationOrLoadError { __typename ... on PythonError { message } } }
    }
    ... on PythonError { message }
  }
  instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } }
}
"""


class UnhealthyError(RuntimeError):
    """A server does not answer as it should; the message says which, and what it said."""


def mlflow(address: str) -> None:
    """MLflow's server answers.

    Raises:
        UnhealthyError: It does not.
    """
    _fetch(f"{address}/health")


def webserver(address: str, locations: int) -> None:
    """Dagster's webserver answers, has loaded every code location, and hears its daemons.

    Raises:
        UnhealthyError: It does not, has fewer locations, or misses a daemon.
    """
    if "dagster_webserver_version" not in json.loads(_fetch(f"{address}/server_info")):
        raise UnhealthyError(f"{address}/server_info is not Dagster's")
    answer = json.loads(_fetch(f"{address}/graphql", {"query": QUERY}))
    if problems := judge(answer, locations):
        raise UnhealthyError("; ".join(problems))


def judge(answer: dict[str, Any], locations: int) -> list[str]:
    """What is wrong in the answer to `QUERY`."""
    if "errors" in answer:
        return [f"GraphQL: {entry['message']}" for entry in answer["errors"]]
    workspace = answer["data"]["workspaceOrError"]
    if workspace["__typename"] != "Workspace":
        return [f"no workspace: {workspace.get('message', workspace['__typename'])}"]
    entries = workspace["locationEntries"]
    problems = [problem for entry in entries if (problem := _problem(entry))]
    if len(entries) < locations:
        problems.append(f"{len(entries)} code locations instead of {locations}")
    daemons = answer["data"]["instance"]["daemonHealth"]["allDaemonStatuses"]
    silent = sorted(entry["daemonType"] for entry in daemons if entry["required"] and not entry["healthy"])
    return problems + ([f"no heartbeat of {', '.join(silent)}"] if silent else [])


def eventually(check: Callable[[], None], seconds: float, pause: float = PAUSE_S) -> None:
    """Repeat a check until it passes.

    Raises:
        UnhealthyError: The last complaint, if it never passed in time.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return check()
        except UnhealthyError:
            if time.monotonic() + pause > deadline:
                raise
        time.sleep(pause)


def _problem(entry: dict[str, Any]) -> str:
    found = entry["locationOrLoadError"] or {"__typename": "nothing"}
    if entry["loadStatus"] == "LOADED" and found["__typename"] == "RepositoryLocation":
        return ""
    return f"code location {entry['name']}: {entry['loadStatus']}, {found.get('message', found['__typename'])}".strip()


def _fetch(address: str, body: dict[str, str] | None = None) -> bytes:
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})  # noqa: S310 loopback
    try:
        with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_S) as answer:  # noqa: S310 loopback
            content: bytes = answer.read()
            return content
    except OSError as error:  # refused, timed out, or a status of 400 and above
        raise UnhealthyError(f"{address}: {error}") from error
