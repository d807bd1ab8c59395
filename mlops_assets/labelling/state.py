"""Rows of LABEL_STUDIO_TASKS from tasks as the server gives them."""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from mlops_assets.labelling.interface import UNLISTED, label_names
from mlops_assets.labelling.returning import changed_at, submitted
from mlops_assets.labelling.schema import LABEL_STUDIO_TASKS
from mlops_assets.labels.items import moment


def row_of(task: Mapping[str, Any], project: str, file_digest: str | None, now: dt.datetime) -> dict[str, Any]:
    """One row.

    Args:
        task: With annotations, drafts and predictions.
        project: Key of its project.
        file_digest: Of its file in the label drop.
        now: When it was read, UTC.
    """
    data = task["data"] if isinstance(task.get("data"), dict) else {}
    finished = submitted(task)
    drawn = [*(task.get("annotations") or []), *(task.get("drafts") or [])]
    predictions = task.get("predictions") or []
    photo_id, content = data.get("photo_id"), data.get("content")
    return {
        "task_id": task["id"],
        "project": project,
        "photo_id": photo_id if isinstance(photo_id, str) else None,
        "state": _state(task, bool(finished)),
        "reason": data.get("reason") if isinstance(data.get("reason"), str) else None,
        "created_at": moment(task.get("created_at")),
        "updated_at": moment(task.get("updated_at")),
        "labelled_at": changed_at(finished[-1]) if finished else None,
        "class_names": sorted(
            label_names(result for each in drawn for result in each.get("result") or []) - {UNLISTED}
        ),
        "predictions": [prediction["id"] for prediction in predictions],
        "content": content if isinstance(content, str) and not _is_half_made(data, predictions) else None,
        "file_digest": file_digest,
        "read_at": now,
    }


def as_table(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows as LABEL_STUDIO_TASKS, by task_id."""
    return pl.DataFrame(list(rows), schema=LABEL_STUDIO_TASKS, orient="row").sort("task_id")


def _state(task: Mapping[str, Any], labelled: bool) -> str:
    if labelled:
        return "labelled"
    if task.get("drafts") or task.get("draft_exists"):
        return "begun"
    return "skipped" if task.get("annotations") else "open"


def _is_half_made(data: Mapping[str, Any], predictions: list[Any]) -> bool:
    """Whether a push ended between a task and its pre-annotation, or between deleting one and giving the next."""
    return len(predictions) != int(bool(data.get("suggested")))
