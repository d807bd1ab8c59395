"""A job whose steps log to MLflow in processes of their own, two of them at once; see test_mlflow_status."""

import os
import time
from pathlib import Path

import dagster as dg

from resources.mlflow import MlflowTracking


class Behaviour(dg.Config):
    """What the second step does after it has logged: ok, fail or hang."""

    then: str
    pids: str


@dg.op
def train(mlflow: MlflowTracking) -> str:
    mlflow.log_params({"epochs": 3})
    mlflow.log_metrics({"loss": 0.5}, step=1)
    return mlflow.run_id


@dg.op
def count(mlflow: MlflowTracking) -> str:
    mlflow.log_metrics({"photos": 40})
    return mlflow.run_id


@dg.op
def evaluate(config: Behaviour, trained: str, counted: str, mlflow: MlflowTracking) -> None:
    mlflow.log_metrics({"ap50": 0.9})
    if {trained, counted} != {mlflow.run_id}:
        raise RuntimeError(f"{mlflow.run_id} instead of {trained} and {counted}")
    if config.then == "fail":
        raise RuntimeError("asked to fail")
    if config.then == "hang":
        written = Path(config.pids).with_suffix(".writing")
        written.write_text(str(os.getpid()))
        written.replace(config.pids)
        time.sleep(400)


@dg.job
def retrain() -> None:
    evaluate(train(), count())


defs = dg.Definitions(
    jobs=[retrain],
    resources={"mlflow": MlflowTracking.configure_at_launch()},
)
