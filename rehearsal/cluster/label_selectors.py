"""Label and field selectors of list calls: equality, sets and existence."""

import re
from typing import Any

from rehearsal.cluster.objects import ApiError, Object, labels_of

_SET = re.compile(r"^\s*(\S+)\s+(in|notin)\s+\(([^)]*)\)\s*$")
_PART = re.compile(r",(?![^(]*\))")


def matches_labels(thing: Object, selector: str) -> bool:
    """Whether the object's labels fulfil a selector such as `a=b,c!=d,e in (f,g),!h`.

    Raises:
        ApiError: 400, where the selector cannot be read.
    """
    labels = labels_of(thing)
    return all(_holds(labels, part.strip()) for part in _PART.split(selector) if part.strip())


def _holds(labels: dict[str, str], part: str) -> bool:
    found = _SET.match(part)
    if found:
        key, operator, values = found.groups()
        within = labels.get(key) in {value.strip() for value in values.split(",")}
        return within if operator == "in" else not within
    if "!=" in part:
        key, value = part.split("!=", 1)
        return labels.get(key.strip()) != value.strip()
    if "=" in part:
        key, value = re.split("==?", part, maxsplit=1)
        return labels.get(key.strip()) == value.strip()
    if " " in part:
        raise ApiError(400, "BadRequest", f"unable to parse requirement: {part!r}")
    return (part[1:] not in labels) if part.startswith("!") else part in labels


def matches_fields(thing: Object, selector: str) -> bool:
    """Whether the object's fields fulfil a selector such as `metadata.name=a,status.phase!=Running`."""
    return all(_field_holds(thing, part) for part in selector.split(",") if part.strip())


def _field_holds(thing: Object, part: str) -> bool:
    found = re.match(r"^\s*([\w.]+)\s*(!=|==?)\s*(.*?)\s*$", part)
    if not found:
        raise ApiError(400, "BadRequest", f"invalid field selector: {part!r}")
    path, operator, value = found.groups()
    here: Any = thing
    for step in path.split("."):
        here = here.get(step, "") if isinstance(here, dict) else ""
    return (str(here) == value) != (operator == "!=")
