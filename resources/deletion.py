"""Deletes a file for good, in an object store with its older versions; free of dagster.

Only erasure uses it. Everything else in this project adds and replaces.
"""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from upath import UPath

_LOCAL_PROTOCOLS = ("", "file", "local")


@dataclass(frozen=True)
class Deletion:
    """What became of one file.

    Attributes:
        address: Of the file.
        existed: Whether there was anything to delete.
        versions_kept: Whether the bucket may still hold older versions, which this account may not list or delete.
    """

    address: str
    existed: bool
    versions_kept: bool = False


def delete(target: "UPath") -> Deletion:
    """Delete a file, and its older versions where a bucket keeps them; one that is gone is no error.

    Raises:
        PermissionError: The file itself may not be deleted.
        OSError: The store cannot be written.
    """
    if target.protocol in _LOCAL_PROTOCOLS:
        existed = target.exists() or target.is_symlink()
        target.unlink(missing_ok=True)
        return Deletion(str(target), existed)
    existed = bool(target.fs.exists(target.path))
    if existed:
        target.fs.rm_file(target.path)
    if not hasattr(target.fs, "call_s3"):
        return Deletion(str(target), existed)
    try:
        return Deletion(str(target), _delete_versions(target) or existed)
    except PermissionError:
        return Deletion(str(target), existed, versions_kept=True)


def delete_leftovers(folder: "UPath", before: dt.datetime) -> int:
    """Delete what killed writes left in a local folder under a temporary name; object stores know no such thing.

    Args:
        folder: At any depth.
        before: A write that began later may still be going on.
    """
    if folder.protocol not in _LOCAL_PROTOCOLS:
        return 0
    hidden = [path for path in Path(str(folder)).rglob(".*") if path.is_file()]
    old = [path for path in hidden if path.stat().st_mtime < before.timestamp()]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)


def _delete_versions(target: "UPath") -> bool:
    """Delete all versions and delete markers of one key; whether there were any."""
    bucket, _, key = target.path.partition("/")
    found = [entry for entry in _versions(target.fs, bucket, key) if entry["Key"] == key]
    for entry in found:
        target.fs.call_s3("delete_object", Bucket=bucket, Key=key, VersionId=entry["VersionId"])
    return bool(found)


def _versions(file_system: Any, bucket: str, key: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    marker: dict[str, str] = {}
    while True:
        page = file_system.call_s3("list_object_versions", Bucket=bucket, Prefix=key, **marker)
        found += [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        if not page.get("IsTruncated"):
            return found
        marker = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}
