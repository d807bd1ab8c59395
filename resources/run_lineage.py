"""Which Dagster runs are attempts at one and the same thing.

Dagster tries again by a new run: the daemon after a lost pod, a person by "re-execute". What such a run shares with the
one before (its MLflow run) is decided by `attempts`.
"""

import dagster as dg

_RETRY_NUMBER = "dagster/retry_number"
_FROM_FAILURE = ("dagster/is_resume_retry", "dagster/is_asset_resume_retry")


def goes_on(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether a run goes on with what the run before it did.

    The daemon's retries do, and so do re-executions by hand "from failure" and of selected steps, since they take over
    results of the run before. A re-execution of all steps, by hand, starts anew.
    """
    if run.parent_run_id is None:
        return False
    return _RETRY_NUMBER in run.tags or any(tag in run.tags for tag in _FROM_FAILURE) or _is_part(instance, run)


def _is_part(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether the run leaves steps of its job out."""
    if run.step_keys_to_execute is None or run.execution_plan_snapshot_id is None:
        return False
    plan = instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id)
    return bool({step.key for step in plan.steps} - set(run.step_keys_to_execute))


def attempts(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[str]:
    """Ids of the run and of those that it goes on from, the newest first.

    A parent that was deleted from Dagster still counts, and ends the list.
    """
    found = [run.run_id]
    current: dg.DagsterRun | None = run
    while current is not None and goes_on(instance, current) and current.parent_run_id not in found:
        parent = str(current.parent_run_id)
        found.append(parent)
        current = instance.get_run_by_id(parent)
    return found
