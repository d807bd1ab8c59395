"""When a run ends: an alert if it failed or was killed, and the true status of its MLflow run."""

import dagster as dg

from resources.alerts import Alerts
from resources.mlflow_client import in_a_hurry
from resources.mlflow_status import MLFLOW_RUN_TAG, settle_run

_MONITORED = {
    "run_failures": (dg.DagsterRunStatus.FAILURE, "failed"),
    "runs_canceled": (dg.DagsterRunStatus.CANCELED, "was canceled"),
    "runs_succeeded": (dg.DagsterRunStatus.SUCCESS, ""),
}


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
            with in_a_hurry():  # a sensor has a minute; what MLflow misses now, the next end of a run makes up for
                settle_run(context.instance, tracking_uri, use_case, run, status)

    return sensor
