"""Takes a past day in again when photos landed after it was taken in."""

import datetime as dt
import json
from zoneinfo import ZoneInfo

import dagster as dg

from mlops_assets.jobs import INGEST_DAY, STEPS
from mlops_assets.photos.schema import RAW_PHOTOS
from mlops_assets.use_case import UseCase
from resources.photo_store import PhotoStore
from resources.tables import Tables
from sensors.decisions import LandedDay, decide_late
from sensors.requests import PARTITION_TAG, backfill_in_progress, earlier_attempts, run_request, runs_in_progress

LOOKS_APART = 10
"""Intervals of other sensors between two looks: a look lists every file of its days, and late photos can wait."""


def late_photos(use_case: UseCase, interval: int) -> dg.SensorDefinition:
    """The sensor of one use case; `interval` in seconds."""

    @dg.sensor(
        name="late_photos",
        job_name=INGEST_DAY,
        minimum_interval_seconds=interval,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Asks for those of the last {use_case.intake.late_days} days on which photos landed later.",
    )
    def sensor(
        context: dg.SensorEvaluationContext, photo_store: PhotoStore, tables: Tables
    ) -> dg.SensorResult | dg.SkipReason:
        try:
            landed = _look(context.instance, use_case, photo_store, tables)
        except FileNotFoundError as error:  # no landing zone yet, as on a new laptop
            return dg.SkipReason(str(error))
        seen = json.loads(context.cursor or "{}")
        requests, reasons = [], []
        for day in landed:
            attempts = earlier_attempts(context.instance, use_case.name, day.key) if day.late else []
            decision = decide_late(day, seen.get(day.day, ""), attempts)
            if decision.attempt is not None:
                requests.append(run_request(use_case.name, decision)._replace(partition_key=day.day))
            elif day.late:
                reasons.append(f"{day.day}: {decision.reason}")
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else dg.SkipReason("; ".join(reasons) or "nothing landed late"),
            cursor=json.dumps({day.day: day.digest for day in landed}),
        )

    return sensor


def _look(instance: dg.DagsterInstance, use_case: UseCase, photo_store: PhotoStore, tables: Tables) -> list[LandedDay]:
    """The days of the window on which something landed."""
    from mlops_assets.photos.late import late_uploads, listing_digest, window

    today = dt.datetime.now(ZoneInfo(use_case.timezone)).date()
    yesterday = (today - dt.timedelta(1)).isoformat()
    busy = _days_in_progress(instance, use_case.name)
    landed = []
    for day in window(today, use_case.intake.late_days, use_case.start):
        files = photo_store.list_day(day)
        if not files:
            continue
        ledger = tables.read("raw_photos", RAW_PHOTOS, day)
        landed.append(
            LandedDay(
                day=day,
                digest=listing_digest(files),
                late=late_uploads(files, ledger),
                awaited=day == yesterday and ledger.is_empty(),
                busy=busy is None or day in busy,
            )
        )
    return landed


def _days_in_progress(instance: dg.DagsterInstance, use_case: str) -> set[str] | None:
    """Days that queued or running runs take in; None while a backfill has still days to launch."""
    keys = {dg.AssetKey([use_case, name]) for name in STEPS[INGEST_DAY]}
    if backfill_in_progress(instance, keys):
        return None
    runs = runs_in_progress(instance, use_case, INGEST_DAY)
    return {run.tags[PARTITION_TAG] for run in runs if PARTITION_TAG in run.tags}
