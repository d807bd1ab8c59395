"""A local folder that something outside Dagster serves, such as the catalogue's pages."""

from pathlib import Path

import dagster as dg


class OutputFolder(dg.ConfigurableResource):  # type: ignore[type-arg]
    """A folder on this machine, or on a volume that the web server shares."""

    folder: str

    def path(self) -> Path:
        """The folder; it may not exist yet."""
        return Path(self.folder)
