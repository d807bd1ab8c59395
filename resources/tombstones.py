"""Tombstones: the one record that a photo was erased, by which everything else keeps it from coming back.

`tombstones/ab/<photo_id>.json` in the store, written before anything is removed. What is removed, and how, is decided
in `mlops_assets/erasure`. Free of dagster.
"""

import datetime as dt
import json
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from resources.atomic_write import write_atomically
from resources.locations import location

if TYPE_CHECKING:
    from upath import UPath

_FILE = re.compile(r"([0-9a-f]{64})\.json")
_PHOTO_ID = re.compile(r"[0-9a-f]{64}")
_READERS = 8


class TombstoneError(ValueError):
    """A tombstone cannot be read; the message names its file."""


@dataclass(frozen=True)
class Tombstone:
    """That a photo was erased.

    Attributes:
        photo_id: SHA-256 of the uploaded bytes: by it the same bytes are known when they are uploaded again.
        erased_at: When erasure began, UTC.
        reason: As given, such as the number of a ticket.
        requested_by: As given.
        names: SHA-256, hex, of the names by which labels may mean the photo, so that the names need not be kept.
    """

    photo_id: str
    erased_at: dt.datetime
    reason: str = ""
    requested_by: str = ""
    names: tuple[str, ...] = ()


class Tombstones:
    """The tombstones of one store, a local folder or s3://bucket/prefix."""

    def __init__(self, root: str) -> None:
        """Use the folder `tombstones` below `root`."""
        self.root = root

    def address(self, photo_id: str) -> str:
        """Where the tombstone of a photo is kept, whether there is one or not.

        Raises:
            ValueError: `photo_id` is no SHA-256 in hex.
        """
        return str(self._path(photo_id))

    def put(self, tombstone: Tombstone) -> Tombstone:
        """Write a tombstone, whole or not at all; of one that is there, names are added and the rest stays.

        Returns:
            What stands now.

        Raises:
            OSError: The store cannot be written.
        """
        standing = self.get(tombstone.photo_id)
        if standing is not None:
            tombstone = replace(standing, names=tuple(sorted({*standing.names, *tombstone.names})))
        if tombstone != standing:
            content = asdict(tombstone) | {"erased_at": tombstone.erased_at.isoformat()}
            write_atomically(self._path(tombstone.photo_id), json.dumps(content, indent=1).encode())
        return tombstone

    def get(self, photo_id: str) -> Tombstone | None:
        """The tombstone of a photo, None where it was not erased.

        Raises:
            TombstoneError: It cannot be understood.
        """
        path = self._path(photo_id)
        try:
            return _parsed(path)
        except FileNotFoundError:
            return None

    def ids(self) -> set[str]:
        """photo_id of every erased photo, from one listing."""
        return {found[1] for path in self._files() if (found := _FILE.fullmatch(path.rsplit("/", 1)[-1]))}

    def all(self) -> list[Tombstone]:
        """Every tombstone, by photo_id; each is read.

        Raises:
            TombstoneError: One cannot be understood.
        """
        with ThreadPoolExecutor(_READERS) as pool:
            return list(pool.map(lambda photo_id: _parsed(self._path(photo_id)), sorted(self.ids())))

    def erased_at(self) -> dict[str, dt.datetime]:
        """When each erased photo was erased, by photo_id."""
        return {tombstone.photo_id: tombstone.erased_at for tombstone in self.all()}

    def names(self) -> dict[str, str]:
        """photo_id by the hashes of the names of every erased photo."""
        return {name: tombstone.photo_id for tombstone in self.all() for name in tombstone.names}

    def refuse(self, photo_ids: Iterable[str]) -> str | None:
        """Address of the tombstone of one of these photos, None where none of them was erased."""
        erased = sorted(self.ids() & set(photo_ids))
        return self.address(erased[0]) if erased else None

    def _files(self) -> list[str]:
        folder = location(self.root) / "tombstones"
        found: list[str] = folder.fs.find(folder.path)
        return found

    def _path(self, photo_id: str) -> "UPath":
        if not _PHOTO_ID.fullmatch(photo_id):
            raise ValueError(f"{photo_id!r} is no photo_id (SHA-256, 64 hexadecimal digits)")
        return location(self.root) / "tombstones" / photo_id[:2] / f"{photo_id}.json"


def _parsed(path: "UPath") -> Tombstone:
    content = path.read_bytes()
    try:
        values: Mapping[str, Any] = json.loads(content)
        return Tombstone(
            photo_id=values["photo_id"],
            erased_at=dt.datetime.fromisoformat(values["erased_at"]),
            reason=values["reason"],
            requested_by=values["requested_by"],
            names=tuple(values["names"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise TombstoneError(
            f"Tombstone {path} cannot be understood ({error}): restore it, or run the job erase_photo for its photo "
            "again after removing it"
        ) from error
