"""The state of the label drop, named by a digest of its listing: what a sensor compares, and what an import records.

A pass over a large drop may take several ticks: it goes entry by entry and can be put down after any of them. What the
files say belongs in `formats`.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from upath import UPath

    from mlops_assets.labels.drop import DropPath

LABEL_STATE = "label_state"
"""Metadata of a materialisation of `annotations`: the state of labels and decisions that it was made from."""

WAITING_LABELS = "waiting_for_photos"
"""Metadata of the same: labels whose photo was not taken in yet."""

PHOTO_DAYS = "photo_days"
"""Metadata of the same: days of photos that it knew."""


@dataclass(frozen=True)
class Listing:
    """A pass over the drop, as far as it has come.

    Attributes:
        entries: Entries looked at.
        files: Files in them.
        last: Name of the last one; names go in ascending order.
        digest: Chained SHA-256 over names, sizes, times and, where the store has them, ETags of the files, hex; "" for
            no file.
        complete: Whether that was all.
    """

    entries: int = 0
    files: int = 0
    last: str = ""
    digest: str = ""
    complete: bool = False

    @classmethod
    def parse(cls, content: dict[str, Any] | None) -> "Listing":
        """What `as_json` gave; a pass not begun where that cannot be read."""
        try:
            return cls(**(content or {}))
        except TypeError:
            return cls()

    def as_json(self) -> dict[str, Any]:
        """For a sensor's cursor."""
        return asdict(self)


def list_on(drop: "DropPath", begun: Listing, enough: Callable[[], bool]) -> Listing:
    """Go on with a pass until all is listed, or `enough` says so after an entry.

    The same drop gives the same digest in however many pieces it is listed. Hidden files and folders do not count, as
    in `drop.list_drop`. An entry that came meanwhile among those already listed is found by the next pass.

    Args:
        drop: Label drop; a missing folder is an empty one.
        begun: Where an earlier call has stopped; a complete one is begun anew.
        enough: Asked after each entry.
    """
    from upath import UPath  # a sensor keeps a Listing, and loading the definitions should cost nothing

    listing = Listing() if begun.complete else begun
    root = UPath(drop).absolute()
    for name, info in _entries(root):
        if name <= listing.last:
            continue
        lines = list(_lines(root, info))
        digest = listing.digest
        if lines:
            digest = hashlib.sha256(json.dumps([digest, name, sorted(lines)]).encode()).hexdigest()
        listing = Listing(listing.entries + 1, listing.files + len(lines), name, digest)
        if enough():
            return listing
    return Listing(listing.entries, listing.files, listing.last, listing.digest, complete=True)


def drop_digest(drop: "DropPath") -> str:
    """Name of the drop's state, "" for an empty drop; opens no file."""
    return list_on(drop, Listing(), lambda: False).digest


def _entries(root: "UPath") -> list[tuple[str, dict[str, Any]]]:
    """Names and listings of what lies at the top of the drop, ascending."""
    base = str(root.path).rstrip("/")
    try:
        found = root.fs.ls(base, detail=True)
    except (FileNotFoundError, NotADirectoryError):
        return []
    named = [(str(info["name"]).rstrip("/")[len(base) :].lstrip("/"), info) for info in found]
    return sorted(((_valid(name), info) for name, info in named if name and not _is_hidden(name)), key=lambda n: n[0])


def _lines(root: "UPath", info: dict[str, Any]) -> Iterator[list[object]]:
    """[path in the entry, size, time, ETag] of each file of an entry, in the listing's order."""
    address = str(info["name"])
    if info.get("type") != "directory":
        yield _line("", info)
        return
    for name, of_file in root.fs.find(address, detail=True).items():
        path = _valid(name[len(address.rstrip("/")) :].lstrip("/"))
        if not any(_is_hidden(part) for part in path.split("/")):
            yield _line(path, of_file)


def _line(path: str, info: dict[str, Any]) -> list[object]:
    stamp = next((info[key] for key in ("mtime", "LastModified", "created") if info.get(key) is not None), "")
    return [path, int(info.get("size") or 0), str(stamp), str(info.get("ETag", ""))]


def _valid(name: str) -> str:
    """File names that are no UTF-8 come as lone surrogates, which no JSON text can hold."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _is_hidden(part: str) -> bool:
    return part.startswith(".") or part == "__MACOSX"
