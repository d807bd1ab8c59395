"""Where annotators leave their exports, and where what they submit in Label Studio is put."""

from typing import TYPE_CHECKING

import dagster as dg

from resources.atomic_write import write_atomically
from resources.locations import location

if TYPE_CHECKING:
    from upath import UPath


class LabelDrop(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The label drop: a folder or an address such as s3://bucket/labels. What people put there is only read."""

    address: str

    def path(self) -> "UPath":
        """The drop as a path; it may not exist yet."""
        return location(self.address)

    def names(self) -> list[str]:
        """Names of the files and folders at its top; none where it does not exist yet."""
        path = self.path()
        return sorted(entry.name for entry in path.iterdir()) if path.exists() else []

    def put(self, name: str, content: bytes) -> None:
        """Write a file at the top, in place of an earlier one; a reader sees all of it or nothing.

        Raises:
            ValueError: `name` is no plain file name, or `content` is empty.
            OSError: The drop cannot be written.
        """
        if "/" in name or name.startswith(".") or not content:
            raise ValueError(
                f"{name!r} is no name of a file at the top of the label drop, or there is nothing to write"
            )
        write_atomically(self.path() / name, content)

    def remove(self, name: str) -> None:
        """Remove a file at the top; one that is not there is no error.

        Raises:
            OSError: The drop cannot be written.
        """
        (self.path() / name).unlink(missing_ok=True)
