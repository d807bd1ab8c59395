"""Addresses of folders and object stores as paths, and writing whole files there, the same for every adapter."""

import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upath import UPath


def location(address: str) -> "UPath":
    """A folder, or an address such as s3://bucket/folder, as a path that always sees what others wrote.

    fsspec keeps listings in memory for as long as a process lives: a code server, whose sensors look every few seconds,
    would never see the table that a step's pod has written.
    """
    from upath import UPath

    return UPath(address, use_listings_cache=False) if "://" in address else UPath(address)


def write_atomically(path: "UPath", content: bytes) -> None:
    """Write bytes under a temporary name and rename (local), or with one PUT (object store)."""
    if path.protocol not in ("", "file", "local"):
        path.write_bytes(content)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        temporary.write_bytes(content)
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)
