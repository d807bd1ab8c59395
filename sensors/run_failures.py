"""When a run ends: an alert if it failed or was killed, and the true status of its MLflow run."""

import time

import dagster as dg

from resources.alerts import Alerts
from resources.mlflow_address import MlflowUnavailableError
from resources.mlflow_client import in_a_hurry
from resources.mlflow_status import MLFLOW_RUN_TAG, settle_run

_MONITORED = {
    "run_failures": (dg.DagsterRunStatus.FAILURE, "failed"),
    "runs_canceled": (dg.DagsterRunStatus.CANCELED, "was canceled"),
    "runs_succeeded": (dg.DagsterRunStatus.SUCCESS, ""),
}

_PAUSE_S = 120.0
"""After MLflow was found away it is not asked for so long: a sensor has a minute for all runs that ended, and loses its
cursor, and with it the alerts that it has sent, when it takes longer."""

_next_ask: dict[str, float] = {}
"""By address of MLflow, monotonic clock; read and written by whoever holds the lock of `in_a_hurry`."""


def run_end_sensors(use_case: str, tracking_uri: str, interval: int) -> list[dg.SensorDefinition]:
    """One sensor a status; `interval` in seconds. A run that succeeded is told to MLflow only."""
    return [
        _sensor(name, status, words, use_case, tracking_uri, interval) for name, (status, words) in _MONITORED.items()
    ]


def _sensor(
    name: str, status: dg.DagsterRunStatus, words: str, use_case: str, tracking_uri: str, interval: int
) -> dg.SensorDefinition:
    @dg.run_status_sensor(
        run_status=status,
        name=name,
        minimum_interval_seconds=interval,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"{'Alerts, and sets' if words else 'Sets'} the true status of the MLflow run, when a run ends so.",
    )
    def sensor(context: dg.RunStatusSensorContext, alerts: Alerts) -> None:
        run = context.dagster_run
        if words:
            asked = f" (asked for because: {run.tags['mlops/reason']})" if "mlops/reason" in run.tags else ""
            alerts.send(
                f"{use_case}: {run.job_name} {words}",
                f"Run {run.run_id}{asked}: {context.dagster_event.message or 'no message'}",
                severity="error" if status == dg.DagsterRunStatus.FAILURE else "warning",
                link=f"/runs/{run.run_id}",
            )
        if MLFLOW_RUN_TAG in run.tags:
            _settle(context, tracking_uri, use_case, status)

    return sensor


def _settle(context: dg.RunStatusSensorContext, tracking_uri: str, use_case: str, status: dg.DagsterRunStatus) -> None:
    """Tell MLflow; what it misses now, the next end of a run makes up for."""
    with in_a_hurry():
        if time.monotonic() < _next_ask.get(tracking_uri, 0.0):
            context.log.warning("MLflow was away a moment ago; the status of its run is set when the next run ends")
            return
        try:
            settle_run(context.instance, tracking_uri, use_case, context.dagster_run, status)
        except MlflowUnavailableError:
            _next_ask[tracking_uri] = time.monotonic() + _PAUSE_S
            raise
