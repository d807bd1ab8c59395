"""Synchronises with Label Studio when something changed there, or here in what should be there."""

import datetime as dt
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg

from mlops_assets.jobs import SYNC_LABEL_STUDIO, USE_CASE_TAG
from mlops_assets.labelling.schema import LABEL_STUDIO_TASKS
from mlops_assets.labels.schema import EQUIPMENT_CLASSES
from mlops_assets.monitoring.schema import REVIEW_QUEUE
from mlops_assets.use_case import UseCase
from resources.label_studio import LabelStudio, LabelStudioError
from resources.photo_store import PhotoStore
from resources.tables import Tables
from sensors.decisions import Attempt, Decision, decide_attempt
from sensors.requests import earlier_attempts, is_busy, run_request

if TYPE_CHECKING:
    import polars as pl

HERE_TAG = "mlops/label_studio_here"
"""On a run that this sensor asked for: `Seen.here`."""


@dataclass(frozen=True)
class Seen:
    """What a tick finds.

    Attributes:
        queue: Digest of the review queue, "" for an empty one.
        classes: Digest of the classes' names and statuses.
        erased: Digest of the erased photos.
        day: ISO date: a synchronisation a day compares all tasks and takes back those that nobody wants any more.
        newest: When a task was last changed in Label Studio, ISO 8601; "" without tasks.
        tasks: How many there are; None without a project.
        known_newest: The same as of the last synchronisation.
        known_tasks: The same as of the last synchronisation.
    """

    queue: str
    classes: str
    erased: str
    day: str
    newest: str
    tasks: int | None
    known_newest: str
    known_tasks: int

    @property
    def there(self) -> str:
        """What happened in Label Studio since the last synchronisation, in words; "" for nothing."""
        if self.tasks is None:
            return "there is no project yet"
        if self.tasks != self.known_tasks:
            return f"{self.tasks} tasks where {self.known_tasks} are known"
        return "tasks or annotations changed" if self.newest > self.known_newest else ""

    @property
    def here(self) -> str:
        """Digest of what should be there."""
        facts = json.dumps([self.queue, self.classes, self.erased, self.day])
        return hashlib.sha256(facts.encode()).hexdigest()[:16]

    @property
    def key(self) -> str:
        """Of the request: what is the same here and there, is not asked for twice."""
        there = [self.newest, self.tasks] if self.there else []
        facts = json.dumps([self.here, there])
        return "label-studio-" + hashlib.sha256(facts.encode()).hexdigest()[:16]


def decide_sync(seen: Seen, attempts: list[Attempt], *, busy: bool, synced: str | None = None) -> Decision:
    """Synchronise when Label Studio changed, or what should be there; never beside another synchronisation.

    Args:
        seen: What this tick found.
        attempts: Earlier runs for the same.
        busy: Whether a synchronisation is queued or running.
        synced: `Seen.here` of the last one that succeeded; None if that is not known. After another than now's, what
            was synchronised before it does not count: a queue may come back to what it was.
    """
    if seen.tasks is None and not seen.queue:
        return Decision(seen.key, None, "there is no review queue yet")
    if busy:
        return Decision(seen.key, None, "a synchronisation is queued or running")
    is_back = synced is not None and synced != seen.here
    done = (attempt.number for attempt in attempts if attempt.status == "succeeded" and is_back)
    decision = decide_attempt(seen.key, attempts, spent=max(done, default=0))
    why = seen.there or "queue, classes, erasures or day changed"
    reason = f"{why}: {decision.reason}" if decision.attempt is not None else decision.reason
    return Decision(seen.key, decision.attempt, reason)


def label_studio(use_case: UseCase, interval: int) -> dg.SensorDefinition:
    """The sensor of one use case; `interval` in seconds."""

    @dg.sensor(
        name="label_studio",
        job_name=SYNC_LABEL_STUDIO,
        minimum_interval_seconds=interval,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks for a synchronisation with Label Studio when annotations or the review queue changed.",
    )
    def sensor(
        context: dg.SensorEvaluationContext,
        label_studio: dg.ResourceParam[LabelStudio],
        photo_store: PhotoStore,
        tables: Tables,
    ) -> dg.SensorResult | dg.SkipReason:
        try:
            seen = _look(label_studio, photo_store, tables)
        except LabelStudioError as error:  # it is said in the tick, and nothing is lost: it is looked at again
            return dg.SkipReason(str(error))
        attempts = earlier_attempts(context.instance, use_case.name, seen.key)
        busy = is_busy(context.instance, use_case.name, SYNC_LABEL_STUDIO)
        decision = decide_sync(seen, attempts, busy=busy, synced=_last_synced(context.instance, use_case.name))
        if decision.attempt is None:
            return dg.SkipReason(decision.reason)
        return dg.SensorResult(run_requests=[run_request(use_case.name, decision, **{HERE_TAG: seen.here})])

    return sensor


def _last_synced(instance: dg.DagsterInstance, use_case: str) -> str | None:
    succeeded = dg.RunsFilter(
        job_name=SYNC_LABEL_STUDIO, statuses=[dg.DagsterRunStatus.SUCCESS], tags={USE_CASE_TAG: use_case}
    )
    runs = instance.get_runs(succeeded, limit=1)
    return runs[0].tags.get(HERE_TAG) if runs else None


def _look(server: LabelStudio, photos: PhotoStore, tables: Tables) -> Seen:
    project = server.find_project()
    known = tables.read("label_studio_tasks", LABEL_STUDIO_TASKS)
    classes = tables.read("equipment_classes", EQUIPMENT_CLASSES)
    erased = "\n".join(sorted(photos.tombstones().ids()))
    return Seen(
        queue=_digest(tables.read("review_queue", REVIEW_QUEUE)),
        classes=_digest(classes.select("class_id", "class_name", "status")),
        erased=hashlib.sha256(erased.encode()).hexdigest()[:16],
        day=dt.datetime.now(dt.UTC).date().isoformat(),
        newest=_stamp(server.newest_change(project.project_id)) if project else "",
        tasks=project.tasks if project else None,
        known_newest=_newest(known),
        known_tasks=known.height,
    )


def _digest(rows: "pl.DataFrame") -> str:
    return "" if rows.is_empty() else hashlib.sha256(rows.write_json().encode()).hexdigest()[:16]


def _newest(tasks: "pl.DataFrame") -> str:
    latest = tasks["updated_at"].max()
    return _stamp(latest.isoformat()) if isinstance(latest, dt.datetime) else ""


def _stamp(text: str) -> str:
    """A time in one way of writing, which sorts as the times do."""
    return dt.datetime.fromisoformat(text).astimezone(dt.UTC).isoformat(timespec="microseconds") if text else ""
