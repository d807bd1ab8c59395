"""The base weights that come with the code, so that the first training of a use case does not start from nothing.

How they are made stands in `pretraining/`; what they were made from, in the record beside them.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "base_weights"
"""Holds `<architecture>.pt` and `<architecture>.json`, the record: recipe, origin and SHA-256."""


class BundledWeightsError(ValueError):
    """The file in the repository is not the one that its record describes."""


@dataclass(frozen=True)
class BundledWeights:
    """A checkpoint in half precision and the SHA-256 of its file."""

    path: Path
    sha256: str


def record_path(architecture: str) -> Path:
    """Where the record of an architecture's weights stands, if there are any."""
    return FOLDER / f"{architecture}.json"


def bundled_weights(architecture: str) -> BundledWeights | None:
    """The bundled weights of an architecture such as yolo11n, or None.

    Raises:
        BundledWeightsError: The file is missing or another one.
    """
    record = record_path(architecture)
    if not record.is_file():
        return None
    expected = str(json.loads(record.read_text(encoding="utf-8"))["sha256"])
    path = record.with_suffix(".pt")
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
    if found != expected:
        raise BundledWeightsError(
            f"{path} should have SHA-256 {expected}, found {found}: restore it with git, or make it with "
            "`make base-weights`"
        )
    return BundledWeights(path, expected)
