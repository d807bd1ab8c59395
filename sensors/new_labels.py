"""Imports the label drop when it changed, or when people decided something about classes."""

import time
from collections.abc import Callable

import dagster as dg

from mlops_assets.jobs import IMPORT_LABELS, INGEST_DAY
from mlops_assets.use_case import UseCase
from resources.class_decisions import ClassDecisionRecords
from resources.label_drop import LabelDrop
from sensors.label_decisions import Imported, LabelCursor, decide_labels, label_key
from sensors.requests import earlier_attempts, in_progress, key_of, run_request, status_of

LISTING_SECONDS = 20.0
"""A tick lists the drop for so long, and to the end of the entry that it is at; the next one goes on."""


def new_labels(use_case: UseCase, interval: int, clock: Callable[[], float] = time.monotonic) -> dg.SensorDefinition:
    """The sensor of one use case; `interval` in seconds, `clock` tells seconds for the length of a tick."""

    @dg.sensor(
        name="new_labels",
        job_name=IMPORT_LABELS,
        minimum_interval_seconds=interval,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks for annotations and equipment classes once a changed label drop, or what people decided "
        "about classes, stands still.",
    )
    def sensor(
        context: dg.SensorEvaluationContext, label_drop: LabelDrop, class_decisions: ClassDecisionRecords
    ) -> dg.SensorResult:
        from mlops_assets.labels.class_decisions import labels_digest
        from mlops_assets.labels.drop_state import list_on

        cursor = LabelCursor.parse(context.cursor)
        began = clock()
        listing = list_on(label_drop.path(), cursor.listing, lambda: clock() - began > LISTING_SECONDS)
        if not listing.complete:
            looked = f"listing the label drop: {listing.entries} entries, {listing.files} files so far"
            return _wait(looked, LabelCursor(cursor.seen, listing))
        busy = in_progress(context.instance, use_case.name, IMPORT_LABELS)
        state = labels_digest(listing.digest, class_decisions.ids(), use_case)
        imported = last_import(context.instance, use_case.name)
        key = label_key(state, imported)
        decision = decide_labels(
            state,
            cursor.seen,
            imported,
            earlier_attempts(context.instance, use_case.name, key),
            busy=busy,
            taking_in=in_progress(context.instance, use_case.name, INGEST_DAY),
        )
        after = LabelCursor(state)
        if decision.attempt is None:
            return _wait(f"{listing.files} files: {decision.reason}" if state else decision.reason, after)
        return dg.SensorResult(run_requests=[run_request(use_case.name, decision)], cursor=after.text())

    return sensor


def last_import(instance: dg.DagsterInstance, use_case: str) -> Imported | None:
    """The last import of labels that wrote its tables to the end, whoever asked for it."""
    from mlops_assets.labels.drop_state import LABEL_STATE, PHOTO_DAYS, WAITING_LABELS

    classes = instance.fetch_materializations(dg.AssetKey([use_case, "equipment_classes"]), limit=1).records
    if not classes:
        return None
    number, run_id = classes[0].storage_id, classes[0].run_id
    labels = instance.fetch_materializations(dg.AssetKey([use_case, "annotations"]), limit=1).records
    event = labels[0].asset_materialization if labels and labels[0].storage_id < number else None
    metadata = {name: value.value for name, value in event.metadata.items()} if event else {}
    waiting = metadata.get(WAITING_LABELS, 0)
    run = instance.get_run_by_id(run_id) if run_id else None
    status = status_of(run) if run else None
    return Imported(
        state=str(metadata.get(LABEL_STATE, "")),
        number=number,
        run_id=run_id if run else "",
        key=key_of(run, use_case) if run else None,
        succeeded={"succeeded": True, "failed": False}.get(status) if status else None,
        waiting=waiting if isinstance(waiting, int) else 0,
        photo_days=_further_days(instance, use_case, metadata.get(PHOTO_DAYS)) if waiting else 0,
    )


def _further_days(instance: dg.DagsterInstance, use_case: str, known: object) -> int:
    """Days of photos that are taken in by now, if these are more than an import of labels knew; else 0."""
    days = len(instance.get_materialized_partitions(dg.AssetKey([use_case, "raw_photos"])))
    return days if isinstance(known, int) and days > known else 0


def _wait(reason: str, cursor: LabelCursor) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=dg.SkipReason(reason), cursor=cursor.text())
