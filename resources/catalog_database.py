"""The catalogue tables as a SQL database that other systems read: an SQLite file or PostgreSQL.

It knows tables and types only; what a catalogue is, the assets say. Parquet tables live elsewhere.
"""

import datetime as dt
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
from pydantic import Field

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Table
    from sqlalchemy.types import TypeEngine

INDEXED_COLUMN = "enclosure_id"
"""A table with this column gets an index on it."""

_BATCH = 10_000  # rows sent at a time
_BUSY_SECONDS = 60  # how long a writer of an SQLite file waits for another one
_TABLE_NAME = re.compile(r"[a-z][a-z0-9_]*")


class CatalogDatabaseError(RuntimeError):
    """A table is missing, or a frame does not fit a database; the message says what to do."""


class CatalogDatabase(dg.ConfigurableResource[None]):
    """Tables `<use_case>_<name>`, replaced together so that a reader sees all old or all new rows, never a mixture.

    Readers of several tables take one transaction (on PostgreSQL with REPEATABLE READ) to see them all of one build.
    Times are stored in UTC, and lists as JSON.
    """

    url: str = Field(description="SQLAlchemy URL: sqlite:///<file> or postgresql+psycopg2://…")
    use_case: str = Field(description="prefix of every table", pattern=r"^[a-z][a-z0-9_]*$")

    def replace_tables(self, tables: Mapping[str, pl.DataFrame]) -> dict[str, int]:
        """Replace the contents of tables in one transaction, creating what is missing.

        A table whose columns are no longer the frame's is dropped and created anew, in the same transaction;
        otherwise rows are deleted and inserted, which leaves grants and views alone.

        Args:
            tables: Frame by table name, without the prefix.

        Returns:
            Rows written by full table name.

        Raises:
            CatalogDatabaseError: A name or a column type that no table can have.
        """
        written: dict[str, int] = {}
        with self._begin() as connection:
            for name, frame in tables.items():
                table = self._prepared(connection, name, frame)
                for batch in frame.iter_slices(_BATCH):
                    connection.execute(table.insert(), batch.to_dicts())
                written[table.name] = len(frame)
        return written

    def read(self, name: str) -> pl.DataFrame:
        """Read a table with the types that it was written with.

        Raises:
            CatalogDatabaseError: There is no such table.
        """
        import sqlalchemy as sa

        full_name = self._full_name(name)
        with self._begin(write=False) as connection:
            if not sa.inspect(connection).has_table(full_name):
                raise CatalogDatabaseError(
                    f"No table {full_name} in the catalogue database: materialise equipment_catalog first"
                )
            table = sa.Table(full_name, sa.MetaData(), autoload_with=connection)
            rows = connection.execute(sa.select(table)).all()
        schema = pl.Schema({column.name: _polars_type(column.type) for column in table.columns})
        values = zip(*rows, strict=True) if rows else [()] * len(schema)
        return pl.DataFrame(
            [
                pl.Series(name, map(_in_utc, cells) if dtype == _UTC else cells, dtype)
                for (name, dtype), cells in zip(schema.items(), values, strict=True)
            ]
        )

    def rows_with(self, text: str, names: Iterable[str]) -> dict[str, int]:
        """Rows that hold a text in any column, by full table name; tables without any, and missing ones, are left out.

        Args:
            text: Compared as it is.
            names: Tables without the prefix.
        """
        import sqlalchemy as sa

        if self._is_missing():
            return {}
        found: dict[str, int] = {}
        with self._begin(write=False) as connection:
            for name in self._present(connection, names):
                table = sa.Table(name, sa.MetaData(), autoload_with=connection)
                holds = sa.or_(*(sa.cast(column, sa.Text).contains(text, autoescape=True) for column in table.columns))
                count = connection.execute(sa.select(sa.func.count()).select_from(table).where(holds)).scalar_one()
                found |= {name: int(count)} if count else {}
        return found

    def compact(self, names: Iterable[str]) -> None:
        """Write tables (without the prefix) anew, so that deleted rows are in none of the database's files any more.

        Backups, and the write-ahead log that a server of PostgreSQL archives, are beyond its reach.
        """
        import sqlalchemy as sa

        if self._is_missing():
            return
        with self._begin(write=False) as connection:
            present = self._present(connection, names)
        engine = self._engine(write=True)
        try:
            if engine.dialect.name == "sqlite":
                raw = engine.raw_connection()  # no transaction may be open
                for statement in ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
                    raw.cursor().execute(statement).close()
                raw.close()
                return
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                for name in present:
                    connection.execute(sa.text(f'VACUUM (FULL) "{name}"'))
        finally:
            engine.dispose()

    def _present(self, connection: "Connection", names: Iterable[str]) -> list[str]:
        import sqlalchemy as sa

        there = sa.inspect(connection).get_table_names()
        return [full_name for name in names if (full_name := self._full_name(name)) in there]

    def _is_missing(self) -> bool:
        import sqlalchemy as sa

        url = sa.make_url(self.url)
        return url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists()

    def _full_name(self, name: str) -> str:
        full_name = f"{self.use_case}_{name}"
        if not _TABLE_NAME.fullmatch(name) or len(full_name) > 63:  # PostgreSQL cuts longer names off
            raise CatalogDatabaseError(
                f"{name!r} is no table name: lower-case letters, digits and _, 63 with the prefix"
            )
        return full_name

    def _prepared(self, connection: "Connection", name: str, frame: pl.DataFrame) -> "Table":
        """Give the table, empty and with the columns of the frame."""
        import sqlalchemy as sa

        full_name = self._full_name(name)
        columns = [sa.Column(column, _sql_type(full_name, column, dtype)) for column, dtype in frame.schema.items()]
        table = sa.Table(full_name, sa.MetaData(), *columns)
        if INDEXED_COLUMN in frame.columns:
            sa.Index(f"ix_{full_name}"[:63], table.c[INDEXED_COLUMN])
        if not sa.inspect(connection).has_table(full_name):
            table.create(connection)
            return table
        present = sa.Table(full_name, sa.MetaData(), autoload_with=connection)
        if _columns(present, connection) == _columns(table, connection):
            connection.execute(table.delete())
        else:
            present.drop(connection)
            table.create(connection)
        return table

    @contextmanager
    def _begin(self, *, write: bool = True) -> Iterator["Connection"]:
        """Open one transaction; two writers of one use case follow one another."""
        import sqlalchemy as sa

        engine = self._engine(write=write)
        try:
            with engine.begin() as connection:
                if write and engine.dialect.name == "postgresql":
                    lock = sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(f"catalog {self.use_case}")))
                    connection.execute(lock)
                yield connection
        finally:
            engine.dispose()

    def _engine(self, *, write: bool) -> "Engine":
        import sqlalchemy as sa

        url = sa.make_url(self.url)
        if url.get_backend_name() != "sqlite":
            return sa.create_engine(url)
        if url.database in (None, "", ":memory:"):
            raise CatalogDatabaseError(f"{self.url!r} names no file: use sqlite:///<path>")
        file = Path(str(url.database))
        if write:
            file.parent.mkdir(parents=True, exist_ok=True)
        elif not file.exists():
            raise CatalogDatabaseError(f"No catalogue database {file}: materialise equipment_catalog first")
        engine = sa.create_engine(url, connect_args={"timeout": _BUSY_SECONDS})
        _use_real_transactions(engine, begin="BEGIN IMMEDIATE" if write else "BEGIN")
        return engine


_UTC = pl.Datetime("us", "UTC")


def _use_real_transactions(engine: "Engine", begin: str) -> None:
    """Make table creation part of the transaction, and let readers go on while one writes.

    The sqlite3 module starts transactions late, before the first INSERT only; this is SQLAlchemy's documented remedy.
    Write-ahead logging keeps the old contents readable until the commit.
    """
    import sqlalchemy as sa

    def on_connect(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL").close()

    def on_begin(connection: "Connection") -> None:
        connection.exec_driver_sql(begin)

    sa.event.listen(engine, "connect", on_connect)
    sa.event.listen(engine, "begin", on_begin)


def _sql_type(table: str, column: str, dtype: pl.DataType) -> "TypeEngine[Any]":
    import sqlalchemy as sa

    types: dict[pl.DataType, TypeEngine[Any]] = {
        pl.String(): sa.Text(),
        pl.Int32(): sa.Integer(),
        pl.Int64(): sa.BigInteger(),
        pl.Float64(): sa.Double(),
        pl.Boolean(): sa.Boolean(),
        pl.Date(): sa.Date(),
        _UTC: sa.DateTime(timezone=True),
        pl.List(pl.String()): sa.JSON(none_as_null=True),
    }
    if dtype not in types:
        known = ", ".join(map(str, types))
        raise CatalogDatabaseError(f"{table}.{column} is {dtype}; the catalogue database holds {known}: cast it")
    return types[dtype]


def _polars_type(sql_type: "TypeEngine[Any]") -> pl.DataType:
    import sqlalchemy as sa

    types: list[tuple[type[TypeEngine[Any]], pl.DataType]] = [
        (sa.BigInteger, pl.Int64()),  # before Integer, whose subclass it is; likewise below
        (sa.Integer, pl.Int32()),
        (sa.Double, pl.Float64()),
        (sa.Boolean, pl.Boolean()),
        (sa.DateTime, _UTC),
        (sa.Date, pl.Date()),
        (sa.JSON, pl.List(pl.String())),
        (sa.String, pl.String()),
    ]
    for kind, dtype in types:
        if isinstance(sql_type, kind):
            return dtype
    raise CatalogDatabaseError(f"A column of SQL type {sql_type} was not written by this catalogue")


def _columns(table: "Table", connection: "Connection") -> list[tuple[str, str]]:
    return [(column.name, column.type.compile(connection.dialect)) for column in table.columns]


def _in_utc(time: dt.datetime | None) -> dt.datetime | None:
    """PostgreSQL answers in the session's time zone, SQLite without any."""
    if time is None:
        return None
    return time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)
