"""The photos' bytes that dataset versions keep: each once, never changed, removed only by an erasure; free of dagster.

`datasets/photos/ab/<photo_id>-<sha256>.jpg` in the store, where `ab` are the first two digits of the photo_id and
sha256 is of the bytes. The normalised photo itself may be made anew by other code; what a version was made of stays.
The photo_id stands in the name so that an erasure finds everything of a photo without any table.
"""

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from resources.atomic_write import write_atomically
from resources.deletion import Deletion, delete
from resources.locations import location

if TYPE_CHECKING:
    from upath import UPath

FOLDER = "photos"
_LOCAL_PROTOCOLS = ("", "file", "local")


class DamagedDatasetError(RuntimeError):
    """What is kept of a dataset version is not what its name says, or gone; the message names the file."""


class NormalisedPhotos(Protocol):
    """Where normalised photos are, such as `photo_files.PhotoFiles`."""

    def photo_uri(self, photo_id: str) -> str:
        """Address of a photo."""

    def read_photo(self, photo_id: str) -> bytes:
        """Its bytes."""


class DatasetPhotos:
    """The kept photos of one store, a local folder or s3://bucket/prefix. Safe to use from several threads."""

    def __init__(self, root: str) -> None:
        """Use the folder `datasets/photos` below `root`."""
        self._base = location(root) / "datasets" / FOLDER
        # Paths made by hand where photos are many: a UPath costs more than to link a file.
        self._folder = str(self._base.path) if self._base.protocol in _LOCAL_PROTOCOLS else None

    def keep(self, photo_id: str, photos: NormalisedPhotos) -> str:
        """Keep a normalised photo as it is now: a hard link where store and file system allow it, else a copy.

        A link is enough, since the store replaces photos and never writes into them.

        Returns:
            SHA-256 of its bytes, hex.

        Raises:
            FileNotFoundError: It is not in the store.
            OSError: The store cannot be read or written.
        """
        if self._folder is not None and (linked := _linked(photos.photo_uri(photo_id), photo_id, self._folder)):
            return linked
        content = photos.read_photo(photo_id)
        sha256 = hashlib.sha256(content).hexdigest()
        write_atomically(self._path(photo_id, sha256), content)
        return sha256

    def read(self, photo_id: str, sha256: str) -> bytes:
        """Bytes of a kept photo, held against their SHA-256.

        Raises:
            DamagedDatasetError: They are gone or others.
        """
        path = self._path(photo_id, sha256)
        try:
            content = bytes(path.fs.cat_file(path.path))
        except FileNotFoundError as error:
            raise DamagedDatasetError(
                f"{path} is gone: bring it back from a backup, or remove tables/dataset_photos.parquet and materialise "
                "training_dataset for a version of today's photos"
            ) from error
        if hashlib.sha256(content).hexdigest() != sha256:
            raise DamagedDatasetError(
                f"{path} does not hold the bytes that its name says: bring it back from a backup, or remove it and "
                "tables/dataset_photos.parquet and materialise training_dataset for a version of today's photos"
            )
        return content

    def path(self, photo_id: str, sha256: str) -> Path | None:
        """The file of a kept photo, to be linked to and never written into; None in an object store."""
        return Path(_name(self._folder, photo_id, sha256)) if self._folder is not None else None

    def of(self, photo_id: str) -> list[str]:
        """Addresses of everything that is kept of a photo, of whichever version."""
        folder = self._base / photo_id[:2]
        found = folder.iterdir() if folder.exists() else ()
        return sorted(str(path) for path in found if photo_id in path.name)

    def erase(self, photo_id: str) -> list[Deletion]:
        """Delete everything that is kept of a photo.

        Raises:
            OSError: The store cannot be written.
        """
        return [delete(location(address)) for address in self.of(photo_id)]

    def _path(self, photo_id: str, sha256: str) -> "UPath":
        return self._base / photo_id[:2] / f"{photo_id}-{sha256}.jpg"


def _name(folder: str, photo_id: str, sha256: str) -> str:
    return f"{folder}/{photo_id[:2]}/{photo_id}-{sha256}.jpg"


def _linked(source: str, photo_id: str, folder: str) -> str | None:
    """SHA-256 of the file that was linked; None where there is none, it just changed, or links are not made."""
    try:
        with open(source, "rb", buffering=0) as file:  # noqa: PTH123 see __init__
            sha256 = hashlib.sha256(file.readall()).hexdigest()
            read = os.fstat(file.fileno())
    except FileNotFoundError:
        return None
    target = _name(folder, photo_id, sha256)
    try:
        _link(source, target)
    except FileExistsError:
        return sha256 if os.stat(target).st_size == read.st_size else None  # noqa: PTH116
    except OSError:  # another file system, too many links, or one that makes none
        return None
    kept = os.stat(target)  # noqa: PTH116
    if (kept.st_ino, kept.st_mtime_ns) == (read.st_ino, read.st_mtime_ns):
        return sha256
    Path(target).unlink()  # the photo was made anew between reading and linking
    return None


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        os.link(source, target)
