"""Takes what Dagster's event log says about a photo out of it: pictures, rows of previews, messages; for erasure only.

Events of assets embed previews of tables and sample pictures as text. Deleting the events would lose which partition
was made, when, by which code; so only the texts are replaced, each as a whole, and all else of the event stays.
Dagster offers no such thing: this reads and writes the tables of its storage, SQLite or PostgreSQL.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import dagster as dg

if TYPE_CHECKING:
    from sqlalchemy import Column, Connection, Table

REPLACEMENT = "(removed: it was about a photo that has been erased)"


class EventLogError(RuntimeError):
    """The instance keeps its events in a way that cannot be searched."""


def redact(instance: dg.DagsterInstance, texts: Sequence[str], *, dry_run: bool = False) -> int:
    """Replace every text of the event log that holds one of some texts.

    Args:
        instance: Whose events.
        texts: What gives a photo away, such as the beginning of its photo_id; compared as they are.
        dry_run: Count only.

    Returns:
        Events and records that held one.

    Raises:
        EventLogError: The instance keeps its events elsewhere than in a SQL database.
    """
    changed = 0
    for connection in _connections(instance):
        with connection as opened:
            if opened.dialect.name == "sqlite":  # otherwise what is replaced stays in the file's free pages
                opened.exec_driver_sql("PRAGMA secure_delete = ON")
            changed += sum(
                _redact_column(opened, table, column, texts, dry_run) for table, column in _columns_with_events(opened)
            )
    return changed


def without_texts(value: Any, texts: Sequence[str]) -> Any:
    """A decoded JSON value with every string replaced that holds one of the texts; keys stay."""
    if isinstance(value, str):
        return REPLACEMENT if any(text in value for text in texts) else value
    if isinstance(value, list):
        return [without_texts(item, texts) for item in value]
    if isinstance(value, dict):
        return {key: without_texts(item, texts) for key, item in value.items()}
    return value


def _connections(instance: dg.DagsterInstance) -> Iterator["AbstractContextManager[Connection]"]:
    """SQLite keeps the events of each run in a file of its own, and those of assets in one more."""
    storage: Any = instance.event_log_storage
    if not hasattr(storage, "index_connection"):
        raise EventLogError(f"{type(storage).__name__} is no SQL event log: remove the photo from it by hand")
    yield storage.index_connection()
    if hasattr(storage, "path_for_shard"):
        for run_id in storage.get_all_run_ids():
            yield storage.run_connection(run_id)


def _columns_with_events(connection: "Connection") -> Iterable[tuple["Table", "Column[Any]"]]:
    import sqlalchemy as sa
    from dagster._core.storage.event_log.schema import (
        AssetCheckExecutionsTable,
        AssetKeyTable,
        SqlEventLogStorageTable,
    )

    there = sa.inspect(connection).get_table_names()
    columns = (
        (SqlEventLogStorageTable, SqlEventLogStorageTable.c.event),
        (AssetKeyTable, AssetKeyTable.c.last_materialization),
        (AssetCheckExecutionsTable, AssetCheckExecutionsTable.c.evaluation_event),
    )
    return [(table, column) for table, column in columns if table.name in there]


def _redact_column(
    connection: "Connection", table: "Table", column: "Column[Any]", texts: Sequence[str], dry_run: bool
) -> int:
    import sqlalchemy as sa

    spelt = [json.dumps(text)[1:-1] for text in texts]
    holds = sa.or_(*(column.contains(text, autoescape=True) for text in spelt))
    changed = 0
    for number, content in connection.execute(sa.select(table.c.id, column).where(holds)).all():
        redacted = json.dumps(without_texts(json.loads(content), texts))
        if redacted != json.dumps(json.loads(content)):
            changed += 1
            if not dry_run:
                connection.execute(table.update().where(table.c.id == number).values({column.name: redacted}))
    return changed
