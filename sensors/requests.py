"""Between a decision and Dagster: earlier runs read by tag, a decision turned into a run request."""

import dagster as dg

from sensors.decisions import Attempt, Decision, Status

KEY_TAG = "mlops/request_key"
ATTEMPT_TAG = "mlops/attempt"
REASON_TAG = "mlops/reason"

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


def is_busy(instance: dg.DagsterInstance, use_case: str, job_name: str) -> bool:
    """Whether a run of the job is queued or running for this use case, whoever asked for it."""
    runs = instance.get_runs(dg.RunsFilter(job_name=job_name, statuses=IN_PROGRESS))
    return any(_location(run) in (None, use_case) for run in runs)


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


def _location(run: dg.DagsterRun) -> str | None:
    return run.tags.get(KEY_TAG, "").split(":")[0] or None
