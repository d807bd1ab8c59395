"""`python -m rehearsal.images cpu gpu`: builds the environments of the images and says where they lie."""

import sys
from pathlib import Path

from rehearsal.images.environment import ImageName, image_environment

NAMES: tuple[ImageName, ...] = ("cpu", "gpu")


def megabytes(folder: Path) -> float:
    """The files below a folder, in MB (10^6 bytes); links count nothing."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()) / 1e6


def main(wanted: list[str]) -> None:
    """Build the images of those names."""
    for name in [name for name in NAMES if name in wanted]:
        image = image_environment(name)
        size = sum(megabytes(folder) for folder in image.folders)
        sys.stdout.write(f"{name}: {image.python}, project in {image.app}, {size:.0f} MB\n")


if __name__ == "__main__":
    main(sys.argv[1:] or list(NAMES))
