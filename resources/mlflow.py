"""MLflow tracking for the steps of a Dagster run: dagster-mlflow wrapped once, since it is of the op era.

All steps of one Dagster run log into one MLflow run, and the two name each other by tags. How an MLflow run ends is
decided by Dagster's status, in `resources/mlflow_status.py`; model versions belong in `resources/model_registry.py`.
"""

import atexit
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import PrivateAttr

from resources.mlflow_address import MlflowUnavailableError, is_server, shown
from resources.mlflow_client import ensure_experiment, in_a_hurry, open_client, patiently
from resources.mlflow_metrics import EpochMetrics
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
    epochs: EpochMetrics


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
        """Let go of the MLflow run with the status that it has: only Dagster's end of the run ends it.

        The step has ended, so that nothing here can fail it: whoever must know that all is in MLflow calls `flush`.
        """
        if self._started is None:
            return
        from mlflow.exceptions import MlflowException

        started, self._started = self._started, None
        log, status = dg.get_dagster_logger("mlflow"), "RUNNING"
        try:
            if not started.epochs.given_up:
                started.epochs.flush()
            with in_a_hurry():
                # Not RUNNING outright: the run may have been settled while a forgotten step still worked.
                status = started.client.get_run(started.run_id).info.status
        except (MlflowUnavailableError, MlflowException) as error:
            log.error("%s; %d metrics are lost", error, started.epochs.waiting)
        finally:
            self._let_go(started, status)

    def _let_go(self, started: _Started, status: str) -> None:
        """Also where MLflow is away or refuses: it is the active run of this process no more."""
        from mlflow.exceptions import MlflowException

        try:
            with in_a_hurry():
                patiently(self.tracking_uri, lambda: started.tracking.end_run(status))
        except (MlflowUnavailableError, MlflowException) as error:
            dg.get_dagster_logger("mlflow").debug("The end of the step is not in MLflow: %s", error)

    @property
    def run_id(self) -> str:
        """Id of the MLflow run; the same for every attempt at the same training."""
        return self._run().run_id

    @property
    def client(self) -> Any:
        """An `mlflow.MlflowClient`, for whatever has no method here."""
        return self._run().client

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log parameters.

        MLflow cannot change one. So what an earlier attempt logged stays, and a value that differs now (such as a
        smaller batch after a lack of memory) becomes the tag `changed.<name>`.
        """
        from mlflow.entities import Param

        run = self._flushed()
        known = run.client.get_run(run.run_id).data.params
        texts = {key: str(value) for key, value in params.items()}
        for chunk in _chunks({key: text for key, text in texts.items() if key not in known}):
            run.client.log_batch(run.run_id, params=[Param(key, text) for key, text in chunk.items()])
        changed = {f"changed.{key}": text for key, text in texts.items() if known.get(key, text) != text}
        if changed:
            dg.get_dagster_logger("mlflow").warning("Not as the attempt before: %s, kept as tags", ", ".join(changed))
            self.set_tags(changed)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers.

        Args:
            metrics: By name.
            step: The epoch that they belong to. Such numbers are kept while MLflow is away, up to `flush`, and an
                epoch that was logged before stays as it is. Without it they are figures of the whole run: logged at
                once, and again only when they have changed; MLflow shows the last value.

        Raises:
            MlflowUnavailableError: MLflow stays away, and these numbers cannot be kept.
        """
        if step is not None:
            self._run().epochs.log(metrics, step)
            return
        from mlflow.entities import Metric
        from mlflow.utils.time import get_current_time_millis

        run, now = self._flushed(), get_current_time_millis()
        known = run.client.get_run(run.run_id).data.metrics
        changed = {key: float(value) for key, value in metrics.items() if known.get(key) != float(value)}
        for chunk in _chunks(changed):
            run.client.log_batch(run.run_id, metrics=[Metric(key, value, now, 0) for key, value in chunk.items()])

    def flush(self) -> None:
        """Have MLflow hold all that was logged, before a step reports success.

        Raises:
            MlflowUnavailableError: MLflow stays away.
        """
        self._flushed()

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Tag the MLflow run."""
        from mlflow.entities import RunTag

        run = self._flushed()
        for chunk in _chunks(tags):
            run.client.log_batch(run.run_id, tags=[RunTag(key, value) for key, value in chunk.items()])

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Store a file, or a folder with all it holds, under a folder of the run's artifacts.

        Raises:
            FileNotFoundError: There is nothing at the path.
        """
        if not path.exists():
            raise FileNotFoundError(f"No file or folder {path} to store in MLflow")
        run = self._flushed()
        log = run.client.log_artifacts if path.is_dir() else run.client.log_artifact
        log(run.run_id, str(path), folder)

    def link(self) -> dg.MetadataValue:
        """The MLflow run for an asset's metadata: a link, or the id where MLflow has no address to open."""
        run = self._run()
        address = self.ui_url or (self.tracking_uri if is_server(self.tracking_uri) else None)
        if address is None:
            return dg.MetadataValue.text(run.run_id)
        return dg.MetadataValue.url(f"{shown(address)}/#/experiments/{run.experiment_id}/runs/{run.run_id}")

    def _run(self) -> _Started:
        if self._started is None:
            self._started = self._start()
        return self._started

    def _flushed(self) -> _Started:
        """The run, once it has what was logged before: MLflow gets everything in order."""
        run = self._run()
        run.epochs.flush()
        return run

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
        dagster_run = context.run
        tracking = patiently(self.tracking_uri, lambda: self._activate(context, dagster_run, run_id))
        return _Started(run_id, experiment_id, client, tracking, EpochMetrics(client, run_id, self.tracking_uri))

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
