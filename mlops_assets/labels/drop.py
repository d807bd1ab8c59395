"""The label drop: which files it holds and in which order they count.

An entry of the drop is a file or folder at its top. What the files say belongs in `formats`.
"""

import datetime as dt
import os
from dataclasses import dataclass
from itertools import groupby
from pathlib import PurePosixPath
from typing import Any

from upath import UPath

from mlops_assets.labels.items import IMAGE_SUFFIXES
from mlops_assets.labels.yolo import is_names_file

DropPath = str | os.PathLike[str] | UPath
"""Where a label drop lies: a local folder or an fsspec address such as s3://bucket/labels."""


@dataclass(frozen=True, slots=True)
class DropFile:
    """One file of the label drop; `source` is its path in the drop, `/`-separated and always valid Unicode."""

    source: str
    modified_at: dt.datetime
    byte_size: int
    path: UPath

    @property
    def entry(self) -> str:
        """Name of the drop entry that the file belongs to."""
        return self.source.partition("/")[0]


def list_drop(drop: DropPath) -> list[DropFile]:
    """All files at any depth, in one listing, ordered by (entry's latest modification, entry, path).

    Hidden files and folders, which upload and archive tools leave behind, are no part of the drop. A missing folder
    is an empty drop, since object stores know no empty folders. Linked folders are not followed.
    """
    root = UPath(drop).absolute()
    base = str(root.path).rstrip("/")
    found: dict[str, dict[str, Any]] = root.fs.find(base, detail=True)
    files = [_drop_file(root, name[len(base) :].lstrip("/"), info) for name, info in found.items()]
    visible = [file for file in files if not any(_is_hidden(part) for part in file.source.split("/"))]
    by_entry = {entry: list(group) for entry, group in groupby(sorted(visible, key=_place), key=lambda f: f.entry)}
    ordered = sorted(by_entry.items(), key=lambda pair: (max(f.modified_at for f in pair[1]), pair[0]))
    return [file for _, group in ordered for file in group]


def is_companion(source: str) -> bool:
    """Whether a file accompanies labels without holding any: pictures, class names, licence, read-me, file lists."""
    name = PurePosixPath(source).name.lower()
    return (
        name.endswith((*IMAGE_SUFFIXES, ".data", ".md"))
        or is_names_file(name)
        or name.startswith(("readme", "license", "licence"))
        or name == "notes.json"  # Label Studio puts it beside its YOLO export
    )


def _place(file: DropFile) -> tuple[str, str]:
    return file.entry, file.source


def _is_hidden(part: str) -> bool:
    return part.startswith(".") or part == "__MACOSX"


def _drop_file(root: UPath, relative: str, info: dict[str, Any]) -> DropFile:
    # File names that are no UTF-8 come as lone surrogates, which no table can hold.
    source = relative.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return DropFile(source, _modified_at(info), int(info.get("size") or 0), root / relative)


def _modified_at(info: dict[str, Any]) -> dt.datetime:
    """Modification time from an fsspec listing: local `mtime`, S3 `LastModified`, in-memory `created`."""
    stamp = next(info[key] for key in ("mtime", "LastModified", "created") if info.get(key) is not None)
    return stamp.astimezone(dt.UTC) if isinstance(stamp, dt.datetime) else dt.datetime.fromtimestamp(stamp, tz=dt.UTC)
