"""Dataset versions: immutable folders under the fingerprint of what they hold."""

from collections.abc import Mapping

import dagster as dg
import polars as pl

from resources.atomic_write import write_atomically
from resources.locations import location
from resources.tables import write_parquet


class DatasetVersions(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Folders `datasets/<fingerprint>/` below the store's root; a version that is complete is never written again."""

    root: str

    def put(self, fingerprint: str, rows: pl.DataFrame, files: Mapping[str, str]) -> str:
        """Write rows.parquet and text files, the last of `files` marking the version as complete.

        Returns:
            The version's address.
        """
        folder = location(self.root) / "datasets" / fingerprint
        *_, complete = files
        if not (folder / complete).exists():
            write_parquet(rows, folder / "rows.parquet")
            for name, text in files.items():
                write_atomically(folder / name, text.encode())
        return str(folder)
