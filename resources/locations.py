"""Addresses of folders and object stores as paths, the same for every adapter."""

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
