"""Which photos need not be looked at again, and what was found on them: by (photo, model version, code version).

While a day is looked at, what is found goes to part files beside the tables, one a chunk of photos: a step that is
killed goes on behind the last of them, on another machine too. The parts are tables of their own, so that an erasure
finds them; they go once the day's tables are whole.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import polars as pl

from mlops_assets.catalog.schema import DETECTIONS, UNKNOWN_EQUIPMENT

FOUND, UNKNOWN = "detections", "unknown_equipment"
_SCHEMAS: Mapping[str, pl.Schema] = {FOUND: DETECTIONS, UNKNOWN: UNKNOWN_EQUIPMENT}

PARTS = {name: f"unfinished_{name}" for name in _SCHEMAS}
"""Tables of the part files; their partitions are <day>.<number>."""


class PartTables(Protocol):
    """What is needed of the table resource."""

    def read(self, name: str, schema: Mapping[str, pl.DataType], partition: str | None = None) -> pl.DataFrame:
        """A table, empty if there is none."""

    def read_if_made_by(
        self, code_version: str | None, name: str, schema: Mapping[str, pl.DataType], partition: str
    ) -> pl.DataFrame:
        """As `read`, but empty where other code made it."""

    def write(
        self,
        name: str,
        frame: pl.DataFrame,
        schema: Mapping[str, pl.DataType],
        partition: str | None = None,
        code_version: str | None = None,
    ) -> str:
        """Replace a table."""

    def partitions(self, name: str) -> list[str]:
        """Those that there are, sorted."""

    def remove(self, name: str, partition: str) -> None:
        """Remove one."""


@dataclass(frozen=True)
class Looked:
    """DETECTIONS and UNKNOWN_EQUIPMENT of the same photos."""

    detections: pl.DataFrame
    unknown_equipment: pl.DataFrame

    @classmethod
    def none(cls) -> "Looked":
        """Of no photo."""
        return cls(DETECTIONS.to_frame(), UNKNOWN_EQUIPMENT.to_frame())

    @classmethod
    def joined(cls, parts: Iterable["Looked"]) -> "Looked":
        """Of all photos of some; what two of them hold is taken from the first."""
        whole = cls.none()
        for part in parts:
            fresh = part.where(~pl.col("photo_id").is_in(whole.photo_ids().implode()))
            whole = cls(
                pl.concat([whole.detections, fresh.detections]),
                pl.concat([whole.unknown_equipment, fresh.unknown_equipment]),
            )
        return whole

    def photo_ids(self) -> pl.Series:
        """Photos that both tables know: only they are done."""
        return self.detections.join(self.unknown_equipment, on="photo_id", how="semi")["photo_id"].unique()

    def where(self, condition: pl.Expr) -> "Looked":
        """Of the photos that are done, those with rows that fulfil a condition."""
        done = pl.col("photo_id").is_in(self.photo_ids().implode()) & condition
        return Looked(self.detections.filter(done), self.unknown_equipment.filter(done))


class LookedAt:
    """What is known of one day's photos under one version of model and code.

    Args:
        tables: The table resource.
        day: ISO date.
        code_version: Of the asset `detections`.
        model_version: That looks.
    """

    def __init__(self, tables: PartTables, day: str, code_version: str | None, model_version: str) -> None:
        self._tables, self._day, self._code, self._model = tables, day, code_version, model_version
        self._parts = self._own_parts()

    def known(self, photo_ids: pl.Series) -> Looked:
        """What an earlier run of the day, one that was cut off, or a later day has found on some of these photos.

        A late photo may outrank the same one of a later day and takes its place there; so later days are asked about
        photos that the day's last table did not have at all.
        """
        wanted = pl.col("photo_id").is_in(photo_ids.implode()) & (pl.col("model_version") == self._model)
        ours = Looked.joined(part.where(wanted) for part in [self._table(self._day), *self._unfinished()])
        had = self._tables.read(FOUND, DETECTIONS, self._day)["photo_id"]
        new = photo_ids.filter(~photo_ids.is_in(had.implode()) & ~photo_ids.is_in(ours.photo_ids().implode()))
        if new.is_empty():
            return ours
        moved = pl.col("photo_id").is_in(new.implode()) & wanted
        later = (day for day in self._tables.partitions(FOUND) if day > self._day)
        return Looked.joined([ours, *(self._table(day).where(moved) for day in later)])

    def append(self, chunk: Looked) -> None:
        """Keep what was found on some more photos."""
        partition = f"{self._day}.{self._parts:06d}"
        for name, frame in ((UNKNOWN, chunk.unknown_equipment), (FOUND, chunk.detections)):
            self._tables.write(PARTS[name], frame, _SCHEMAS[name], partition, code_version=self._code)
        self._parts += 1

    def clear(self) -> None:
        """Remove the parts; the day's tables have it all."""
        for table in PARTS.values():
            for partition in self._tables.partitions(table):
                if partition.startswith(f"{self._day}."):
                    self._tables.remove(table, partition)
        self._parts = 0

    def _own_parts(self) -> int:
        numbers = [int(name.rpartition(".")[2]) for name in self._part_names()]
        return max(numbers, default=-1) + 1

    def _part_names(self) -> list[str]:
        return [name for name in self._tables.partitions(PARTS[UNKNOWN]) if name.startswith(f"{self._day}.")]

    def _unfinished(self) -> Iterator[Looked]:
        for partition in self._part_names():
            found, unknown = (
                self._tables.read_if_made_by(self._code, PARTS[name], _SCHEMAS[name], partition)
                for name in (FOUND, UNKNOWN)
            )
            yield Looked(found, unknown)

    def _table(self, day: str) -> Looked:
        found = self._tables.read_if_made_by(self._code, FOUND, DETECTIONS, day)
        return Looked(found, self._tables.read(UNKNOWN, UNKNOWN_EQUIPMENT, day))
