"""Makes again what older code made, once a changed component is deployed; see `docs/decisions.md` for why a sensor.

Training, and taking photos in again, cost too much to follow a change of code by themselves: they only go stale, unless
the use case says otherwise.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from mlops_assets.jobs import (
    IMPORT_LABELS,
    INGEST_DAY,
    ONE_AT_A_TIME_TAG,
    ORDERED,
    REBUILD_CATALOG,
    RETRAIN_DETECTOR,
    STEPS,
)
from mlops_assets.use_case import UseCase
from sensors.component_decisions import WHOLE, ComponentRun, Group, Made, decide_group, stale
from sensors.decisions import Decision
from sensors.materialized import Materialized, catch_up, parse_materialized
from sensors.requests import PARTITION_TAG, attempts_by_key, backfill_in_progress, run_request, runs_in_progress

if TYPE_CHECKING:
    from mlops_assets.jobs import AssetJob

LIMIT = 50
"""Runs asked for a tick."""

COMPONENT_TAG = "mlops/component"


def groups_of(use_case: UseCase) -> list[Group]:
    """What a change of code makes again, job by job; the catalogue last, since it follows what comes before."""
    opted = use_case.component_changes
    days = tuple(step for step in STEPS[INGEST_DAY] if step != "raw_photos" or opted.ingest_photos_again)
    groups = [Group(IMPORT_LABELS, STEPS[IMPORT_LABELS], daily=False), Group(INGEST_DAY, days, daily=True)]
    if opted.retrain:
        groups.append(Group(RETRAIN_DETECTOR, STEPS[RETRAIN_DETECTOR], daily=False))
    return [*groups, Group(REBUILD_CATALOG, STEPS[REBUILD_CATALOG], daily=False)]


def component_changed(use_case: UseCase, jobs: Mapping[str, "AssetJob"], interval: int) -> dg.SensorDefinition:
    """The sensor of one use case; `jobs` by name, `interval` in seconds."""
    groups = groups_of(use_case)

    @dg.sensor(
        name="component_changed",
        jobs=[jobs[group.job] for group in groups],
        minimum_interval_seconds=interval,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks for what was made by other code than today's, a bounded number of times.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        graph = context.repository_def.asset_graph  # type: ignore[union-attr]
        names = [name for group in groups for name in group.assets]
        current = {name: graph.get(dg.AssetKey([use_case.name, name])).code_version or "" for name in names}
        known = _catch_up(context, use_case.name, groups)
        made = {name: entry.made for name, entry in known.items()}
        runs = _decide(context.instance, use_case.name, groups, current, made)
        for run in runs:
            context.log.info("%s %s: %s", ", ".join(run.assets), run.partition, run.reason)
        behind = " (still reading the event log)" if any(entry.behind for entry in known.values()) else ""
        return dg.SensorResult(
            run_requests=[_request(use_case.name, run, _deployed(use_case.name, current)) for run in runs],
            skip_reason=None if runs else dg.SkipReason(f"nothing to ask for{behind}"),
            cursor=json.dumps({name: entry.as_json() for name, entry in known.items()}),
        )

    return sensor


def _catch_up(context: dg.SensorEvaluationContext, use_case: str, groups: Sequence[Group]) -> dict[str, Materialized]:
    cursor = json.loads(context.cursor or "{}")
    return {
        name: catch_up(
            context.instance,
            dg.AssetKey([use_case, name]),
            parse_materialized(cursor.get(name)),
            partitioned=group.daily,
        )
        for group in groups
        for name in group.assets
    }


def _decide(
    instance: dg.DagsterInstance,
    use_case: str,
    groups: Sequence[Group],
    current: dict[str, str],
    made: dict[str, dict[str, Made]],
) -> list[ComponentRun]:
    if not any(stale(group, current, made) for group in groups):
        return []
    attempts = attempts_by_key(instance, {COMPONENT_TAG: _deployed(use_case, current)})
    runs: list[ComponentRun] = []
    waiting = False
    for group in groups:
        if group.job == REBUILD_CATALOG and waiting:
            break  # it follows by itself, once, when what it is made of is done
        busy = _busy_partitions(instance, use_case, group, made)
        outcome = decide_group(group, current, made, attempts, busy=busy, limit=LIMIT - len(runs))
        runs += outcome.runs
        waiting |= outcome.waiting or bool(busy)
    return runs


def _deployed(use_case: str, current: dict[str, str]) -> str:
    """The use case and today's code, so that only runs for this code are looked through."""
    return f"{use_case}:{hashlib.sha256(json.dumps(sorted(current.items())).encode()).hexdigest()[:16]}"


def _busy_partitions(
    instance: dg.DagsterInstance, use_case: str, group: Group, made: dict[str, dict[str, Made]]
) -> set[str]:
    """Partitions that queued or running runs and backfills make, whoever asked for them."""
    keys = {dg.AssetKey([use_case, name]) for name in group.assets}
    if backfill_in_progress(instance, keys):
        return {partition for name in group.assets for partition in made.get(name, {})}
    return {
        run.tags.get(PARTITION_TAG, WHOLE)
        for run in runs_in_progress(instance, use_case, group.job)
        if run.asset_selection is None or keys & run.asset_selection
    }


def _request(use_case: str, run: ComponentRun, deployed: str) -> dg.RunRequest:
    tags = {COMPONENT_TAG: deployed}
    if not ORDERED & set(run.assets):
        tags[ONE_AT_A_TIME_TAG] = f"{use_case}/{run.job}/{run.partition}"  # days of their own: side by side
    request = run_request(use_case, Decision(run.key, run.attempt, run.reason), **tags)
    return request._replace(
        job_name=run.job,
        partition_key=run.partition or None,
        asset_selection=[dg.AssetKey([use_case, name]) for name in run.assets],
    )
