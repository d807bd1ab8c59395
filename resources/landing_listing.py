"""How a day's landing is listed, in a folder and in an object store; nothing is read. Free of dagster."""

import datetime as dt
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resources.landed_file import LandedFile, LandedFileError

if TYPE_CHECKING:
    from upath import UPath


def printable(name: str) -> str:
    """Spell bytes that are no UTF-8 in words, since no table column can hold them."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def list_local(folder: Path) -> Iterator[LandedFile]:
    """Every file below a folder; a symbolic link as one entry, also when it leads to a folder."""
    for parent, subfolders, names in os.walk(folder, onerror=_raise_unless_missing):
        links = [name for name in subfolders if (Path(parent) / name).is_symlink()]
        for path in (Path(parent) / name for name in (*links, *names)):
            try:
                status = path.stat()
            except OSError:  # a dangling or circular link: listed as the link itself, refused when read
                status = path.lstat()
            yield LandedFile(
                uri=printable(str(path)),
                relative_path=printable(path.relative_to(folder).as_posix()),
                etag=f"{status.st_mtime_ns:x}-{status.st_size:x}",
                modified_at=dt.datetime.fromtimestamp(status.st_mtime, tz=dt.UTC),
                byte_size=status.st_size,
            )


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def list_remote(landing: "UPath", day: str) -> Iterator[LandedFile]:
    """Every object below a day's prefix; modification times in UTC."""
    file_system = landing.fs
    prefix = f"{landing.path.rstrip('/')}/{day}/"
    listing: Mapping[str, Mapping[str, Any]] = file_system.find(prefix, detail=True)
    for key, info in listing.items():
        if key.endswith("/") or info["type"] != "file":  # consoles create empty objects that stand for folders
            continue
        modified_at = _modified_at(key, info)
        yield LandedFile(
            uri=file_system.unstrip_protocol(key),
            relative_path=key.removeprefix(prefix),
            etag=str(info.get("ETag", f"{modified_at.timestamp():.6f}-{info['size']:x}")).strip('"'),
            modified_at=modified_at,
            byte_size=int(info["size"]),
        )


def _modified_at(key: str, info: Mapping[str, Any]) -> dt.datetime:
    # fsspec has no common name for it.
    for name in ("LastModified", "last_modified", "mtime", "updated", "created"):
        value = info.get(name)
        if isinstance(value, dt.datetime):
            return value.astimezone(dt.UTC)
    raise LandedFileError(f"{key}: its file system tells no modification time; use a local folder or s3://")
