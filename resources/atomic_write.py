"""Files that a reader sees whole or not at all, whatever ends the writer."""

import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upath import UPath

_SUFFIX = ".part"
_LEFT_OVER_SECONDS = 86_400.0
"""No write takes a day: what is older was left by a process that was killed."""


def write_atomically(target: "UPath", content: bytes, incoming: Path | None = None) -> None:
    """Write bytes under a temporary name and rename (local), or with one PUT or multipart upload (object store).

    Args:
        target: Replaced if it is there.
        content: All of it.
        incoming: Local folder on the same file system for the temporary file; beside `target` where None.

    Raises:
        OSError: It cannot be written, among others since the disk is full; then nothing is left of it.
    """
    if target.protocol not in ("", "file", "local"):
        target.fs.pipe_file(target.path, content)
        return
    path = Path(str(target))
    path.parent.mkdir(parents=True, exist_ok=True)
    if incoming is not None:
        incoming.mkdir(mode=0o700, parents=True, exist_ok=True)  # originals pass through it
    temporary = (incoming or path.parent) / f".{path.name}.{uuid.uuid4().hex}{_SUFFIX}"
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_left_over(incoming: Path) -> int:
    """Remove temporary files of writers that were killed more than a day ago; returns how many."""
    old = time.time() - _LEFT_OVER_SECONDS
    removed = 0
    for path in incoming.glob(f".*{_SUFFIX}"):
        try:
            if path.stat().st_mtime < old:
                path.unlink()
                removed += 1
        except FileNotFoundError:  # renamed, or removed by another run, since it was listed
            continue
    return removed
