"""From a task's annotations to its file in the label drop, from where the importer of labels goes on.

A file holds one task as Label Studio exports it, with the annotations that count: submitted ones. Drafts and refusals
are no labels. A task without any has no file.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from mlops_assets.labelling.interface import LABEL, NEW_NAME, UNLISTED
from mlops_assets.labels.items import moment

PREFIX = "label-studio-"

Json = dict[str, Any]


def file_name(project: str, task_id: int) -> str:
    """Name of a task's file in the label drop."""
    return f"{PREFIX}{project}-{task_id}.json"


def task_of(name: str, project: str) -> int | None:
    """Number of the task that a file of the label drop belongs to; None for any other file."""
    start = f"{PREFIX}{project}-"
    number = name.removeprefix(start).removesuffix(".json")
    return int(number) if name == f"{start}{number}.json" and number.isdecimal() else None


def project_key(project_id: int, created_at: str) -> str:
    """Tells a project from that of the same number in a server whose database began anew."""
    return f"{project_id}-{hashlib.sha256(created_at.encode()).hexdigest()[:6]}"


def submitted(task: Mapping[str, Any]) -> list[Json]:
    """Annotations that count: neither refusals nor drafts, the latest last."""
    found = [each for each in task.get("annotations") or [] if not each.get("was_cancelled")]
    return sorted(found, key=lambda each: (changed_at(each), each["id"]))


def changed_at(annotation: Mapping[str, Any]) -> dt.datetime:
    """When an annotation was last changed."""
    stamps = [moment(annotation.get(name)) for name in ("updated_at", "created_at")]
    return max((stamp for stamp in stamps if stamp), default=dt.datetime.min.replace(tzinfo=dt.UTC))


def export_file(task: Mapping[str, Any]) -> bytes | None:
    """The task as Label Studio's JSON export has it; the same for the same annotations.

    created_at is when an annotation was last changed, since of several labellings of a photo the later one counts, and
    the time of drawing stands in `first_created_at`.

    Returns:
        None where nothing is labelled.
    """
    annotations = [
        {
            "id": annotation["id"],
            "completed_by": _annotator(annotation.get("completed_by")),
            "was_cancelled": False,
            "created_at": changed_at(annotation).isoformat(),
            "first_created_at": annotation.get("created_at"),
            "lead_time": annotation.get("lead_time"),
            "result": with_new_names(annotation.get("result") or []),
        }
        for annotation in submitted(task)
    ]
    if not annotations:
        return None
    content = [{"id": task["id"], "data": task["data"], "annotations": annotations}]
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False).encode()


def _annotator(completed_by: object) -> object:
    """The user's number: a list of tasks gives just that, a single task more, and a person's address is not needed."""
    return completed_by.get("id") if isinstance(completed_by, dict) else completed_by


def with_new_names(results: Sequence[Json]) -> list[Json]:
    """Rectangles of an unlisted class under the name that the annotator typed.

    One without a name keeps no label at all: the importer quarantines it, with a remedy, where the placeholder would
    have become a class.
    """
    typed = {
        result.get("id"): _typed(result)
        for result in results
        if result.get("from_name") == NEW_NAME and result.get("type") == "textarea"
    }
    return [_named(result, typed) for result in results if result.get("from_name") != NEW_NAME]


def _named(result: Json, typed: Mapping[object, str]) -> Json:
    value = result.get("value")
    if (
        result.get("from_name") != LABEL
        or not isinstance(value, dict)
        or UNLISTED not in value.get("rectanglelabels", ())
    ):
        return result
    name = typed.get(result.get("id"), "")
    return {**result, "value": {**value, "rectanglelabels": [name] if name else []}}


def _typed(result: Mapping[str, Any]) -> str:
    value = result.get("value")
    text = value.get("text") if isinstance(value, dict) else None
    lines = [text] if isinstance(text, str) else text if isinstance(text, list) else []
    words = [line for line in lines if isinstance(line, str) and line.strip()]
    return " ".join(words[-1].split()) if words else ""
