"""Between a decision and Dagster: earlier runs read by tag, a decision turned into a run request."""

from collections.abc import Collection

import dagster as dg

from mlops_assets.jobs import USE_CASE_TAG
from sensors.decisions import Attempt, Decision, Status

KEY_TAG = "mlops/request_key"
ATTEMPT_TAG = "mlops/attempt"
REASON_TAG = "mlops/reason"

PARTITION_TAG = "dagster/partition"

_OVER = {dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
IN_PROGRESS = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def earlier_attempts(instance: dg.DagsterInstance, use_case: str, key: str) -> list[Attempt]:
    """Every run that was ever asked for under a key, also by Dagster's own retries."""
    runs = instance.get_runs(dg.RunsFilter(tags={KEY_TAG: f"{use_case}:{key}"}))
    return [Attempt(int(run.tags.get(ATTEMPT_TAG, "1")), _status(run)) for run in runs]


def attempts_by_key(instance: dg.DagsterInstance, tags: dict[str, str]) -> dict[str, list[Attempt]]:
    """Every run with some tags that was asked for under a key, by that key without its use case."""
    attempts: dict[str, list[Attempt]] = {}
    for run in instance.get_runs(dg.RunsFilter(tags=tags)):
        key = run.tags[KEY_TAG].partition(":")[2]
        attempts.setdefault(key, []).append(Attempt(int(run.tags.get(ATTEMPT_TAG, "1")), _status(run)))
    return attempts


def runs_in_progress(instance: dg.DagsterInstance, use_case: str, job_name: str) -> list[dg.DagsterRun]:
    """What is queued or running of a job, and of assets chosen by hand or by a condition, whoever asked for it."""
    runs = instance.get_runs(dg.RunsFilter(statuses=IN_PROGRESS))
    of_job = {USE_CASE_TAG: use_case}.items()
    return [run for run in runs if run.asset_selection or (run.job_name == job_name and of_job <= run.tags.items())]


def is_busy(instance: dg.DagsterInstance, use_case: str, job_name: str) -> bool:
    """Whether a run of the job is queued or running for this use case, whoever asked for it."""
    tags = {USE_CASE_TAG: use_case}
    return bool(instance.get_runs(dg.RunsFilter(job_name=job_name, statuses=IN_PROGRESS, tags=tags), limit=1))


def backfill_in_progress(instance: dg.DagsterInstance, keys: Collection[dg.AssetKey]) -> bool:
    """Whether somebody's backfill of some of these assets still has runs to launch."""
    # Not exported; and a third of a second to import, which every process would pay.
    from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus

    active = BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING])
    return any(set(keys) & set(backfill.asset_selection or ()) for backfill in instance.get_backfills(active))


def run_request(use_case: str, decision: Decision, **tags: str) -> dg.RunRequest:
    """The request of a decision that asks for something."""
    return dg.RunRequest(
        run_key=f"{decision.key}-{decision.attempt}",
        tags={
            KEY_TAG: f"{use_case}:{decision.key}",
            ATTEMPT_TAG: str(decision.attempt),
            REASON_TAG: decision.reason,
            **tags,
        },
    )


def _status(run: dg.DagsterRun) -> Status:
    if run.status == dg.DagsterRunStatus.SUCCESS:
        return "succeeded"
    retry_follows = run.tags.get("dagster/will_retry") == "true" and "dagster/auto_retry_run_id" not in run.tags
    return "failed" if run.status in _OVER and not retry_follows else "running"
