"""Opens MLflow's client, quietly; the one door to MLflow for tracking, statuses and the model registry.

It imports mlflow inside (3.5 s) and sets no global tracking address: every caller says which MLflow it means. What an
MLflow that is away costs is decided here: how long a request is tried again, and what is raised then.
"""

import fcntl
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from resources.mlflow_address import MlflowUnavailableError, is_server, scheme, sqlite_file

T = TypeVar("T")

DATABASE_PATIENCE_S = 60.0
"""How long a database that is locked or away is asked again. A server is asked for about four minutes by MLflow itself:
seven times again after 0, 4, 8, 16, 32, 64 and 120 s (MLFLOW_HTTP_REQUEST_MAX_RETRIES and _BACKOFF_FACTOR)."""

_AWAY = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED")
"""Codes of MLflow's errors that say nothing about the question; a refused connection comes as the first."""

_LOST_RACES = ("UniqueViolation", "UNIQUE constraint failed")
"""Of PostgreSQL and SQLite, where MLflow looked for a tag or alias, found none, and was not the first to add it."""

RACES = 10
"""Times that a write that lost such a race is tried again; then the row is there, and it is changed instead."""

_opened: set[tuple[int, str]] = set()
_hurry = threading.RLock()
_hurried = 0


def open_client(tracking_uri: str) -> Any:
    """A client of the MLflow at an address, for runs and for the model registry.

    Its methods are those of `mlflow.MlflowClient`, and ask again while MLflow is away or its database is locked.

    Args:
        tracking_uri: `sqlite:///<file>` (made with its tables if it is not there), `postgresql://…` or a server.

    Raises:
        ValueError: The address is of another kind; MLflow would take it for a folder of files.
        MlflowUnavailableError: By every method, when MLflow stays away.
    """
    scheme(tracking_uri)
    _import_quietly()
    from mlflow import MlflowClient

    with _alone_at_first(tracking_uri):
        client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
        if scheme(tracking_uri) == "sqlite":
            client.search_registered_models(max_results=1)  # opens the registry's store too
    return _PatientClient(tracking_uri, client)


def patiently(tracking_uri: str, ask: Callable[[], T]) -> T:
    """What a question to MLflow gives, asked again while its database is locked or away, or where a race was lost.

    Raises:
        MlflowUnavailableError: MLflow stays away.
    """
    from mlflow.exceptions import MlflowException

    patience = 0.0 if _hurried or is_server(tracking_uri) else DATABASE_PATIENCE_S
    deadline, pause, races = time.monotonic() + patience, 0.1, 0
    while True:
        try:
            return ask()
        except MlflowException as error:
            if races < RACES and any(words in error.message for words in _LOST_RACES):
                races += 1
            elif error.error_code not in _AWAY:
                raise
            elif time.monotonic() + pause > deadline:
                raise MlflowUnavailableError(tracking_uri, error.message) from error
        time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - spreads those who wait for one lock
        pause = min(2 * pause, 5.0)


@contextmanager
def in_a_hurry(timeout_s: int = 10) -> Iterator[None]:
    """Questions within are asked once, and given up after so many seconds: for whoever cannot wait for minutes.

    MLflow reads its patience from the environment of the process, so it counts for all threads of it meanwhile.
    """
    global _hurried  # noqa: PLW0603 - as process-wide as the environment
    hurry = _asked_once(timeout_s)
    with _hurry:
        before = {name: os.environ.get(name) for name in hurry}
        os.environ.update(hurry)
        _hurried += 1
        try:
            yield
        finally:
            _hurried -= 1
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def _asked_once(timeout_s: int) -> dict[str, str]:
    """MLflow's settings for a server that is asked once and given up after so many seconds."""
    return {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": str(timeout_s)}


class _PatientClient:
    """MLflow's client with `patiently` around each of its methods."""

    def __init__(self, tracking_uri: str, client: Any) -> None:
        self._tracking_uri = tracking_uri
        self._client = client

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if not callable(method):
            return method

        @wraps(method)
        def ask(*arguments: Any, **named: Any) -> Any:
            return patiently(self._tracking_uri, lambda: method(*arguments, **named))

        return ask


@contextmanager
def _alone_at_first(tracking_uri: str) -> Iterator[None]:
    """Let one process at a time open a SQLite file: a client makes its tables, and MLflow takes no lock for that.

    Of eight processes that opened a new file at once, seven failed.
    """
    file, known = sqlite_file(tracking_uri), (os.getpid(), tracking_uri)
    if file is None or known in _opened:
        yield
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_name(f".{file.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            _make_tables(file)
        yield
    _opened.add(known)


def _make_tables(file: Path) -> None:
    """Make MLflow's tables in a file of another name, and name it as asked when they are whole.

    It takes MLflow 3.17 seconds, and it cannot go on with a file whose tables it was killed while making.
    """
    from mlflow.store.tracking import DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    partial = file.with_name(f".{file.name}.partial")
    for left_by_a_kill in (partial, Path(f"{partial}-journal")):
        left_by_a_kill.unlink(missing_ok=True)
    SqlAlchemyStore(f"sqlite:///{partial}", DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH).engine.dispose()
    partial.replace(file)


def fail_soon() -> None:
    """Have this process's client give up on a server within seconds: for who asks again anyway.

    MLflow's own default is seven tries with growing pauses, minutes in all. Call it before the first client is opened.
    """
    for name, value in _asked_once(10).items():
        os.environ.setdefault(name, value)


def ensure_experiment(client: Any, name: str, tracking_uri: str, artifact_location: str | None = None) -> str:
    """The id of the experiment, made if it is not there.

    Args:
        client: What `open_client` gave.
        name: Of the experiment.
        tracking_uri: Where the client is; tells where artifacts go if `artifact_location` does not.
        artifact_location: Folder or object store for the artifacts of a new experiment. Without it a server decides
            itself, and for a SQLite file it is the folder `mlartifacts` beside it (MLflow's own default is the
            working directory, which differs from process to process).

    Raises:
        ValueError: The experiment was deleted in MLflow, which still keeps its name.
    """
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        location = artifact_location or _beside_the_file(tracking_uri)
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            experiment = client.get_experiment_by_name(name)  # another process was faster
    if experiment.lifecycle_stage != "active":
        raise ValueError(
            f"MLflow experiment {name!r} is deleted; restore it (`mlflow experiments restore "
            f"--experiment-id {experiment.experiment_id}`) or name another"
        )
    return str(experiment.experiment_id)


def each(search: Callable[[str | None], Any]) -> Iterator[Any]:
    """Every entry of a paged search.

    Args:
        search: Gives the page for a page token, None for the first.
    """
    token: str | None = None
    while True:
        page = search(token)
        yield from page
        token = page.token
        if not token:
            return


def _beside_the_file(tracking_uri: str) -> str | None:
    file = sqlite_file(tracking_uri)
    return None if file is None else str(file.resolve().parent / "mlartifacts")


def _import_quietly() -> None:
    # MLflow knows these switches only as environment variables; an administrator's own setting stands.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    import mlflow  # noqa: F401  (sets its loggers' levels, which are changed below)

    for chatter in ("alembic", "mlflow.store.db.utils"):  # a line for each table of a new database
        logging.getLogger(chatter).setLevel(logging.WARNING)
