"""What to change in Label Studio so that it holds the tasks that it should: decided from plain facts, nothing is asked.

A task that somebody has begun or labelled belongs to the annotators: only an erasure deletes it.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import polars as pl

from mlops_assets.labelling.tasks import WantedTask

ERASED = "its photo was erased"
DOUBLED = "a second task of the same photo"
NOT_QUEUED = "the review queue does not name its photo any more"


@dataclass(frozen=True)
class Plan:
    """What to do.

    Attributes:
        add: Photos without a task.
        change: (task_id, its pre-annotations, what it should be) of open tasks that say or suggest something else.
        delete: Reason by task_id.
    """

    add: tuple[WantedTask, ...] = ()
    change: tuple[tuple[int, tuple[int, ...], WantedTask], ...] = ()
    delete: Mapping[int, str] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether Label Studio is as it should be."""
        return not (self.add or self.change or self.delete)


def plan(
    wanted: Mapping[str, WantedTask],
    tasks: pl.DataFrame,
    *,
    erased: Collection[str],
    labelled_at: Mapping[str, dt.datetime],
    now: dt.datetime,
    keep: dt.timedelta,
) -> Plan:
    """Compare what should be there with what is.

    Args:
        wanted: Tasks of the review queue by photo_id, in its order.
        tasks: LABEL_STUDIO_TASKS as the server has them.
        erased: photo_id of erased photos.
        labelled_at: Time of the labelling that counts, by photo_id, as imported.
        now: UTC.
        keep: How long an open task stays that the queue does not name any more; who opened it in the browser a moment
            ago has left no trace of it.
    """
    by_photo: dict[str, list[dict[str, object]]] = {}
    for row in tasks.drop_nulls("photo_id").sort("task_id").iter_rows(named=True):
        by_photo.setdefault(row["photo_id"], []).append(row)
    delete: dict[int, str] = {}
    change: list[tuple[int, tuple[int, ...], WantedTask]] = []
    for photo_id, rows in by_photo.items():
        if photo_id in erased:
            delete |= _all(rows, ERASED)
            continue
        standing, doubled = _standing(rows)
        delete |= _all(doubled, DOUBLED)
        if standing is None or standing["state"] != "open":
            continue
        target = wanted.get(photo_id)
        if target is None:
            if standing["created_at"] < now - keep:  # type: ignore[operator]
                delete |= _all([standing], NOT_QUEUED)
        elif standing["content"] != target.data["content"]:
            change.append((standing["task_id"], tuple(standing["predictions"] or ()), target))  # type: ignore[arg-type]
    missing = (
        target
        for photo_id, target in wanted.items()
        if photo_id not in erased and _needs_task(target, by_photo.get(photo_id, []), labelled_at.get(photo_id))
    )
    return Plan(tuple(missing), tuple(change), delete)


def _all(rows: Iterable[Mapping[str, object]], why: str) -> dict[int, str]:
    return {row["task_id"]: why for row in rows}  # type: ignore[misc]


def _standing(
    rows: list[dict[str, object]],
) -> tuple[dict[str, object] | None, list[dict[str, object]]]:
    """The unfinished task of a photo that stays, and open ones beside it; the annotators' own are never among those."""
    begun = [row for row in rows if row["state"] == "begun"]
    unopened = [row for row in rows if row["state"] == "open"]
    if begun:
        return begun[0], unopened
    return (unopened[0], unopened[1:]) if unopened else (None, [])


def _needs_task(target: WantedTask, rows: list[dict[str, object]], labelled_at: dt.datetime | None) -> bool:
    """Whether a queued photo has to get a task.

    A queue may be older than what the annotators have done since. So a photo that was labelled here gets another one
    only if that labelling was imported, and if the photo came into the queue on a later day, or on the same for another
    reason than the one that it was labelled for. One that was refused gets none.
    """
    if not rows:
        return True
    if any(row["state"] != "labelled" for row in rows):
        return False
    last = max(rows, key=lambda row: row["labelled_at"])  # type: ignore[arg-type, return-value]
    finished: dt.datetime = last["labelled_at"]  # type: ignore[assignment]
    if labelled_at is None or labelled_at < finished:
        return False
    queued, day = dt.date.fromisoformat(target.data["queued_on"]), finished.date()
    return queued > day or (queued == day and target.data["reason"] != last["reason"])
