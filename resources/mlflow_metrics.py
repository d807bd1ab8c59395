"""Numbers of epochs on their way to MLflow: kept while it is away, sent in order, each epoch's once.

A training of hours must not end because its log is away for minutes, nor may it wait for it at every epoch. What
belongs to no epoch is logged at once, in `mlflow.py`.
"""

import math
import time
from collections.abc import Mapping
from typing import Any

import dagster as dg

from resources.mlflow_address import MlflowUnavailableError
from resources.mlflow_client import in_a_hurry

_AT_ONCE = 1000
"""Numbers that MLflow's server takes in one request."""

_MOST = 100_000
"""Numbers kept while MLflow is away: thousands of epochs."""

_PAUSE_S = 30.0
"""After MLflow was found away, nothing is tried for so long: an attempt may take as long as its timeout."""


class EpochMetrics:
    """Logs to one MLflow run; not for several threads."""

    def __init__(self, client: Any, run_id: str, tracking_uri: str) -> None:
        self._client = client
        self._run_id = run_id
        self._tracking_uri = tracking_uri
        self._waiting: list[Any] = []
        self._known: dict[str, dict[int, float]] | None = None
        self._next_try = 0.0
        self.given_up = False
        """Whether `flush` waited in vain."""

    @property
    def waiting(self) -> int:
        """Numbers that MLflow does not have yet."""
        return len(self._waiting)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Take an epoch's numbers, and send what waits if MLflow answers at once.

        Of an epoch that was logged before (by an attempt that was killed after it had logged, and before it had saved
        its checkpoint) the first value stays: MLflow cannot change one, and two would contradict each other.

        What MLflow refuses (its run was deleted, a password has changed) waits as well; `flush` raises it in the end.

        Raises:
            MlflowUnavailableError: MLflow has been away for so long that nothing more can be kept.
        """
        from mlflow.entities import Metric
        from mlflow.exceptions import MlflowException
        from mlflow.utils.time import get_current_time_millis

        now = get_current_time_millis()
        self._waiting += [Metric(key, float(value), now, step) for key, value in metrics.items()]
        if len(self._waiting) > _MOST:
            raise MlflowUnavailableError(self._tracking_uri, f"{len(self._waiting)} metrics wait for it")
        if time.monotonic() < self._next_try:
            return
        log, behind = dg.get_dagster_logger("mlflow"), self._next_try > 0
        try:
            with in_a_hurry():
                self._send()
        except (MlflowUnavailableError, MlflowException) as error:
            if not behind:
                log.warning("%s. The training goes on; its metrics are kept and sent when MLflow answers", error)
            self._next_try = time.monotonic() + _PAUSE_S
        else:
            if behind:
                log.info("MLflow answers again and has all metrics up to epoch %d", step)
            self._next_try = 0.0

    def flush(self) -> None:
        """Send what waits, with all patience.

        Raises:
            MlflowUnavailableError: MLflow stays away.
            MlflowException: It refuses them.
        """
        self.given_up = True
        self._send()
        self.given_up = False

    def _send(self) -> None:
        while self._waiting:
            batch = self._waiting[:_AT_ONCE]
            new = [metric for metric in batch if self._is_new(metric)]
            if new:
                # Tried again with the same time stamps, which MLflow takes for the same entries: an answer that got
                # lost doubles nothing.
                self._client.log_batch(self._run_id, metrics=new)
            for metric in new:
                self._history(metric.key)[metric.step] = metric.value
            del self._waiting[: len(batch)]

    def _is_new(self, metric: Any) -> bool:
        known = self._history(metric.key).get(metric.step)
        if known is None:
            return True
        if not (known == metric.value or (math.isnan(known) and math.isnan(metric.value))):
            log = dg.get_dagster_logger("mlflow")
            log.debug("%s of epoch %d is %g in MLflow already, and stays", metric.key, metric.step, known)
        return False

    def _history(self, key: str) -> dict[int, float]:
        """Epoch to value of what MLflow has; asked for only if an earlier attempt logged under this name."""
        if self._known is None:
            logged = self._client.get_run(self._run_id).data.metrics
            self._known = {
                name: {entry.step: entry.value for entry in self._client.get_metric_history(self._run_id, name)}
                for name in logged
            }
        return self._known.setdefault(key, {})
