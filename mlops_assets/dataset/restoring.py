"""A dataset version from its fingerprint, held against it: rows, class map, and the bytes of its photos."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from mlops_assets.dataset.schema import TRAINING_DATASET
from mlops_assets.dataset.versions import FORMAT, fingerprint
from mlops_assets.labels.class_links import ClassLinks
from resources.dataset_photos import DamagedDatasetError


class PhotoBytes(Protocol):
    """The kept photos of a store, such as `resources.dataset_photos.DatasetPhotos`."""

    def read(self, photo_id: str, sha256: str) -> bytes:
        """Bytes of a photo, held against their SHA-256."""

    def path(self, photo_id: str, sha256: str) -> Path | None:
        """Its file, where it is one of this machine."""


class Versions(Protocol):
    """Stored versions, such as `resources.dataset_versions.DatasetVersions`."""

    def restore(self, fingerprint: str) -> pl.DataFrame:
        """Rows; refuses a void version."""

    def manifest(self, fingerprint: str) -> dict[str, Any]:
        """What it says about itself."""

    def photos(self) -> PhotoBytes:
        """The bytes of its photos."""


@dataclass(frozen=True)
class KeptPhotos:
    """The photos of one version by photo_id: called, it gives a photo's bytes.

    Attributes:
        sha256: Of each photo's bytes, by photo_id.
        kept: Where they are.
    """

    sha256: Mapping[str, str] = field(repr=False)
    kept: PhotoBytes = field(repr=False)

    def __call__(self, photo_id: str) -> bytes:
        """Bytes of the normalised photo as the version holds it.

        Raises:
            KeyError: The version has no such photo.
            DamagedDatasetError: See `resources.dataset_photos`.
        """
        return self.kept.read(photo_id, self.sha256[photo_id])

    def file(self, photo_id: str) -> Path | None:
        """The file to link to, where it is one of this machine."""
        return self.kept.path(photo_id, self.sha256[photo_id])


@dataclass(frozen=True)
class DatasetVersion:
    """An opened version: its rows (TRAINING_DATASET), its manifest, and its photos."""

    rows: pl.DataFrame
    manifest: Mapping[str, Any]
    photos: KeptPhotos

    @property
    def fingerprint(self) -> str:
        """Its name."""
        return str(self.manifest["fingerprint"])

    @property
    def class_map(self) -> dict[int, str]:
        """Display names by class_id."""
        return class_map_of(self.manifest)


def class_map_of(manifest: Mapping[str, Any]) -> dict[int, str]:
    """Display names by class_id, as a manifest has them."""
    return {int(class_id): name for class_id, name in manifest["class_map"].items()}


def kept_photos(dataset: pl.DataFrame, kept: PhotoBytes) -> KeptPhotos:
    """The photos of TRAINING_DATASET."""
    photos = dataset.select("photo_id", "photo_sha256").drop_nulls().unique()
    return KeptPhotos(dict(photos.iter_rows()), kept)


def open_version(versions: Versions, name: str) -> DatasetVersion:
    """Open a version by its full fingerprint; photos are held against their hashes as they are read.

    Raises:
        FileNotFoundError: There is no such version.
        VoidDatasetError: See `resources.dataset_versions`.
        DamagedDatasetError: A file is gone or cannot be read, or its rows or manifest are not what the name says.
    """
    rows, facts = versions.restore(name), versions.manifest(name)
    if facts.get("format") != FORMAT:
        raise DamagedDatasetError(
            f"Dataset version {name} is of format {facts.get('format', 1)}, which did not keep the photos' bytes; this "
            f"code opens format {FORMAT}: materialise training_dataset"
        )
    require_named(rows, facts, name)
    return DatasetVersion(rows, facts, kept_photos(rows, versions.photos()))


def require_named(rows: pl.DataFrame, manifest: Mapping[str, Any], name: str) -> None:
    """Make sure that rows, with a manifest's class map and code, are what a fingerprint names.

    Raises:
        DamagedDatasetError: They are not.
    """
    said = class_map_of(manifest), str(manifest["code_version"]), ClassLinks.parse(manifest)
    if rows.schema != TRAINING_DATASET or fingerprint(rows, *said) != name:
        raise DamagedDatasetError(
            f"The rows, class map and code of dataset version {name} have another fingerprint: they were changed since "
            "it was made. Bring its folder back from a backup, or materialise training_dataset for a new version"
        )
