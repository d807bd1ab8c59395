"""Makes the status of MLflow runs true: a run in MLflow ends as the Dagster run that it belongs to ended.

No step of a Dagster run knows whether it is the last one, and a killed one knows nothing any more. So steps leave
their MLflow run RUNNING, and Dagster's own word on the run decides afterwards: the run status sensors call
`settle_run`, which also catches up with what ended while they were off; where no sensor runs (no daemon),
`reconcile_statuses` does when the next MLflow run starts. How steps log belongs in `resources/mlflow.py`.
"""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from resources.mlflow_client import each, open_client
from resources.run_lineage import attempts

DAGSTER_RUN_TAG = "dagster_run_id"
"""On the MLflow run, as dagster-mlflow names it: the Dagster run, of several attempts the latest that logged."""

FIRST_RUN_TAG = "dagster_first_run_id"
"""On the MLflow run: the Dagster run that started it, which later attempts go on from."""

DAGSTER_STATUS_TAG = "dagster_status"
"""On the MLflow run: how the Dagster run ended, once that is known; UNSETTLED before."""

UNSETTLED = "STARTED"

MLFLOW_RUN_TAG = "mlflow/run_id"
"""On the Dagster run: the MLflow run. A re-execution inherits it, so it tells that there may be an MLflow run;
which one it is, `FIRST_RUN_TAG` says."""

_ENDS = {
    dg.DagsterRunStatus.SUCCESS: "FINISHED",
    dg.DagsterRunStatus.FAILURE: "FAILED",
    dg.DagsterRunStatus.CANCELED: "KILLED",
}

_RUNS_A_QUERY = 100


def settle_run(
    instance: dg.DagsterInstance,
    tracking_uri: str,
    experiment_name: str,
    dagster_run: dg.DagsterRun,
    status: dg.DagsterRunStatus,
) -> dict[str, str]:
    """Set the status of the MLflow run of a Dagster run that ended, and of all others of the experiment that did.

    An attempt that failed before it logged anything counts all the same: the status is that of the last attempt. An
    earlier one that is told late does not. Importing mlflow costs seconds: a sensor that sees every run asks the
    Dagster run for `MLFLOW_RUN_TAG` first.

    Returns:
        MLflow run id to the status that it now has; empty if nothing was logged.

    Raises:
        ValueError: The run has not ended.
        MlflowUnavailableError: MLflow is away; `reconcile_statuses` catches up later.
    """
    settled = set_true_status(
        tracking_uri,
        experiment_name,
        attempts(instance, dagster_run),
        status,
        ended_at=_ends(instance, [dagster_run.run_id])[dagster_run.run_id][1],
    )
    return reconcile_statuses(instance, tracking_uri, experiment_name) | settled


def set_true_status(
    tracking_uri: str,
    experiment_name: str,
    run_ids: Sequence[str],
    dagster_status: dg.DagsterRunStatus,
    ended_at: float | None = None,
) -> dict[str, str]:
    """Set the status of the MLflow run of a Dagster run that ended; idempotent.

    It corrects FINISHED as well as RUNNING, since MLflow ends a run of a process that exits as FINISHED.

    Args:
        tracking_uri: Address of MLflow.
        experiment_name: Of the use case; nothing happens if there is none.
        run_ids: The Dagster run that ended and those that it goes on from, the newest first. An MLflow run that a
            newer one has taken over is left as it is.
        dagster_status: SUCCESS, FAILURE or CANCELED.
        ended_at: Seconds since 1970; now if not given.

    Returns:
        MLflow run id to the status that it now has; empty if the run logged nothing.

    Raises:
        ValueError: The run has not ended.
    """
    if dagster_status not in _ENDS:
        raise ValueError(f"Dagster run {run_ids[0]} is {dagster_status.value}, which is no end of a run")
    client = open_client(tracking_uri)
    experiment = client.get_experiment_by_name(experiment_name)
    if experiment is None:
        return {}
    found = search_runs(client, experiment.experiment_id, f"tags.{FIRST_RUN_TAG} = '{run_ids[-1]}'")
    mine = [run for run in found if run.data.tags[DAGSTER_RUN_TAG] in run_ids]
    return {run.info.run_id: _settle(client, run, dagster_status, ended_at) for run in mine}


def reconcile_statuses(instance: dg.DagsterInstance, tracking_uri: str, experiment_name: str) -> dict[str, str]:
    """Settle every MLflow run of an experiment whose Dagster run has ended.

    Runs of a Dagster run that this instance does not know (another Dagster, or deleted) are left as they are, and so
    are runs that still go on. A Dagster run that was killed where nothing watches it (`dagster job execute`, no
    daemon) goes on for Dagster too, until somebody ends it there.

    Args:
        instance: Knows how Dagster's runs ended.
        tracking_uri: Address of MLflow.
        experiment_name: Of the use case; nothing happens if there is none.

    Returns:
        MLflow run id to the status that it was given, of the runs settled now.
    """
    client = open_client(tracking_uri)
    experiment = client.get_experiment_by_name(experiment_name)
    if experiment is None:
        return {}
    unsettled = {
        run.info.run_id: run
        for condition in (f"tags.{DAGSTER_STATUS_TAG} = '{UNSETTLED}'", "attributes.status = 'RUNNING'")
        for run in search_runs(client, experiment.experiment_id, f"tags.{DAGSTER_RUN_TAG} IS NOT NULL and {condition}")
    }
    ends = _ends(instance, sorted({run.data.tags[DAGSTER_RUN_TAG] for run in unsettled.values()}))
    known = {run_id: ends[run.data.tags[DAGSTER_RUN_TAG]] for run_id, run in unsettled.items()}
    return {
        run_id: _settle(client, unsettled[run_id], status, ended_at)
        for run_id, (status, ended_at) in known.items()
        if status in _ENDS
    }


def search_runs(client: Any, experiment_id: str, condition: str) -> list[Any]:
    """The runs of an experiment under a condition in MLflow's search language, oldest first; deleted ones are out."""
    return list(
        each(
            lambda token: client.search_runs(
                [experiment_id], condition, order_by=["attributes.start_time ASC"], page_token=token
            )
        )
    )


def _ends(
    instance: dg.DagsterInstance, run_ids: Sequence[str]
) -> dict[str, tuple[dg.DagsterRunStatus | None, float | None]]:
    """Status and end of Dagster's runs, in seconds since 1970; None and None of one that is not known."""
    chunks = [run_ids[i : i + _RUNS_A_QUERY] for i in range(0, len(run_ids), _RUNS_A_QUERY)]
    records = [record for ids in chunks for record in instance.get_run_records(dg.RunsFilter(run_ids=ids))]
    return dict.fromkeys(run_ids, (None, None)) | {
        record.dagster_run.run_id: (record.dagster_run.status, record.end_time) for record in records
    }


def _settle(client: Any, run: Any, dagster_status: dg.DagsterRunStatus, ended_at: float | None) -> str:
    status, run_id, attempt = _ENDS[dagster_status], run.info.run_id, run.data.tags[DAGSTER_RUN_TAG]
    if run.info.status == status and run.data.tags.get(DAGSTER_STATUS_TAG) == dagster_status.value:
        return status
    client.set_terminated(run_id, status, end_time=None if ended_at is None else int(ended_at * 1000))
    client.set_tag(run_id, DAGSTER_STATUS_TAG, dagster_status.value)
    if client.get_run(run_id).data.tags[DAGSTER_RUN_TAG] == attempt:
        return status
    client.update_run(run_id, "RUNNING")  # a newer attempt took it over meanwhile
    client.set_tag(run_id, DAGSTER_STATUS_TAG, UNSETTLED)
    return "RUNNING"
