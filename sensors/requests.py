"""Between a decision and Dagster: earlier runs read by tag, a decision turned into a run request."""

from collections.abc import Collection

import dagster as dg

from mlops_assets.jobs import STEPS, USE_CASE_TAG
from sensors.decisions import Attempt, Decision, Status

KEY_TAG = "mlops/request_key"
ATTEMPT_TAG = "mlops/attempt"
REASON_TAG = "mlops/reason"

PARTITION_TAG = "dagster/partition"

ASSET_JOB = "__ASSET_JOB"
"""Dagster's own job, which runs assets that a person or a condition chose; its name has no public constant."""

_PAGE = 500
"""Runs read at a time."""
_ATTEMPTS = 100
"""Runs looked at for one key, newest first: attempts are few, Dagster's own retries a few times as many."""

_OVER = {dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
IN_PROGRESS = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def earlier_attempts(instance: dg.DagsterInstance, use_case: str, key: str) -> list[Attempt]:
    """Runs that were asked for under a key, also by Dagster's own retries; found by tag."""
    runs = instance.get_runs(dg.RunsFilter(tags={KEY_TAG: f"{use_case}:{key}"}), limit=_ATTEMPTS)
    return [_attempt(run) for run in runs]


def key_of(run: dg.DagsterRun, use_case: str) -> str | None:
    """The key under which a sensor of this use case asked for a run; None for anybody else's."""
    owner, _, key = run.tags.get(KEY_TAG, "").partition(":")
    return key if key and owner == use_case else None


def status_of(run: dg.DagsterRun) -> Status:
    """How a run ended; one that Dagster will try again has not ended yet."""
    if run.status == dg.DagsterRunStatus.SUCCESS:
        return "succeeded"
    retry_follows = run.tags.get("dagster/will_retry") == "true" and "dagster/auto_retry_run_id" not in run.tags
    return "failed" if run.status in _OVER and not retry_follows else "running"


def attempts_by_key(instance: dg.DagsterInstance, tags: dict[str, str]) -> dict[str, list[Attempt]]:
    """Every run with some tags that was asked for under a key, by that key without its use case."""
    attempts: dict[str, list[Attempt]] = {}
    for run in instance.get_runs(dg.RunsFilter(tags=tags)):
        key = run.tags[KEY_TAG].partition(":")[2]
        attempts.setdefault(key, []).append(_attempt(run))
    return attempts


def runs_in_progress(instance: dg.DagsterInstance, use_case: str, job_name: str) -> list[dg.DagsterRun]:
    """What is queued or running of a job, and of assets chosen by hand or by a condition, whoever asked for it."""
    runs = instance.get_runs(dg.RunsFilter(statuses=IN_PROGRESS))
    of_job = {USE_CASE_TAG: use_case}.items()
    return [run for run in runs if run.asset_selection or (run.job_name == job_name and of_job <= run.tags.items())]


def in_progress(instance: dg.DagsterInstance, use_case: str, job_name: str) -> str | None:
    """What makes assets of a job just now, in words: a run of the job, of its assets chosen by hand, or a backfill.

    Args:
        instance: Where to look.
        use_case: Whose; code locations of one instance have jobs of the same names.
        job_name: A job; of those in `mlops_assets.jobs.STEPS` the assets count as well.

    Returns:
        Such as "run 1a2b3c4d is queued"; None if nothing does.
    """
    tags = {USE_CASE_TAG: use_case}
    keys = {dg.AssetKey([use_case, step]) for step in STEPS.get(job_name, ())}
    runs = instance.get_runs(dg.RunsFilter(job_name=job_name, statuses=IN_PROGRESS, tags=tags), limit=1)
    run = runs[0] if runs else _chosen_by_hand(instance, keys)
    if run is not None:
        waits = run.status in (dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED)
        return f"run {short(run.run_id)} is {'queued' if waits else 'running'}"
    return "a backfill is being launched" if backfill_in_progress(instance, keys) else None


def is_busy(instance: dg.DagsterInstance, use_case: str, job_name: str) -> bool:
    """Whether something makes assets of a job just now, whoever asked for it."""
    return in_progress(instance, use_case, job_name) is not None


def short(run_id: str) -> str:
    """A run's id as Dagster's pages show it."""
    return run_id[:8]


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


def _attempt(run: dg.DagsterRun) -> Attempt:
    return Attempt(int(run.tags.get(ATTEMPT_TAG, "1")), status_of(run), run.run_id)


def _chosen_by_hand(instance: dg.DagsterInstance, keys: Collection[dg.AssetKey]) -> dg.DagsterRun | None:
    """A queued or running run of Dagster's own job that makes one of these assets; without a selection it makes all."""
    wanted = dg.RunsFilter(job_name=ASSET_JOB, statuses=IN_PROGRESS)
    cursor = None
    while page := instance.get_runs(wanted, cursor=cursor, limit=_PAGE):
        for run in page:
            if run.asset_selection is None or set(keys) & run.asset_selection:
                return run
        cursor = page[-1].run_id
    return None
