"""Makes the status of MLflow runs true: a run in MLflow ends as the Dagster run that it belongs to ended.

No step of a Dagster run knows whether it is the last one, and a killed one knows nothing any more. So steps leave
their MLflow run RUNNING, and Dagster's own word on the run decides afterwards: the run status sensors call
`set_true_status`; `reconcile_statuses` catches up where no sensor ran (no daemon), and is called when the next
MLflow run starts. How steps log belongs in `resources/mlflow.py`.
"""

from typing import Any

import dagster as dg

from resources.mlflow_client import each, open_client

DAGSTER_RUN_TAG = "dagster_run_id"
"""On the MLflow run, as dagster-mlflow names it: the Dagster run."""

DAGSTER_STATUS_TAG = "dagster_status"
"""On the MLflow run, once its status is true: how the Dagster run ended. A run with this tag is settled."""

MLFLOW_RUN_TAG = "mlflow/run_id"
"""On the Dagster run: the MLflow run. A re-execution inherits it, so it tells that there may be an MLflow run;
which one it is, `DAGSTER_RUN_TAG` says."""

_ENDS = {
    dg.DagsterRunStatus.SUCCESS: "FINISHED",
    dg.DagsterRunStatus.FAILURE: "FAILED",
    dg.DagsterRunStatus.CANCELED: "KILLED",
}

_RUNS_A_QUERY = 100


def set_true_status(tracking_uri: str, dagster_run_id: str, dagster_status: dg.DagsterRunStatus) -> dict[str, str]:
    """Set the status of the MLflow runs of a Dagster run that ended; idempotent.

    It corrects FINISHED as well as RUNNING, since MLflow ends a run of a process that exits as FINISHED. Importing
    mlflow costs seconds: a sensor that sees every run asks the Dagster run for `MLFLOW_RUN_TAG` first.

    Args:
        tracking_uri: Address of MLflow.
        dagster_run_id: The run that ended.
        dagster_status: SUCCESS, FAILURE or CANCELED.

    Returns:
        MLflow run id to the status that it now has; empty if the run logged nothing.

    Raises:
        ValueError: The run has not ended.
    """
    if dagster_status not in _ENDS:
        raise ValueError(f"Dagster run {dagster_run_id} is {dagster_status.value}, which is no end of a run")
    client = open_client(tracking_uri)
    experiments = [e.experiment_id for e in each(lambda token: client.search_experiments(page_token=token))]
    # Of several experiments a query takes only so many: a database binds a limited number of values.
    batches = [experiments[i : i + _RUNS_A_QUERY] for i in range(0, len(experiments), _RUNS_A_QUERY)]
    found = [
        run for batch in batches for run in search_runs(client, batch, f"tags.{DAGSTER_RUN_TAG} = '{dagster_run_id}'")
    ]
    return {run.info.run_id: _settle(client, run, dagster_status) for run in found}


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
        for condition in (f"tags.{DAGSTER_STATUS_TAG} IS NULL", "attributes.status = 'RUNNING'")
        for run in search_runs(
            client, [experiment.experiment_id], f"tags.{DAGSTER_RUN_TAG} IS NOT NULL and {condition}"
        )
    }
    statuses = _statuses(instance, sorted({run.data.tags[DAGSTER_RUN_TAG] for run in unsettled.values()}))
    return {
        run_id: _settle(client, run, statuses[run.data.tags[DAGSTER_RUN_TAG]])
        for run_id, run in unsettled.items()
        if statuses.get(run.data.tags[DAGSTER_RUN_TAG]) in _ENDS
    }


def search_runs(client: Any, experiment_ids: list[str], condition: str) -> list[Any]:
    """The runs of some experiments under a condition in MLflow's search language, oldest first."""
    return list(
        each(
            lambda token: client.search_runs(
                experiment_ids, condition, order_by=["attributes.start_time ASC"], page_token=token
            )
        )
    )


def _statuses(instance: dg.DagsterInstance, run_ids: list[str]) -> dict[str, dg.DagsterRunStatus]:
    chunks = [run_ids[i : i + _RUNS_A_QUERY] for i in range(0, len(run_ids), _RUNS_A_QUERY)]
    runs = [run for chunk in chunks for run in instance.get_runs(dg.RunsFilter(run_ids=chunk))]
    return {run.run_id: run.status for run in runs}


def _settle(client: Any, run: Any, dagster_status: dg.DagsterRunStatus) -> str:
    status = _ENDS[dagster_status]
    if run.info.status != status:
        # The last step to leave set an end time, which is nearer the truth than now.
        client.set_terminated(run.info.run_id, status, end_time=run.info.end_time)
    client.set_tag(run.info.run_id, DAGSTER_STATUS_TAG, dagster_status.value)
    return status
