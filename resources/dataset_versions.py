"""Dataset versions: immutable folders under the fingerprint of what they hold, but for what an erasure takes out."""

import io
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from resources.locations import location, write_atomically
from resources.tables import write_parquet
from resources.tombstones import Tombstones

if TYPE_CHECKING:
    from upath import UPath

_ROWS, _VOID = "rows.parquet", "void.json"


class VoidDatasetError(RuntimeError):
    """A version held a photo that was erased since; the message names the tombstone."""


class DatasetVersions(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Folders `datasets/<fingerprint>/` below the store's root; a version that is complete is never written again."""

    root: str

    def put(self, fingerprint: str, rows: pl.DataFrame, files: Mapping[str, str]) -> str:
        """Write rows.parquet and text files, the last of `files` marking the version as complete.

        Returns:
            The version's address.
        """
        folder = self._folder(fingerprint)
        *_, complete = files
        if not (folder / complete).exists():
            write_parquet(rows, folder / _ROWS)
            for name, text in files.items():
                write_atomically(folder / name, text.encode())
        return str(folder)

    def restore(self, fingerprint: str) -> pl.DataFrame:
        """The rows of a version, to train or evaluate on it again.

        Raises:
            FileNotFoundError: There is no such version.
            VoidDatasetError: It held a photo that was erased: what is left is not what its fingerprint names.
        """
        folder = self._folder(fingerprint)
        if not (folder / _ROWS).exists():
            raise FileNotFoundError(f"No dataset version {folder}; `datasets/` of the store lists what there is")
        rows = _read_rows(folder)
        tombstones = Tombstones(self.root)
        void = sorted(_void(folder))
        tombstone = tombstones.address(void[0]) if void else tombstones.refuse(rows["photo_id"].unique().to_list())
        if tombstone is not None:
            raise VoidDatasetError(
                f"Dataset version {fingerprint} is void: a photo of it was erased, see {tombstone}. "
                "Materialise training_dataset for a version without it"
            )
        return rows

    def holding(self, photo_id: str) -> dict[str, list[str]]:
        """Splits of every version that holds a photo, or held it before it was voided, by fingerprint."""
        base = location(self.root) / "datasets"
        found: dict[str, list[str]] = {}
        for folder in sorted(base.iterdir(), key=str) if base.exists() else []:
            splits = set(_void(folder).get(photo_id, []))
            if (folder / _ROWS).exists():
                splits |= set(_read_rows(folder).filter(pl.col("photo_id") == photo_id)["split"])
            if splits:
                found[folder.name] = sorted(splits)
        return found

    def rows(self, fingerprint: str) -> pl.DataFrame:
        """What is kept of a version's rows, void or not; to train on it again is for `restore`."""
        return _read_rows(self._folder(fingerprint))

    def void(self, fingerprint: str, photo_id: str, splits: list[str]) -> int:
        """Take a photo out of a version, which can be restored no more; the other rows tell of other photos.

        Returns:
            Rows taken out.
        """
        folder = self._folder(fingerprint)
        void = _void(folder)
        if void.get(photo_id) != splits:
            write_atomically(folder / _VOID, json.dumps(void | {photo_id: splits}, indent=1).encode())
        rows = _read_rows(folder)
        kept = rows.filter(pl.col("photo_id") != photo_id)
        if kept.height < rows.height:
            write_parquet(kept, folder / _ROWS)
        return rows.height - kept.height

    def _folder(self, fingerprint: str) -> "UPath":
        return location(self.root) / "datasets" / fingerprint


def _read_rows(folder: "UPath") -> pl.DataFrame:
    return pl.read_parquet(io.BytesIO((folder / _ROWS).read_bytes()))


def _void(folder: "UPath") -> dict[str, Any]:
    """Splits that each erased photo of a version was in, by photo_id."""
    path = folder / _VOID
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found
