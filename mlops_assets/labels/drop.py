"""The label drop: which files it holds and in which order they count.

An entry of the drop is a file or folder at its top. What archives hold is for `archives`, what files say for `formats`.
"""

import datetime as dt
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from upath import UPath

from mlops_assets.labels.items import IMAGE_SUFFIXES
from mlops_assets.labels.yolo import is_names_file

DropPath = str | os.PathLike[str] | UPath
"""Where a label drop lies: a local folder or an fsspec address such as s3://bucket/labels."""

_LOCAL_PROTOCOLS = ("", "file", "local")


@dataclass(frozen=True, slots=True)
class DropFile:
    """One file of the label drop.

    Attributes:
        source: Its path in the drop, `/`-separated and always valid Unicode.
        modified_at: UTC.
        byte_size: Of the file.
        etag: What else tells that it changed: the store's own mark, or the time of the last change to a local file's
            entry, which copying tools cannot set back.
        root: The drop.
        relative: Its path in the drop as the file system spells it.
        local: Its path on this machine; None in an object store.
    """

    source: str
    modified_at: dt.datetime
    byte_size: int
    etag: str
    root: UPath
    relative: str
    local: str | None = None

    @property
    def entry(self) -> str:
        """Name of the drop entry that the file belongs to."""
        return self.source.partition("/")[0]

    @property
    def path(self) -> UPath:
        """Where it lies."""
        return self.root / self.relative

    def read_bytes(self) -> bytes:
        """Its content.

        Raises:
            OSError: It cannot be read.
        """
        if self.local is None:
            return self.path.read_bytes()
        with open(self.local, "rb") as file:  # noqa: PTH123 a path object for each of many files costs more than reading
            return file.read()


def list_drop(drop: DropPath) -> list[DropFile]:
    """All files at any depth, in one listing, ordered by (entry's latest modification, entry, path).

    Hidden files and folders, which upload and archive tools leave behind, are no part of the drop. A missing folder
    is an empty drop, since object stores know no empty folders. Linked folders are not followed.
    """
    root = UPath(drop).absolute()
    listing = _list_local if root.protocol in _LOCAL_PROTOCOLS else _list_remote
    by_entry = {
        entry: list(group) for entry, group in groupby(sorted(listing(root), key=_place), key=lambda f: f.entry)
    }
    ordered = sorted(by_entry.items(), key=lambda pair: (max(f.modified_at for f in pair[1]), pair[0]))
    return [file for _, group in ordered for file in group]


def is_companion(source: str) -> bool:
    """Whether a file accompanies labels without holding any: pictures, class names, licence, read-me, file lists."""
    name = source.rpartition("/")[2].lower()
    return (
        name.endswith((*IMAGE_SUFFIXES, ".data", ".md"))
        or is_names_file(name)
        or name.startswith(("readme", "license", "licence"))
        or name == "notes.json"  # Label Studio puts it beside its YOLO export
    )


def is_hidden(part: str) -> bool:
    """Whether a file or folder of this name is no part of a drop."""
    return part.startswith(".") or part == "__MACOSX"


def _place(file: DropFile) -> tuple[str, str]:
    return file.entry, file.source


def _list_local(root: UPath) -> Iterator[DropFile]:
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            entries = os.scandir(os.path.join(root.path, folder))  # noqa: PTH118 faster by far over many files
        except FileNotFoundError:
            continue  # no drop yet, or a folder that is gone since it was listed
        with entries:
            for entry in entries:
                if is_hidden(entry.name):
                    continue
                relative = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    folders.append(relative)
                    continue
                try:
                    file = _local_file(root, relative, entry)
                except FileNotFoundError:
                    continue  # likewise
                yield file


def _local_file(root: UPath, relative: str, entry: os.DirEntry[str]) -> DropFile:
    try:
        status = entry.stat()
    except OSError:  # a dangling or circular link: listed as the link itself, refused when read
        status = entry.stat(follow_symlinks=False)
    modified_at = dt.datetime.fromtimestamp(status.st_mtime, tz=dt.UTC)
    etag = f"{status.st_ctime_ns:x}"
    return DropFile(_printable(relative), modified_at, status.st_size, etag, root, relative, entry.path)


def _list_remote(root: UPath) -> Iterator[DropFile]:
    base = str(root.path).rstrip("/")
    found: dict[str, dict[str, Any]] = root.fs.find(base, detail=True)
    for name, info in found.items():
        relative = name[len(base) :].lstrip("/")
        source = _printable(relative)
        if not any(is_hidden(part) for part in source.split("/")):
            etag = str(info.get("ETag") or info.get("etag") or "").strip('"')
            yield DropFile(source, _modified_at(info), int(info.get("size") or 0), etag, root, relative)


def _printable(relative: str) -> str:
    """File names that are no UTF-8 come as lone surrogates, which no table can hold."""
    if relative.isascii():
        return relative
    return relative.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _modified_at(info: dict[str, Any]) -> dt.datetime:
    """Modification time from an fsspec listing: S3 `LastModified`, in-memory `created`."""
    stamp = next(info[key] for key in ("mtime", "LastModified", "created") if info.get(key) is not None)
    return stamp.astimezone(dt.UTC) if isinstance(stamp, dt.datetime) else dt.datetime.fromtimestamp(stamp, tz=dt.UTC)
