"""An asset's code version, from the code and packages that it is made of rather than from a number that somebody keeps.

It is the hash of the symbols that the asset's function reaches (`code_symbols`), of the data files beside them, and of
the versions that its image pins of the packages which those symbols import. Nothing is imported for it: a code server
without torch knows the version of a training step.
"""

import ast
import hashlib
import json
import os
import re
import sys
import uuid
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias

from mlops_assets.code_symbols import PACKAGE, PROJECT, Symbol, reach, read_module, syntax

Image: TypeAlias = Literal["cpu", "gpu"]

LOCKS: dict[Image, Path] = {
    "cpu": PROJECT / "k8s/images/requirements-cpu.lock",
    "gpu": PROJECT / "k8s/images/requirements-gpu.lock",
}
"""What each image has installed."""

DATA_FILES = {
    "mlops_assets.catalog.pages": "templates/*",
    "mlops_assets.detector.bundled": "base_weights/*.json",  # the record holds the SHA-256 of the weights
}
"""Files that belong to a module's code, relative to its folder."""

DISTRIBUTIONS = {"cv2": "opencv-python-headless", "pil": "pillow", "upath": "universal-pathlib", "yaml": "pyyaml"}
"""Distributions whose name is not that of the package that they bring."""

_CACHE = PROJECT / PACKAGE / "__pycache__" / "code_versions.json"
_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)")


class UnpinnedPackageError(LookupError):
    """A step imports a package that its image does not pin."""


def code_version(module: str, *names: str, image: Image | None = None) -> str:
    """The version of what some top-level names of a module are made of.

    Args:
        module: Dotted name of a module of this project, such as `mlops_assets.photos.assets`.
        names: Functions, classes or constants in it.
        image: Whose pinned packages count; None for none.

    Returns:
        12 hex digits.

    Raises:
        LookupError: The module has no such name.
        UnpinnedPackageError: The image lacks a package that the code imports.
    """
    key = " ".join([module, *sorted(names), image or "-"])
    known = _known_versions()
    if key not in known:
        known[key] = _compute(module, names, image)
        _keep(known)
    return known[key]


def syntax_version(modules: Iterable[str]) -> str:
    """The version of whole modules alone, by dotted name, whatever they import."""
    digest = hashlib.sha256()
    for module in modules:
        for statements in read_module(module).statements.values():
            digest.update("\n".join(ast.dump(statement) for statement in statements).encode())
    return digest.hexdigest()[:12]


def _compute(module: str, names: Iterable[str], image: Image | None) -> str:
    reached = [reach(Symbol(module, name)) for name in names]
    symbols = set().union(*(each.symbols for each in reached))
    digest = hashlib.sha256()
    for symbol in sorted(symbols):
        digest.update(f"{symbol.module}:{symbol.name}\n{syntax(symbol)}\n".encode())
    for file in data_files({symbol.module for symbol in symbols}):
        digest.update(file.name.encode() + hashlib.sha256(file.read_bytes()).digest())
    packages: set[str] = set().union(*(each.packages for each in reached))
    if image:
        digest.update("\n".join(f"{name}=={pinned_version(name, image)}" for name in sorted(packages)).encode())
    return digest.hexdigest()[:12]


def data_files(modules: Iterable[str]) -> list[Path]:
    """Files that belong to the code of some modules, sorted."""
    patterns = ((PROJECT.joinpath(*module.split(".")).parent, DATA_FILES.get(module)) for module in modules)
    return sorted(file for folder, pattern in patterns if pattern for file in folder.glob(pattern))


def pinned_version(package: str, image: Image) -> str:
    """What an image pins of the package with a top-level import name.

    Raises:
        UnpinnedPackageError: Nothing.
    """
    name = package.lower()
    distribution = DISTRIBUTIONS.get(name, name.replace("_", "-"))
    if distribution not in (pins := _pins(image)):
        raise UnpinnedPackageError(
            f"The code of a step on the {image} image imports {distribution}, which {LOCKS[image].name} does not pin: "
            "add it to the extras of that image in pyproject.toml and run `make lock`"
        )
    return pins[distribution]


@cache
def _pins(image: Image) -> dict[str, str]:
    """Version by distribution."""
    lines = LOCKS[image].read_text(encoding="utf-8").splitlines()
    found = (_PIN.match(line) for line in lines)
    return {match[1].lower().replace("_", "-"): match[2] for match in found if match}


# Reading the syntax of some seventy files costs 0.2 s, which every process of every step would pay. What came out is
# kept where Python keeps its bytecode, for just these bytes of source; images are built with it.


@cache
def _known_versions() -> dict[str, str]:
    try:
        kept = json.loads(_CACHE.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet, or cut off: it is made anew
        return {}
    return dict(kept["versions"]) if kept.get("source") == _source_digest() else {}


def _keep(versions: dict[str, str]) -> None:
    if sys.dont_write_bytecode or not os.access(_CACHE.parent.parent, os.W_OK):
        return
    _CACHE.parent.mkdir(exist_ok=True)
    temporary = _CACHE.with_name(f".{_CACHE.name}.{uuid.uuid4().hex}")
    temporary.write_text(json.dumps({"source": _source_digest(), "versions": versions}), encoding="utf-8")
    temporary.replace(_CACHE)


@cache
def _source_digest() -> str:
    """Of all that a version can depend on, and of the Python that reads it."""
    digest = hashlib.sha256(sys.version.encode())
    folder = PROJECT / PACKAGE
    files = [*folder.rglob("*.py"), *data_files(DATA_FILES), *LOCKS.values()]
    for file in sorted(files):
        digest.update(str(file.relative_to(PROJECT)).encode() + file.read_bytes())
    return digest.hexdigest()
