"""Which version of a registered model an alias names, asked without importing mlflow (3.5 s).

For what asks often, such as sensors and the live endpoint. Everything else about versions belongs in
`model_registry.py`. A server is asked by its REST API, a database by the table that MLflow keeps aliases in.
"""

import base64
import http.client
import json
import sqlite3
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

from resources.mlflow_address import MlflowUnavailableError, credentials, scheme, shown, sqlite_file

_TABLE = "registered_model_aliases"
_QUERY = f"SELECT version FROM {_TABLE} WHERE workspace = 'default' AND name = {{}} AND alias = {{}}"  # noqa: S608
"""MLflow keeps everything in the workspace `default` unless a server is started with workspaces."""


def alias_version(tracking_uri: str, model_name: str, alias: str, timeout: float = 10.0) -> str | None:
    """The version that an alias names.

    It asks once and does not wait for an MLflow that is away: a caller that asks often asks again anyway.

    Args:
        tracking_uri: `sqlite:///<file>`, `postgresql://…` or `http(s)://…`; user and password may stand in it.
        model_name: The registered model.
        alias: Such as `champion`.
        timeout: Seconds to wait, for the connection and for an answer each.

    Returns:
        MLflow's number as text; None where the model, its alias, or the SQLite file is not there (yet).

    Raises:
        MlflowUnavailableError: MLflow cannot be reached, or what answers is no MLflow.
        ValueError: The address is of another kind.
    """
    kind = scheme(tracking_uri)
    if kind == "sqlite":
        return _of_file(tracking_uri, model_name, alias, timeout)
    if kind == "postgresql":
        return _of_database(tracking_uri, model_name, alias, timeout)
    return _of_server(tracking_uri, model_name, alias, timeout)


def _of_file(tracking_uri: str, model_name: str, alias: str, timeout: float) -> str | None:
    file = sqlite_file(tracking_uri)
    if file is None:
        raise ValueError(f"MLflow address {tracking_uri!r} names no file; it is sqlite:///<file>")
    if not file.is_file():
        return None
    try:
        with closing(_read_only(file, timeout)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if _TABLE in tables:
                return _text(connection.execute(_QUERY.format("?", "?"), (model_name, alias)).fetchone())
    except sqlite3.Error as error:
        raise MlflowUnavailableError(tracking_uri, error) from error
    if tables and "experiments" not in tables:
        raise MlflowUnavailableError(tracking_uri, "the file is another program's database")
    return None  # MLflow is still making its tables


def _read_only(file: Path, timeout: float) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(file.resolve()))}?mode=ro", uri=True, timeout=timeout)


def _of_database(tracking_uri: str, model_name: str, alias: str, timeout: float) -> str | None:
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    engine = create_engine(tracking_uri, poolclass=NullPool, connect_args=_bounds(timeout))
    # Within the transaction, since `options` of the connection would replace those of the address.
    bound = f"SET LOCAL statement_timeout = {_milliseconds(timeout)}"
    try:
        with engine.connect() as connection:
            connection.execute(text(bound))
            asked = {"name": model_name, "alias": alias}
            return _text(connection.execute(text(_QUERY.format(":name", ":alias")), asked).fetchone())
    except SQLAlchemyError as error:
        raise MlflowUnavailableError(tracking_uri, getattr(error, "orig", None) or error) from error


def _bounds(timeout: float) -> dict[str, int]:
    """Of PostgreSQL's client: for the connection, and for a machine that went away under it."""
    return {"connect_timeout": max(2, int(timeout)), "tcp_user_timeout": _milliseconds(timeout)}


def _milliseconds(timeout: float) -> int:
    return max(1, int(timeout * 1000))


def _of_server(tracking_uri: str, model_name: str, alias: str, timeout: float) -> str | None:
    request = _request(tracking_uri, model_name)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310 - the scheme was looked at
            aliases = json.load(answer)["registered_model"].get("aliases", [])
            return next((str(entry["version"]) for entry in aliases if entry["alias"] == alias), None)
    except urllib.error.HTTPError as error:
        if error.code == http.client.NOT_FOUND and _error_code(error) == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise MlflowUnavailableError(tracking_uri, f"HTTP {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise MlflowUnavailableError(tracking_uri, error) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MlflowUnavailableError(tracking_uri, f"no answer of MLflow: {error!r}") from error


def _request(tracking_uri: str, model_name: str) -> urllib.request.Request:
    parts = urlsplit(tracking_uri)
    question = f"/api/2.0/mlflow/registered-models/get?{urlencode({'name': model_name})}"
    request = urllib.request.Request(shown(tracking_uri) + question)  # noqa: S310 - http or https, see `scheme`
    if known := credentials(parts):
        encoded = base64.b64encode(":".join(map(unquote, known)).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {encoded}")  # for nobody else's server
    return request


def _error_code(error: urllib.error.HTTPError) -> str | None:
    try:
        return str(json.load(error).get("error_code"))
    except (ValueError, AttributeError):
        return None  # a page of somebody else's


def _text(row: Any) -> str | None:
    return None if row is None else str(row[0])
