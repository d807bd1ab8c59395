"""Brings rendered files to where technicians and annotators would leave them."""

import shutil
from pathlib import Path


def deliver(source: Path, target: Path) -> int:
    """Copy what is not there yet, each file under a temporary name first; returns how many were copied."""
    copied = 0
    for path in sorted(p for p in source.rglob("*") if p.is_file()):
        destination = target / path.relative_to(source)
        if destination.exists():
            continue
        destination.parent.mkdir(parents=True, exist_ok=True)
        temporary = destination.with_name(f".{destination.name}.part")
        shutil.copy2(path, temporary)
        temporary.replace(destination)
        copied += 1
    return copied
