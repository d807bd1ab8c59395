"""`python -m rehearsal.images cpu gpu`: builds the environments of the images and says where they lie."""

import sys

from rehearsal.images.environment import ImageName, image_environment, megabytes

NAMES: tuple[ImageName, ...] = ("cpu", "gpu")


def main(wanted: list[str]) -> None:
    """Build the images of those names."""
    for name in [name for name in NAMES if name in wanted]:
        image = image_environment(name)
        sys.stdout.write(f"{name}: {image.python}, project in {image.app}, {megabytes(image):.0f} MB\n")


if __name__ == "__main__":
    main(sys.argv[1:] or list(NAMES))
