"""Where annotators leave their exports."""

import dagster as dg
from upath import UPath

from resources.locations import location


class LabelDrop(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The label drop: a folder or an address such as s3://bucket/labels, read only."""

    address: str

    def path(self) -> UPath:
        """The drop as a path; it may not exist yet."""
        return location(self.address)
