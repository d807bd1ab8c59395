"""The images of a release by digest: those that were built for it, and for the rest those that main has.

Prints JSON, image name → address with digest, as `scripts.ci.deploy` takes it.
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

from scripts.ci.changed_images import all_images
from scripts.ci.registry import PREFIX, Registry


def release(names: Iterable[str], built: Path, registry: Registry) -> dict[str, str]:
    """Addresses by image name; `built` holds a file with the digest for each image that was built.

    Raises:
        LookupError: An image was neither built nor is in the registry.
    """
    images: dict[str, str] = {}
    for name in names:
        file = built / name
        digest = file.read_text().strip() if file.exists() else registry.digest(f"{PREFIX}{name}:main")
        if not digest:
            raise LookupError(f"{PREFIX}{name} was not built, and {registry.address} has none of main")
        images[f"{PREFIX}{name}"] = f"{registry.address}/{PREFIX}{name}@{digest}"
    return images


def main() -> None:
    """Print the release."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--registry", required=True)
    parser.add_argument("--built", type=Path, required=True, help="a folder with a file for each image that was built")
    arguments = parser.parse_args()
    print(json.dumps(release(all_images(), arguments.built, Registry(arguments.registry))))


if __name__ == "__main__":
    main()
