"""Versions as the live server has fetched them: those that are needed no more are removed, as the disk is small."""

import logging
import shutil
from collections.abc import Collection
from pathlib import Path

_log = logging.getLogger(__name__)


def keep_only(versions: Collection[str], folder: Path) -> None:
    """Remove all other versions of a model; what cannot be removed is said in the log and stays.

    Args:
        versions: That are needed.
        folder: Holds a folder for each version of the model, and belongs to this server alone.
    """
    if not folder.is_dir():
        return
    for version in sorted(folder.iterdir()):
        if version.name not in versions:
            shutil.rmtree(version, onerror=_told)


def _told(_function: object, path: str, failure: tuple[object, BaseException, object]) -> None:
    _log.warning("%s stays: %s", path, failure[1])
