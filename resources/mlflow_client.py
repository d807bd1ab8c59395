"""Opens MLflow's client, quietly; the one door to MLflow for tracking, statuses and the model registry.

It imports mlflow inside (3.5 s) and sets no global tracking address: every caller says which MLflow it means.
"""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_SCHEMES = ("sqlite", "postgresql", "http", "https")


def open_client(tracking_uri: str) -> Any:
    """A client of the MLflow at an address, for runs and for the model registry.

    Args:
        tracking_uri: `sqlite:///<file>` (made with its tables if it is not there), `postgresql://…` or a server.

    Raises:
        ValueError: The address is of another kind; MLflow would take it for a folder of files.
    """
    if urlsplit(tracking_uri).scheme.split("+")[0] not in _SCHEMES:
        raise ValueError(
            f"MLflow address {tracking_uri!r} is none of {', '.join(_SCHEMES)}; a local one is sqlite:///<file>"
        )
    _import_quietly()
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


def fail_soon() -> None:
    """Have this process's client give up on a server within seconds: for who asks again anyway.

    MLflow's own default is seven tries with growing pauses, minutes in all. Call it before the first client is opened.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")


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
    if not tracking_uri.startswith("sqlite:///"):
        return None
    return str(Path(tracking_uri.removeprefix("sqlite:///")).resolve().parent / "mlartifacts")


def _import_quietly() -> None:
    # MLflow knows these switches only as environment variables; an administrator's own setting stands.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    import mlflow  # noqa: F401  (sets its loggers' levels, which are changed below)

    for chatter in ("alembic", "mlflow.store.db.utils"):  # a line for each table of a new database
        logging.getLogger(chatter).setLevel(logging.WARNING)
