"""One synchronisation with Label Studio: what annotators did comes back, then what they should do next is put there.

Every step can be cut off at any moment and run again: tasks are compared by photo_id with what the server holds, files
of the label drop are named by their task, and the table that remembers how far it got is written last.
"""

import datetime as dt
import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from mlops_assets.labelling.interface import labelling_config
from mlops_assets.labelling.plan import ERASED, Plan, plan
from mlops_assets.labelling.returning import export_file, file_name, project_key, task_of
from mlops_assets.labelling.state import as_table, row_of
from mlops_assets.labelling.tasks import wanted_tasks
from resources.label_studio import PREDICTION_VERSION

if TYPE_CHECKING:
    from resources.label_drop import LabelDrop
    from resources.label_studio import LabelStudio, Project

OVERLAP = dt.timedelta(minutes=10)
"""Looked at again before the latest change that is known: a change is stamped before it can be seen."""

SWEEP_EVERY = dt.timedelta(hours=20)
"""Between two comparisons of all tasks, whatever their time of change says; the sensor asks once a day."""

BATCH = 50
"""Tasks added in one request."""

DESCRIPTION = "Photos of the review queue. Tasks come and go by themselves; what is submitted becomes labels."


@dataclass(frozen=True)
class Inputs:
    """What a synchronisation goes by.

    Attributes:
        queue: REVIEW_QUEUE.
        classes: EQUIPMENT_CLASSES.
        annotations: ANNOTATIONS.
        previous: LABEL_STUDIO_TASKS as last written.
        erased: photo_id of erased photos.
        keep: How long an open task stays that the queue does not name.
    """

    queue: pl.DataFrame
    classes: pl.DataFrame
    annotations: pl.DataFrame
    previous: pl.DataFrame
    erased: Collection[str]
    keep: dt.timedelta


@dataclass
class Synced:
    """LABEL_STUDIO_TASKS as it is now, and what was done, in numbers."""

    tasks: pl.DataFrame
    project_id: int
    done: Counter[str] = field(default_factory=Counter)


def synchronise(server: "LabelStudio", drop: "LabelDrop", given: Inputs, now: Callable[[], dt.datetime]) -> Synced:
    """Bring annotations back and tasks up to date.

    Raises:
        LabelStudioError: The server is away or refuses; what was done so far stays and is found again.
        OSError: The label drop cannot be written.
    """
    project = server.find_project() or server.create_project(labelling_config(given.classes), DESCRIPTION)
    server.grant_photos(project.project_id)
    work = _Work(server, drop, project, project_key(project.project_id, project.created_at), now)
    known = given.previous.filter(pl.col("project") == work.key)
    work.rows = {row["task_id"]: row for row in known.iter_rows(named=True)}
    work.pull()
    work.configure(given.classes)
    wanted = wanted_tasks(given.queue, given.classes, server.photo_address, PREDICTION_VERSION)
    todo = plan(
        wanted,
        work.table(),
        erased=given.erased,
        labelled_at=_labelled_at(given.annotations),
        now=now(),
        keep=given.keep,
    )
    work.push(todo)
    return Synced(work.table(), project.project_id, work.done)


def _labelled_at(annotations: pl.DataFrame) -> dict[str, dt.datetime]:
    latest = annotations.group_by("photo_id").agg(pl.col("annotated_at").max())
    return dict(latest.drop_nulls().iter_rows())


@dataclass
class _Work:
    """A synchronisation under way."""

    server: "LabelStudio"
    drop: "LabelDrop"
    project: "Project"
    key: str
    now: Callable[[], dt.datetime]
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.files = set(self.drop.names())

    def table(self) -> pl.DataFrame:
        return as_table(self.rows.values())

    def pull(self) -> None:
        """Read what changed; everything, where the numbers do not add up or it is a day ago."""
        since = self._since()
        seen = self.absorb(self.server.tasks(self.project.project_id, since))
        if since is not None and self.project.tasks != len(self.rows):
            since = None
            seen = self.absorb(self.server.tasks(self.project.project_id))
        if since is None:
            self._sweep(seen)

    def absorb(self, tasks: Iterable[Mapping[str, Any]]) -> set[int]:
        """Write each task's labels to the label drop and remember it; returns the numbers."""
        seen = set()
        for task in tasks:
            before = self.rows.get(task["id"])
            digest = self._file(task, before["file_digest"] if before else None)
            self.rows[task["id"]] = row_of(task, self.key, digest, self.now())
            seen.add(task["id"])
        return seen

    def configure(self, classes: pl.DataFrame) -> None:
        """Offer the classes that there are now, and show the pre-annotations that are ours."""
        in_use = {name for row in self.rows.values() for name in row["class_names"] or ()}
        config = labelling_config(classes, in_use)
        if config != self.project.label_config:
            self.server.configure(self.project.project_id, label_config=config)
            self.done["labelling page changed"] += 1

    def push(self, todo: Plan) -> None:
        """Carry a plan out, then read what it changed."""
        for task_id, why in todo.delete.items():
            self._delete(task_id, why)
        for task_id, predictions, wanted in todo.change:
            self.server.replace_predictions(task_id, predictions, wanted.prediction)
            self.server.change_task(task_id, wanted.data)
        self.done["tasks changed"] += len(todo.change)
        for start in range(0, len(todo.add), BATCH):
            batch = todo.add[start : start + BATCH]
            self.server.add_tasks(
                self.project.project_id,
                [
                    {"data": wanted.data, "predictions": [wanted.prediction] if wanted.prediction else []}
                    for wanted in batch
                ],
            )
            self.done["tasks added"] += len(batch)
        if not todo.is_empty:
            self.absorb(self.server.tasks(self.project.project_id, self._since()))
        suggests = any(row["predictions"] for row in self.rows.values())
        if suggests and self.project.model_version != PREDICTION_VERSION:
            self.server.configure(self.project.project_id, model_version=PREDICTION_VERSION)

    def _since(self) -> dt.datetime | None:
        """From when on to read; None: everything."""
        stamps = [(row["updated_at"], row["read_at"]) for row in self.rows.values()]
        if not stamps or min(read for _, read in stamps) < self.now() - SWEEP_EVERY:
            return None
        latest: dt.datetime = max(updated for updated, _ in stamps)
        return latest - OVERLAP

    def _sweep(self, seen: Collection[int]) -> None:
        """Forget tasks that are gone, and take back their labels: who deletes a task deletes its labels.

        Each is asked for by its number before, since pages may have missed it.
        """
        kept = {task_id for name in self.files if (task_id := task_of(name, self.key)) is not None}
        for task_id in sorted((kept | set(self.rows)) - set(seen)):
            task = self.server.task(task_id)
            if task is None:
                self._forget(task_id)
                self.done["tasks gone"] += 1
            else:
                self.absorb([task])

    def _delete(self, task_id: int, why: str) -> None:
        """Delete a task; one that somebody has begun since it was read stays, unless its photo was erased."""
        if why != ERASED:
            task = self.server.task(task_id)
            if task is not None:
                self.absorb([task])
                if self.rows[task_id]["state"] != "open":
                    return
        self.server.delete_task(task_id)
        self._forget(task_id)
        self.done[f"tasks deleted: {why}"] += 1

    def _file(self, task: Mapping[str, Any], before: str | None) -> str | None:
        """Write, replace or remove a task's file; returns its digest."""
        name, content = file_name(self.key, task["id"]), export_file(task)
        if content is None:
            if name in self.files:
                self._remove(name)
                self.done["labellings taken back"] += 1
            return None
        digest = hashlib.sha256(content).hexdigest()[:16]
        if digest != before or name not in self.files:
            self.drop.put(name, content)
            self.files.add(name)
            self.done["labellings brought back"] += 1
        return digest

    def _forget(self, task_id: int) -> None:
        self._remove(file_name(self.key, task_id))
        self.rows.pop(task_id, None)

    def _remove(self, name: str) -> None:
        self.drop.remove(name)
        self.files.discard(name)
