"""Dataset versions: immutable folders under the fingerprint of what they hold, but for what an erasure takes out.

The bytes of their photos are kept beside them, once for all versions: `dataset_photos`.
"""

import io
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from resources.atomic_write import write_atomically
from resources.dataset_photos import FOLDER, DamagedDatasetError, DatasetPhotos
from resources.locations import location
from resources.tables import write_parquet
from resources.tombstones import Tombstones

if TYPE_CHECKING:
    from upath import UPath

_ROWS, _COMPLETE, _VOID = "rows.parquet", "manifest.json", "void.json"


class VoidDatasetError(RuntimeError):
    """A version held a photo that was erased since; the message names the tombstone."""


class DatasetVersions(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Folders `datasets/<fingerprint>/` below the store's root; a version that is complete is never written again."""

    root: str

    def photos(self) -> DatasetPhotos:
        """The bytes of the versions' photos."""
        return DatasetPhotos(self.root)

    def has(self, fingerprint: str) -> bool:
        """Whether a version is there and complete."""
        return (self._folder(fingerprint) / _COMPLETE).exists()

    def put(self, fingerprint: str, rows: pl.DataFrame, files: Mapping[str, str]) -> str:
        """Write rows.parquet, text files and manifest.json, which is among `files` and marks the version as complete.

        Returns:
            The version's address.
        """
        folder = self._folder(fingerprint)
        if not self.has(fingerprint):
            write_parquet(rows, folder / _ROWS)
            for name in sorted(files, key=lambda name: name == _COMPLETE):
                write_atomically(folder / name, files[name].encode())
        return str(folder)

    def restore(self, fingerprint: str) -> pl.DataFrame:
        """The rows of a version, as they are kept; `mlops_assets.dataset.restoring` holds them against its name.

        Raises:
            FileNotFoundError: There is no such version.
            VoidDatasetError: It held a photo that was erased: what is left is not what its fingerprint names.
            DamagedDatasetError: A file of it is gone or cannot be read.
        """
        folder = self._folder(fingerprint)
        if not folder.exists():
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

    def manifest(self, fingerprint: str) -> dict[str, Any]:
        """What a version says about itself.

        Raises:
            DamagedDatasetError: It is gone or cannot be read.
        """
        path = self._folder(fingerprint) / _COMPLETE
        try:
            found: dict[str, Any] = json.loads(path.read_bytes())
        except (FileNotFoundError, ValueError) as error:
            raise DamagedDatasetError(_damaged(path, error)) from error
        return found

    def fingerprints(self) -> list[str]:
        """Every version that there is, complete or not, sorted."""
        base = location(self.root) / "datasets"
        return sorted(path.name for path in base.iterdir() if path.name != FOLDER) if base.exists() else []

    def is_void(self, fingerprint: str) -> bool:
        """Whether an erasure took something out of a version."""
        return bool(_void(self._folder(fingerprint)))

    def holding(self, photo_id: str) -> dict[str, list[str]]:
        """Splits of every version that holds a photo, or held it before it was voided, by fingerprint."""
        found: dict[str, list[str]] = {}
        for fingerprint in self.fingerprints():
            folder = self._folder(fingerprint)
            splits = set(_void(folder).get(photo_id, []))
            if (folder / _ROWS).exists():
                homes = _read_rows(folder, ["photo_id", "split"])
                splits |= set(homes.filter(pl.col("photo_id") == photo_id)["split"])
            if splits:
                found[fingerprint] = sorted(splits)
        return found

    def rows(self, fingerprint: str) -> pl.DataFrame:
        """What is kept of a version's rows, void or not; to train on it again is for `restore`.

        Raises:
            DamagedDatasetError: They are gone or cannot be read.
        """
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


def _read_rows(folder: "UPath", columns: list[str] | None = None) -> pl.DataFrame:
    path = folder / _ROWS
    try:
        return pl.read_parquet(io.BytesIO(path.read_bytes()), columns=columns)
    except (FileNotFoundError, pl.exceptions.PolarsError) as error:
        raise DamagedDatasetError(_damaged(path, error)) from error


def _damaged(path: "UPath", error: Exception) -> str:
    return (
        f"Dataset version {path.parent.name} is damaged: {path} is gone or cannot be read ({error}). Bring it back "
        "from a backup, or remove its folder and materialise training_dataset for a version of today's labels"
    )


def _void(folder: "UPath") -> dict[str, Any]:
    """Splits that each erased photo of a version was in, by photo_id."""
    path = folder / _VOID
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found
