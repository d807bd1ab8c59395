"""Where the checkpoints of trainings that are under way lie in the store; what they are, in `checkpoint_files.py`."""

import time
from typing import TYPE_CHECKING

import dagster as dg

from resources.checkpoint_files import CheckpointShelf, remove_folder
from resources.locations import location
from resources.run_lineage import attempts

if TYPE_CHECKING:
    from upath import UPath

_FOLDER = "checkpoints"


class Checkpoints(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Folders `checkpoints/<Dagster run>/` below the store's root."""

    root: str

    def of_run(self, instance: dg.DagsterInstance, run: dg.DagsterRun) -> CheckpointShelf:
        """Those of a Dagster run, or of the first of those that it goes on from, as with its MLflow run."""
        return CheckpointShelf(f"{self.root}/{_FOLDER}/{attempts(instance, run)[-1]}")

    def remove_orphans(self, days: float, keep: CheckpointShelf) -> list[str]:
        """Remove what was last written so many days ago, its training having come to no end; returns the run ids.

        Args:
            days: A number of days.
            keep: What the run that asks goes on from, however old it is.
        """
        base = location(self.root) / _FOLDER
        if not base.exists():
            return []
        before = time.time() - days * 86_400
        others = [folder for folder in base.iterdir() if folder.is_dir() and folder.name != keep.name]
        old = [folder for folder in others if _last_written(folder) < before]
        for folder in old:
            remove_folder(folder)
        return sorted(folder.name for folder in old)


def _last_written(folder: "UPath") -> float:
    """In seconds since 1970; an empty folder is one whose first checkpoint is on its way."""
    now = time.time()
    try:
        return max((path.stat().st_mtime for path in folder.rglob("*") if path.is_file()), default=now)
    except FileNotFoundError:
        return now  # its run removes old checkpoints just now
