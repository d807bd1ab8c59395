"""How a class is named where a rename must not reach: in weights, ONNX, data.yaml and decisions."""

import re

_KEY = re.compile(r"c(\d{4,9})")


def class_key(class_id: int) -> str:
    """Stable name of a class, such as `c0007`; a rename does not change it."""
    return f"c{class_id:04d}"


def class_id_of(text: str) -> int | None:
    """The id of a text in the form of `class_key`, None for any other text."""
    found = _KEY.fullmatch(text)
    return int(found[1]) if found else None
