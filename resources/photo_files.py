"""The landing zone and the stored photos, in local folders or an object store; free of dagster.

Every path of a photo and every call to a file system or S3 client for photos is here; what a photo must be like, and
what becomes of a landed file, is decided in `mlops_assets.photos`. The landing zone is only ever listed and read, but
for `erase_upload`. As a resource of Dagster it is `photo_store.PhotoStore`.
"""

import datetime as dt
import hashlib
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resources.atomic_write import remove_left_over, write_atomically
from resources.deletion import Deletion, delete
from resources.landed_file import LandedFile, LandedFileError, LandingEscapeError
from resources.landing_listing import list_local, list_remote, printable
from resources.tombstones import Tombstones

if TYPE_CHECKING:
    from upath import UPath

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_PHOTO_ID = re.compile(r"[0-9a-f]{64}")
_EXTENSION = re.compile(r"[a-z0-9]{1,8}")
_LOCAL_PROTOCOLS = ("", "file", "local")


class PhotoFiles:
    """Lists and reads the landing zone; keeps originals and normalised photos under content-addressed names.

    Layout below `root`: `originals/ab/<photo_id>.<ext>` (bytes as uploaded) and `photos/ab/<photo_id>.jpg`, where
    `ab` are the first two digits of the photo_id; in a folder also `incoming/`, what is being written. Safe to use
    from several threads.
    """

    def __init__(self, landing: str, root: str) -> None:
        """Use a landing zone, read only, and a store; each a local folder or s3://bucket/prefix."""
        self.landing = landing
        self.root = root

    # -- landing zone --------------------------------------------------------------------------------------------

    def list_days(self) -> list[str]:
        """Days (YYYY-MM-DD) that have a folder in the landing zone, sorted.

        Raises:
            FileNotFoundError: A local landing zone does not exist.
        """
        return sorted(name for name, is_folder in self._landing_entries() if is_folder and _is_day(name))

    def misplaced(self) -> list[str]:
        """Names directly in the landing zone that are no day's folder, sorted; no day's ledger can list these.

        Raises:
            FileNotFoundError: A local landing zone does not exist.
        """
        return sorted(name for name, is_folder in self._landing_entries() if not (is_folder and _is_day(name)))

    def list_day(self, day: str) -> list[LandedFile]:
        """All files below the day's folder at any depth, by path, from one listing; none if there is no such folder.

        A symbolic link is listed as one entry, also when it leads to a folder; whether it may be read is for `read`.

        Args:
            day: YYYY-MM-DD.

        Raises:
            ValueError: `day` is no such date.
            FileNotFoundError: A local landing zone does not exist.
        """
        if not _is_day(day):
            raise ValueError(f"{day!r} is no day of the form YYYY-MM-DD")
        landing = _location(self.landing)
        local = _is_local(landing)
        files = list_local(_existing_landing(self.landing) / day) if local else list_remote(landing, day)
        return sorted(files, key=lambda file: file.relative_path)

    def read(self, uri: str) -> bytes:
        """Bytes of a landed file.

        Args:
            uri: `LandedFile.uri` of a listing.

        Raises:
            LandingEscapeError: The file lies outside the landing zone, or is a link that leads out of it.
            LandedFileError: The entry is no plain file.
            OSError: The landing zone cannot be read.
        """
        landing = _location(self.landing)
        if _is_local(landing):
            return _plain_file_within(Path(uri), _existing_landing(self.landing)).read_bytes()
        if not uri.startswith(str(landing).rstrip("/") + "/"):
            raise LandingEscapeError(f"{uri} lies outside the landing zone {self.landing}")
        return bytes(landing.fs.cat_file(uri))

    def _landing_entries(self) -> list[tuple[str, bool]]:
        landing = _location(self.landing)
        if _is_local(landing):
            return [(printable(path.name), path.is_dir()) for path in _existing_landing(self.landing).iterdir()]
        infos: list[dict[str, Any]] = (
            landing.fs.ls(landing.path, detail=True) if landing.fs.exists(landing.path) else []
        )
        names = ((info["name"].rstrip("/").rsplit("/", 1)[-1], info["type"] == "directory") for info in infos)
        return [(name, is_folder) for name, is_folder in names if name != landing.name]

    # -- store ---------------------------------------------------------------------------------------------------

    def original_uri(self, photo_id: str, extension: str) -> str:
        """Where the original of a photo is kept.

        Raises:
            ValueError: `photo_id` is no SHA-256 in hex, or `extension` no lower-case file extension without dot.
        """
        if not _EXTENSION.fullmatch(extension):
            raise ValueError(f"{extension!r} is no file extension such as 'jpg'")
        return str(self._folder("originals", photo_id) / f"{photo_id}.{extension}")

    def photo_uri(self, photo_id: str) -> str:
        """Where the normalised photo is kept.

        Raises:
            ValueError: `photo_id` is no SHA-256 in hex.
        """
        return str(self._folder("photos", photo_id) / f"{photo_id}.jpg")

    def put_original(self, photo_id: str, extension: str, content: bytes) -> str:
        """Keep the bytes as uploaded, unless they are there already; access is for the owner only (0700 locally).

        On S3 the bucket's policy has to restrict the prefix `originals/`.

        Returns:
            Its URI.

        Raises:
            ValueError: `photo_id` or `extension` is malformed.
            OSError: The store cannot be written.
        """
        target = _location(self.original_uri(photo_id, extension))
        if _is_local(target):
            folder = _local(self.root) / "originals"
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
        if not _is_written(target):
            self._write(target, content)
        return str(target)

    def put_photo(self, photo_id: str, content: bytes) -> str:
        """Keep a normalised photo (JPEG bytes), in place of one that is there already: it may be normalised anew.

        Returns:
            Its URI.

        Raises:
            ValueError: `photo_id` is malformed.
            OSError: The store cannot be written.
        """
        target = _location(self.photo_uri(photo_id))
        self._write(target, content)
        return str(target)

    def has_photo(self, photo_id: str) -> bool:
        """Whether the normalised photo is there."""
        return _is_written(_location(self.photo_uri(photo_id)))

    def read_photo(self, photo_id: str) -> bytes:
        """JPEG bytes of a normalised photo.

        Raises:
            FileNotFoundError: It is not in the store.
            OSError: The store cannot be read.
        """
        return _read_stored(self.photo_uri(photo_id))

    def read_original(self, photo_id: str, extension: str) -> bytes:
        """Bytes as uploaded.

        Raises:
            ValueError: `photo_id` or `extension` is malformed.
            FileNotFoundError: It is not in the store.
            OSError: The store cannot be read.
        """
        return _read_stored(self.original_uri(photo_id, extension))

    def put_report(self, name: str, content: bytes) -> str:
        """Keep a report on photos for people, such as `retakes/2026-10-06.csv`, in place of an earlier one.

        Returns:
            Its URI.

        Raises:
            OSError: The store cannot be written.
        """
        target = _location(self.root) / "reports" / name
        self._write(target, content)
        return str(target)

    def remove_left_over(self) -> int:
        """Remove what writers that were killed more than a day ago have left of photos; returns how many files.

        An object store keeps parts of an upload that was cut off unseen, until the bucket's own rule removes them.
        """
        incoming = self._incoming()
        return remove_left_over(incoming) if incoming is not None else 0

    def _write(self, target: "UPath", content: bytes) -> None:
        if not content:
            raise ValueError(f"{target}: refusing to store an empty object")
        write_atomically(target, content, self._incoming())

    def _incoming(self) -> Path | None:
        """In one place, since nobody could look through millions of photos for what was left over."""
        return _local(self.root) / "incoming" if _is_local(_location(self.root)) else None

    # -- erasure -------------------------------------------------------------------------------------------------

    def tombstones(self) -> Tombstones:
        """What was erased from this store and must not come back."""
        return Tombstones(self.root)

    def stored(self, photo_id: str) -> list[str]:
        """Addresses of everything stored under a photo's name: original, normalised photo, what a kill left of them.

        Raises:
            ValueError: `photo_id` is malformed.
        """
        folders = [self._folder(kind, photo_id) for kind in ("originals", "photos")]
        if (incoming := self._incoming()) is not None:
            folders.append(_location(str(incoming)))
        found = (path for folder in folders if folder.exists() for path in folder.iterdir())
        return sorted(str(path) for path in found if photo_id in path.name)

    def erase_stored(self, photo_id: str) -> list[Deletion]:
        """Delete a photo's original and normalised photo.

        Raises:
            ValueError: `photo_id` is malformed.
            OSError: The store cannot be written.
        """
        return [delete(_location(address)) for address in self.stored(photo_id)]

    def erase_upload(self, uri: str, photo_id: str, sidecars: Sequence[str]) -> list[Deletion]:
        """Delete an upload and its sidecars from the landing zone: the one way to delete anything there.

        The bytes are held against `photo_id` before: what was uploaded anew under the name stays, with its sidecar.
        Sidecars go first, so that what is cut off in between finds its way on by the photo.

        Args:
            uri: `LandedFile.uri`.
            photo_id: Of the photo that is erased.
            sidecars: URIs of the files beside it that tell about it.

        Returns:
            One entry a file deleted; none where another photo lies there.

        Raises:
            LandingEscapeError: A file lies outside the landing zone.
            PermissionError: The landing zone may not be deleted from.
            OSError: The landing zone cannot be read.
        """
        try:
            if hashlib.sha256(self.read(uri)).hexdigest() != photo_id:
                return []
        except FileNotFoundError:
            pass  # deleted before, perhaps without its sidecar
        return [delete(self._in_landing(each)) for each in (*sidecars, uri)]

    def _in_landing(self, uri: str) -> "UPath":
        landing = _location(self.landing)
        target = _location(uri)
        # The entry itself, also where it is a link: only the folder that holds it has to lie within.
        inside = (
            Path(uri).parent.resolve().is_relative_to(_local(self.landing).resolve())
            if _is_local(landing)
            else uri.startswith(str(landing).rstrip("/") + "/")
        )
        if not inside:
            raise LandingEscapeError(f"{uri} lies outside the landing zone {self.landing}")
        return target

    def _folder(self, kind: str, photo_id: str) -> "UPath":
        if not _PHOTO_ID.fullmatch(photo_id):
            raise ValueError(f"{photo_id!r} is no photo_id (SHA-256, 64 hexadecimal digits)")
        return _location(self.root) / kind / photo_id[:2]


def _is_day(name: str) -> bool:
    if not _DAY.fullmatch(name):
        return False
    try:
        dt.date.fromisoformat(name)
    except ValueError:
        return False
    return True


def _location(address: str) -> "UPath":
    from upath import UPath

    # A listing cached by fsspec would hide what landed since.
    location = UPath(address, use_listings_cache=False) if "://" in address else UPath(address)
    return UPath(_local(address)) if _is_local(location) else location


def _is_local(location: "UPath") -> bool:
    return location.protocol in _LOCAL_PROTOCOLS


def _local(address: str) -> Path:
    # Absolute, so that URIs in tables hold whatever the working directory; links in it are kept as configured.
    return Path(address.removeprefix("file://")).expanduser().absolute()


def _existing_landing(address: str) -> Path:
    landing = _local(address)
    if not landing.is_dir():
        raise FileNotFoundError(
            f"No landing zone {landing}; create the folder or correct the setting of the landing zone"
        )
    return landing


# -- reading -----------------------------------------------------------------------------------------------------


def _plain_file_within(path: Path, landing: Path) -> Path:
    try:
        resolved = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        if path.is_symlink():
            raise LandedFileError(f"{path} is a symbolic link that leads nowhere") from error
        raise
    if not resolved.is_relative_to(landing.resolve(strict=True)):
        raise LandingEscapeError(f"{path} leads out of the landing zone {landing}")
    if not stat.S_ISREG(resolved.stat().st_mode):  # opening a pipe would wait for ever
        raise LandedFileError(f"{path} is no plain file")
    return resolved


# -- what is stored ----------------------------------------------------------------------------------------------


def _is_written(target: "UPath") -> bool:
    """Whether there is an object with content: a power failure can leave an empty file behind a rename."""
    try:
        return bool(target.fs.info(target.path)["size"])
    except FileNotFoundError:
        return False


def _read_stored(uri: str) -> bytes:
    target = _location(uri)
    try:
        return bytes(target.fs.cat_file(target.path))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"No {target} in the store; to restore it from landing, remove its day's file in tables/photo_measures "
            "and materialise raw_photos of that day"
        ) from error
