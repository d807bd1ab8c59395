"""Which images a change makes it necessary to build.

A path belongs to an image if the image's Dockerfile copies it, or is it: the Dockerfiles are the only list there is. On
main a change counts from the commit that the image in the registry was built from, so that a failed build is caught up
on; in a pull request from the commit that it goes into. Prints a JSON list of image names, and why on stderr.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from dockerfile_parse import DockerfileParser

from scripts.ci.registry import PREFIX, Registry

ROOT = Path(__file__).resolve().parents[2]
IMAGES = "k8s/images"


def ingredients(dockerfile: Path) -> set[str]:
    """What of the build context an image is made of: paths, folders and patterns below the top of the repository."""
    parser = DockerfileParser(path=str(dockerfile), cache_content=True)
    lines = [entry["value"].split() for entry in parser.structure if entry["instruction"] in {"COPY", "ADD"}]
    context = [words for words in lines if not any(word.startswith("--from=") for word in words)]
    copied = [word for words in context for word in words[:-1] if not word.startswith("--")]
    return {word.removeprefix("./").rstrip("/") for word in copied}


def all_images(root: Path = ROOT) -> dict[str, set[str]]:
    """Ingredients by image name, its Dockerfile and .dockerignore among them."""
    found = sorted((root / IMAGES).glob("*.Dockerfile"))
    own = ".dockerignore"
    return {path.name.removesuffix(".Dockerfile"): ingredients(path) | {own, f"{IMAGES}/{path.name}"} for path in found}


def belongs(path: str, parts: Iterable[str]) -> bool:
    """Whether a changed path is among an image's ingredients, or inside one."""
    folders = [str(parent) for parent in Path(path).parents]  # ends with "."
    return any(fnmatchcase(place, part) for part in parts for place in (path, *folders))


def to_build(images: Mapping[str, set[str]], changes: Mapping[str, list[str] | None]) -> dict[str, str]:
    """Images to build, with the reason.

    Args:
        images: Ingredients by image name.
        changes: Changed paths by image name; None where nobody knows since when, which means to build.
    """
    why: dict[str, str] = {}
    for name, parts in images.items():
        changed = changes[name]
        if changed is None:
            why[name] = "nothing to compare with"
        elif touched := [path for path in changed if belongs(path, parts)]:
            why[name] = f"{len(touched)} files changed, {touched[0]} among them"
    return why


def changed_since(base: str | None, root: Path = ROOT) -> list[str] | None:
    """Paths that differ between a commit and HEAD, both names of a renamed file; None if the commit is not known."""
    if not base:
        return None
    known = subprocess.run(["git", "cat-file", "-e", f"{base}^{{commit}}"], cwd=root, capture_output=True, check=False)  # noqa: S603, S607 git
    if known.returncode:
        return None
    command = ["git", "diff", "--name-only", "--no-renames", "-z", base, "HEAD"]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout  # noqa: S603 git
    return [path for path in listed.split("\0") if path]


def main() -> None:
    """Decide for the checked-out commit."""
    parser = argparse.ArgumentParser()
    since = parser.add_mutually_exclusive_group(required=True)
    since.add_argument("--base", help="the commit to compare with")
    since.add_argument("--registry", help="where the images of main are, as ghcr.io/owner")
    since.add_argument("--all", action="store_true", help="build all")
    arguments = parser.parse_args()
    images = all_images()
    bases: dict[str, str | None] = dict.fromkeys(images, arguments.base)
    if arguments.registry:
        registry = Registry(arguments.registry)
        bases = {name: registry.revision(f"{PREFIX}{name}:main") for name in images}
    why = to_build(images, {name: changed_since(base) for name, base in bases.items()})
    for name in images:
        print(f"{name}: {why.get(name, f'unchanged since {bases[name]}')}", file=sys.stderr)
    print(json.dumps(sorted(why)))


if __name__ == "__main__":
    main()
