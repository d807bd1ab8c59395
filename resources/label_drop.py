"""Where annotators leave their exports."""

from typing import TYPE_CHECKING

import dagster as dg

from resources.locations import location

if TYPE_CHECKING:
    from upath import UPath


class LabelDrop(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The label drop: a folder or an address such as s3://bucket/labels, read only."""

    address: str

    def path(self) -> "UPath":
        """The drop as a path; it may not exist yet."""
        return location(self.address)
