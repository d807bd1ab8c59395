"""Tables as Parquet files, one a partition: Dagster's way in and out, and reading by name for what lineage cannot say.

`ParquetTables` is the IO manager of every asset that returns a table. `Tables` reads and writes the same files by
name: an append-only asset its own last version, a check the quarantine beside a table. Schemas are given by the
caller; this module knows no table.
"""

import datetime as dt
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_origin

import dagster as dg
import polars as pl

from resources.atomic_write import write_atomically
from resources.locations import location
from resources.tombstones import Tombstones

if TYPE_CHECKING:
    from upath import UPath

Schemas = Mapping[str, Mapping[str, pl.DataType]]

Forget = Callable[[str, pl.DataFrame, Mapping[str, dt.datetime]], pl.DataFrame]
"""Takes a table's name, its rows and when each erased photo was erased, by photo_id; gives what may be kept."""

CODE_VERSION, RUN_ID = "dagster/code_version", "dagster/run_id"
"""In the Parquet metadata of every asset's table: what it was made by, also for who has only the file."""


class SchemaError(ValueError):
    """A table does not have the columns that are declared for it."""


def conform(frame: pl.DataFrame, name: str, schemas: Schemas) -> pl.DataFrame:
    """Order the columns as declared and check their types.

    Raises:
        SchemaError: Columns are missing, unknown or of another type.
    """
    if name not in schemas:
        raise SchemaError(f"No schema is declared for the table {name}; add it to mlops_assets/tables.py")
    declared = schemas[name]
    missing = [column for column in declared if column not in frame.columns]
    unknown = [column for column in frame.columns if column not in declared]
    wrong = [
        f"{column} is {frame.schema[column]}, not {dtype}"
        for column, dtype in declared.items()
        if column in frame.columns and frame.schema[column] != dtype
    ]
    if missing or unknown or wrong:
        raise SchemaError(f"Table {name}: missing {missing}, unknown {unknown}, wrong type {wrong}")
    return frame.select(list(declared))


def write_parquet(frame: pl.DataFrame, path: "UPath", made_by: Mapping[str, str] | None = None) -> None:
    """Write a table so that a reader sees the old file or the new one, never a part; `made_by` stays with it."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", metadata=dict(made_by or {}))
    write_atomically(path, buffer.getvalue())


def _read(path: "UPath", schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """A table as declared: a column that was declared after the file was written is null, one dropped since is gone."""
    frame = pl.read_parquet(io.BytesIO(path.read_bytes()))
    return frame.select(
        pl.col(column) if column in frame.columns else pl.lit(None, dtype).alias(column)
        for column, dtype in schema.items()
    )


class ParquetTables(dg.UPathIOManager):
    """Polars frames in and out; an input annotated as a dict gets {partition: frame} of the files that exist.

    A run over a range of partitions is refused by the base class: a backfill is many runs.
    """

    extension = ".parquet"

    def __init__(self, root: str, schemas: Schemas, forget: Forget | None = None) -> None:
        """Keep tables under `root`/tables, a local folder or an address such as s3://bucket/folder.

        Args:
            root: Of the store.
            schemas: Columns by table.
            forget: What of a table may be kept after an erasure.
        """
        super().__init__(location(root) / "tables")
        self._schemas = schemas
        self._forget = forget
        self._tombstones = Tombstones(root)

    def get_asset_relative_path(self, context: dg.InputContext | dg.OutputContext) -> "UPath":
        """The last part of the key: a store belongs to one use case, so that its prefix says nothing."""
        from upath import UPath

        return UPath(context.asset_key.path[-1])

    def dump_to_path(self, context: dg.OutputContext, obj: pl.DataFrame, path: "UPath") -> None:
        """Check the columns and write the file; what was erased while the step worked does not come back with it."""
        made_by = {RUN_ID: context.run_id, CODE_VERSION: context.asset_spec.code_version or ""}
        name = context.asset_key.path[-1]
        frame = conform(obj, name, self._schemas)
        write_parquet(frame, path, made_by)
        # Looked for after writing: an erasure whose tombstone is not there yet finds the table itself.
        if self._forget is not None and (erased := self._erased_among(frame)):
            kept = self._forget(name, frame, erased)
            if not kept.equals(frame):
                write_parquet(kept, path, made_by)

    def _erased_among(self, frame: pl.DataFrame) -> dict[str, dt.datetime]:
        if not (ids := self._tombstones.ids()):
            return {}
        named = {value for column in frame.select(pl.col(pl.String)) for value in ids.intersection(column)}
        found = (self._tombstones.get(photo_id) for photo_id in named)
        return {tombstone.photo_id: tombstone.erased_at for tombstone in found if tombstone is not None}

    def load_from_path(self, context: dg.InputContext, path: "UPath") -> pl.DataFrame:
        """Read one file."""
        return _read(path, self._schemas[context.asset_key.path[-1]])

    def load_partitions(self, context: dg.InputContext) -> Any:
        """One frame for one day, or a dict of the days that have a file, from one listing."""
        paths, schema = self._get_paths_for_partitions(context), self._schemas[context.asset_key.path[-1]]
        if get_origin(context.dagster_type.typing_type) is not dict:
            (path,) = paths.values()
            return _read(path, schema)
        folder = self._get_path_without_extension(context)
        present = {path.name for path in folder.iterdir()} if folder.exists() else set()
        return {day: _read(path, schema) for day, path in sorted(paths.items()) if path.name in present}

    def get_metadata(self, context: dg.OutputContext, obj: pl.DataFrame) -> dict[str, dg.MetadataValue]:
        """Row count in Dagster's own metadata name, so that the UI plots it."""
        return {"dagster/row_count": dg.MetadataValue.int(obj.height)}


def parquet_tables(root: str, schemas: Schemas, forget: Forget | None = None) -> dg.IOManagerDefinition:
    """`ParquetTables`, made when a step asks for it: its paths cost a tenth of a second to import."""
    return dg.IOManagerDefinition(lambda _: ParquetTables(root, schemas, forget))


class Tables(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The same tables by name."""

    root: str

    def read(self, name: str, schema: Mapping[str, pl.DataType], partition: str | None = None) -> pl.DataFrame:
        """The table's last version, or an empty frame of its schema where there is none yet."""
        path = self._path(name, partition)
        return _read(path, schema) if path.exists() else pl.DataFrame(schema=dict(schema))

    def read_as_written(self, name: str, partition: str | None = None) -> pl.DataFrame:
        """A table with all columns that its file has, whoever declared them.

        Raises:
            FileNotFoundError: There is none.
        """
        return pl.read_parquet(io.BytesIO(self._path(name, partition).read_bytes()))

    def made_by(self, name: str, partition: str | None = None) -> dict[str, str]:
        """Run and code version of a table's last version; empty where there is none."""
        path = self._path(name, partition)
        return pl.read_parquet_metadata(io.BytesIO(path.read_bytes())) if path.exists() else {}

    def read_if_made_by(
        self, code_version: str | None, name: str, schema: Mapping[str, pl.DataType], partition: str
    ) -> pl.DataFrame:
        """As `read`, but empty where other code made the table: what it holds must be made anew, not be built on."""
        same = self.made_by(name, partition).get(CODE_VERSION) == code_version
        return self.read(name, schema, partition) if same else pl.DataFrame(schema=dict(schema))

    def read_days(
        self,
        name: str,
        schema: Mapping[str, pl.DataType],
        before: str | None = None,
        *,
        columns: Sequence[str] | None = None,
        where: pl.Expr | None = None,
    ) -> pl.DataFrame:
        """All days of a table as one frame with a column `day`.

        Args:
            name: Table.
            schema: Its columns.
            before: Only days before this one, ISO date.
            columns: Only these; all where None.
            where: Only rows for which it holds.
        """
        wanted = [*(schema if columns is None else columns), "day"]
        rows = pl.lit(True) if where is None else where
        frames = [
            frame.with_columns(day=pl.lit(day)).filter(rows).select(wanted)
            for day, frame in self.each_day(name, schema, before)
        ]
        return pl.concat([pl.DataFrame(schema={**schema, "day": pl.String()}).select(wanted), *frames])

    def each_day(
        self, name: str, schema: Mapping[str, pl.DataType], before: str | None = None
    ) -> Iterator[tuple[str, pl.DataFrame]]:
        """All days of a table, or the days before one, earliest first; one day in memory a time.

        Args:
            name: Table.
            schema: The columns that are wanted.
            before: ISO date.
        """
        folder = self._base() / name
        paths = sorted(folder.glob("*.parquet"), key=lambda path: path.name) if folder.exists() else []
        for path in paths:
            day = path.name.removesuffix(".parquet")
            if not path.name.startswith(".") and (before is None or day < before):
                yield day, _read(path, schema)

    def write(
        self,
        name: str,
        frame: pl.DataFrame,
        schema: Mapping[str, pl.DataType],
        partition: str | None = None,
        code_version: str | None = None,
    ) -> str:
        """Replace a table that stands beside an asset's own, such as its quarantine, and give its address.

        With a code version the table says what made it, for `read_if_made_by`.
        """
        path = self._path(name, partition)
        write_parquet(
            conform(frame, name, {name: schema}), path, {CODE_VERSION: code_version} if code_version else None
        )
        return str(path)

    def partitions(self, name: str) -> list[str]:
        """Partitions that a table has a file of, sorted."""
        folder = self._base() / name
        names = [path.name for path in folder.iterdir()] if folder.exists() else []
        return sorted(n.removesuffix(".parquet") for n in names if n.endswith(".parquet") and not n.startswith("."))

    def remove(self, name: str, partition: str) -> None:
        """Remove one partition; one that is not there is fine."""
        self._path(name, partition).unlink(missing_ok=True)

    def files(self) -> Iterator[tuple[str, str | None]]:
        """Name and partition of every table that there is, whoever wrote it."""
        base = self._base().absolute()
        for path in sorted(base.fs.find(base.path)):
            parts = path[len(base.path.rstrip("/")) + 1 :].removesuffix(".parquet").split("/")
            if path.endswith(".parquet") and len(parts) <= 2 and not parts[-1].startswith("."):
                yield parts[0], parts[1] if len(parts) > 1 else None

    def replace(self, name: str, partition: str | None, frame: pl.DataFrame) -> None:
        """Write other rows under the run and code version that made the table, as erasure does."""
        write_parquet(frame, self._path(name, partition), self.made_by(name, partition))

    def _base(self) -> "UPath":
        return location(self.root) / "tables"

    def _path(self, name: str, partition: str | None) -> "UPath":
        return self._base() / (f"{name}.parquet" if partition is None else f"{name}/{partition}.parquet")
