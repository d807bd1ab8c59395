"""Brings rendered files to where technicians and annotators would leave them."""

import shutil
from pathlib import Path

from upath import UPath


def deliver(source: Path, target: Path | UPath) -> int:
    """Copy what is not there yet; returns how many files were copied.

    Args:
        source: A folder.
        target: A folder, where each file comes under a temporary name first, or a place in an object store, where each
            is one PUT.
    """
    copied = 0
    for path in sorted(p for p in source.rglob("*") if p.is_file()):
        destination = target / path.relative_to(source).as_posix()
        if destination.exists():
            continue
        _copy(path, destination)
        copied += 1
    return copied


def _copy(path: Path, destination: Path | UPath) -> None:
    if not isinstance(destination, Path):
        destination.write_bytes(path.read_bytes())
        return
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = destination.with_name(f".{destination.name}.part")
    shutil.copy2(path, temporary)
    temporary.replace(destination)
