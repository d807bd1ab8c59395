"""The exports on one machine: made when a training wants one, kept for the next, the oldest removed.

Layout of the folder: `<name>/` an export; `.scaled-<size>/` scaled photos, to which exports are hard links, so that a
version that differs by a label costs no second scaling; `.locks/`. A lock dies with its process, whatever ends that.
"""

import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import polars as pl

from mlops_assets.dataset.export import (
    DATA_YAML,
    MARKER,
    DatasetExportError,
    Photos,
    contents_of,
    export_yolo,
    is_complete,
)

KEPT_EXPORTS = 3
"""That stay on a machine, the last used ones, beside any that is in use."""

_TRIES, _POLL_S = 240, 0.5
_SCALED, _GONE, _LOCKS = ".scaled-", ".gone-", ".locks"


@contextmanager
def exported(
    dataset: pl.DataFrame,
    class_ids: Sequence[int],
    photos: Photos,
    folder: Path,
    name: str,
    *,
    image_size: int,
    workers: int,
    keep: int = KEPT_EXPORTS,
) -> Iterator[Path]:
    """An export for as long as it is used: taken over where it is complete, else made or completed.

    Args:
        dataset: TRAINING_DATASET.
        class_ids: Classes of the model.
        photos: Where they come from; `scaled` is set here.
        folder: Of all exports of the use case on this machine.
        name: Of this one.
        image_size: Long side, pixels.
        workers: Threads.
        keep: Exports that stay, this one included; those in use stay anyway.

    Yields:
        Path of data.yaml.

    Raises:
        DatasetExportError: See `export_yolo`, or another process goes on using an incomplete one.
    """
    target, scaled = folder / name, folder / f"{_SCALED}{image_size}"
    contents = contents_of(dataset, class_ids)
    for again in range(_TRIES):
        with _locked(folder, name, fcntl.LOCK_SH):
            if is_complete(dataset, contents, target, image_size):
                os.utime(target / MARKER)
                remove_old(folder, keep, name)
                yield target / DATA_YAML
                return
        time.sleep(_POLL_S if again else 0)
        # Where another process makes it, we wait for its lock above; where one uses it, we must not change it.
        with (
            suppress(BlockingIOError),
            _locked(folder, name, fcntl.LOCK_EX | fcntl.LOCK_NB),
            _locked(folder, scaled.name, fcntl.LOCK_SH),
        ):
            shared = replace(photos, scaled=scaled)
            export_yolo(dataset, class_ids, shared, target, image_size=image_size, workers=workers)
    raise DatasetExportError(f"{target} is not complete and another process uses it: wait for it to end, or end it")


def remove_old(folder: Path, keep: int, used: str) -> list[str]:
    """Remove the exports that were used longest ago, but none in use, and scaled photos that no export links to.

    Only folders that `export_yolo` marked as its own are touched.

    Args:
        folder: Of the exports.
        keep: How many stay.
        used: The one that is in use by this process.

    Returns:
        Names of the removed exports.
    """
    marked = [path.parent for path in folder.glob(f"*/{MARKER}") if not path.parent.name.startswith(".")]
    others = [path for path in marked if path.name != used]
    by_use = sorted(others, key=lambda path: (path / MARKER).stat().st_mtime_ns, reverse=True)
    removed = [path.name for path in by_use[max(keep - 1, 0) :] if _removed(folder, path)]
    for left in folder.glob(f"{_GONE}*"):  # also what a kill left
        shutil.rmtree(left, ignore_errors=True)
    for scaled in folder.glob(f"{_SCALED}*") if removed else []:
        _prune(folder, scaled)
    return removed


def _removed(folder: Path, export: Path) -> bool:
    """Whether an export could be taken away: renamed first, so that no half of one is ever found under its name."""
    try:
        with _locked(folder, export.name, fcntl.LOCK_EX | fcntl.LOCK_NB):
            export.rename(folder / f"{_GONE}{uuid.uuid4().hex}")
            (folder / _LOCKS / export.name).unlink(missing_ok=True)
    except BlockingIOError:
        return False
    return True


def _prune(folder: Path, scaled: Path) -> None:
    """Remove the scaled photos that have no other name than this one."""
    try:
        with _locked(folder, scaled.name, fcntl.LOCK_EX | fcntl.LOCK_NB):
            for path in scaled.rglob("*"):
                if path.is_file() and path.stat().st_nlink == 1:
                    path.unlink()
    except BlockingIOError:
        return  # another export is being made of them; the next removal looks again


@contextmanager
def _locked(folder: Path, name: str, how: int) -> Iterator[int]:
    """Hold the lock of an export or of the scaled photos.

    Raises:
        BlockingIOError: Another process has it, with LOCK_NB.
    """
    path = folder / _LOCKS / name
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, how)
            if not _is_still(lock, path):
                continue  # its export was removed while we waited
            yield lock
            return
        finally:
            os.close(lock)


def _is_still(lock: int, path: Path) -> bool:
    try:
        return os.fstat(lock).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False
