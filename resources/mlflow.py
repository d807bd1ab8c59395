"""MLflow tracking for the steps of a Dagster run: dagster-mlflow wrapped once, since it is of the op era.

All steps of one Dagster run log into one MLflow run, and the two name each other by tags. How an MLflow run ends is
decided by Dagster's status, in `resources/mlflow_status.py`; model versions belong in `resources/model_registry.py`.
"""

import atexit
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import PrivateAttr

from resources.mlflow_client import ensure_experiment, open_client
from resources.mlflow_run import join_run
from resources.mlflow_status import MLFLOW_RUN_TAG, reconcile_statuses
from resources.run_lineage import attempts

_BATCH = 100
"""Parameters that MLflow's server takes at once."""


@dataclass(frozen=True)
class _OpEraContext:
    """What dagster-mlflow reads of a resource context; its names on Dagster's own context are deprecated."""

    log: Any
    dagster_run: dg.DagsterRun
    run_id: str
    resource_config: Mapping[str, Any]


@dataclass(frozen=True)
class _Started:
    run_id: str
    experiment_id: str
    client: Any
    tracking: Any


class MlflowTracking(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The MLflow run of this Dagster run, started when a step first uses it.

    All steps share it, also those that run at the same time. A retried step goes on in it, and so does a Dagster run
    that goes on with this one (the daemon's retry, a re-execution from failure or of selected steps; see
    `run_lineage.goes_on`), so that a training which is resumed there is one MLflow run. A re-execution of all steps by
    hand starts another.
    """

    tracking_uri: str
    """`sqlite:///<file>`, `postgresql://…` or `http(s)://…`."""

    experiment_name: str

    artifact_location: str | None = None
    """Folder or object store for a new experiment's artifacts; a server needs none, see `ensure_experiment`."""

    ui_url: str | None = None
    """Where people open MLflow; a server's own address if not given."""

    _started: _Started | None = PrivateAttr(default=None)

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Let go of the MLflow run with the status that it has: only Dagster's end of the run ends it."""
        if self._started is None:
            return
        started, self._started = self._started, None
        # Not RUNNING outright: the run may have been settled while a forgotten step still worked.
        status = started.client.get_run(started.run_id).info.status
        started.tracking.end_run(status)

    @property
    def run_id(self) -> str:
        """Id of the MLflow run."""
        return self._run().run_id

    @property
    def client(self) -> Any:
        """An `mlflow.MlflowClient`, for whatever has no method here."""
        return self._run().client

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log parameters; one that is already logged cannot change its value (MLflow refuses)."""
        from mlflow.entities import Param

        run = self._run()
        for chunk in _chunks(params):
            run.client.log_batch(run.run_id, params=[Param(key, str(value)) for key, value in chunk.items()])

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log numbers, `step` being the epoch where there is one."""
        from mlflow.entities import Metric
        from mlflow.utils.time import get_current_time_millis

        run = self._run()
        now = get_current_time_millis()
        for chunk in _chunks(metrics):
            entries = [Metric(key, float(value), now, step) for key, value in chunk.items()]
            run.client.log_batch(run.run_id, metrics=entries)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Tag the MLflow run."""
        from mlflow.entities import RunTag

        run = self._run()
        for chunk in _chunks(tags):
            run.client.log_batch(run.run_id, tags=[RunTag(key, value) for key, value in chunk.items()])

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Store a file, or a folder with all it holds, under a folder of the run's artifacts.

        Raises:
            FileNotFoundError: There is nothing at the path.
        """
        if not path.exists():
            raise FileNotFoundError(f"No file or folder {path} to store in MLflow")
        run = self._run()
        log = run.client.log_artifacts if path.is_dir() else run.client.log_artifact
        log(run.run_id, str(path), folder)

    def link(self) -> dg.MetadataValue:
        """The MLflow run for an asset's metadata: a link, or the id where MLflow has no address to open."""
        run = self._run()
        address = self.ui_url or (self.tracking_uri if self.tracking_uri.startswith("http") else None)
        if address is None:
            return dg.MetadataValue.text(run.run_id)
        shown = re.sub(r"//[^/@]*@", "//", address).rstrip("/")  # no credentials in metadata
        return dg.MetadataValue.url(f"{shown}/#/experiments/{run.experiment_id}/runs/{run.run_id}")

    def _run(self) -> _Started:
        if self._started is None:
            self._started = self._start()
        return self._started

    def _start(self) -> _Started:
        context = self.get_resource_context()
        if context.run is None or context.instance is None:
            raise RuntimeError("MlflowTracking logs the steps of a Dagster run; outside of one use ModelRegistry")
        dagster_run_id = context.run.run_id
        client = open_client(self.tracking_uri)
        _refuse_foreign_run(dagster_run_id)
        experiment_id = ensure_experiment(client, self.experiment_name, self.tracking_uri, self.artifact_location)
        if MLFLOW_RUN_TAG not in context.run.tags:
            reconcile_statuses(context.instance, self.tracking_uri, self.experiment_name)
        run_id = join_run(client, experiment_id, attempts(context.instance, context.run), context.run.job_name)
        if context.run.tags.get(MLFLOW_RUN_TAG) != run_id:
            context.instance.add_run_tags(dagster_run_id, {MLFLOW_RUN_TAG: run_id})
        return _Started(run_id, experiment_id, client, self._activate(context, context.run, run_id))

    def _activate(self, context: dg.InitResourceContext, dagster_run: dg.DagsterRun, run_id: str) -> Any:
        """Make the run dagster-mlflow's, so that code which logs by MLflow's fluent functions finds it too."""
        from mlflow.tracking import fluent

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)
            from dagster_mlflow.resources import MlFlow

            config = {
                "mlflow_tracking_uri": self.tracking_uri,
                "experiment_name": self.experiment_name,
                "mlflow_run_id": run_id,
            }
            tracking = MlFlow(_OpEraContext(context.log, dagster_run, dagster_run.run_id, config))
        # dagster-mlflow unregisters mlflow.end_run; mlflow 3 registers this, which would end the run as FINISHED.
        atexit.unregister(fluent._safe_end_run)
        return tracking


def _refuse_foreign_run(dagster_run_id: str) -> None:
    """Dagster-mlflow would go on with whatever MLflow run is active and tag it as this Dagster run's."""
    import mlflow

    active = mlflow.active_run()
    if active is not None:
        raise RuntimeError(
            f"MLflow run {active.info.run_id} is active in this process and would take what Dagster run "
            f"{dagster_run_id} logs; end it with mlflow.end_run() before the step"
        )


def _chunks(values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    entries = iter(values.items())
    while chunk := dict(islice(entries, _BATCH)):
        yield chunk
