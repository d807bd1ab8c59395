"""What a training says in Dagster's log and leaves in MLflow, whether it ran through or was killed and went on.

In MLflow an epoch is logged once its checkpoint is in the store: so no epoch is there twice, and none is missing, also
after a kill. What happens is told by `training.py`.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from mlops_assets.detector.epochs import EpochFigures, EpochProgress
from mlops_assets.detector.time_estimate import TimeEstimate, in_words
from mlops_assets.detector.training import TrainingListener


class Tracker(Protocol):
    """The MLflow run."""

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log what never changes."""

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log numbers of a step, without waiting for MLflow; what it has of a step already stays as it is."""

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Log what may change."""


class TrainingJournal:
    """Keeps the log and the tracker of one training.

    Attributes:
        estimate: How long it will take, once that is measured.
        remarks: What was said besides, for a person who looks at the result.
    """

    def __init__(self, log: logging.Logger, tracker: Tracker) -> None:
        self.log = log
        self.tracker = tracker
        self.estimate: TimeEstimate | None = None
        self.remarks: list[str] = []
        self._logged: set[int] = set()

    def listener(self) -> TrainingListener:
        """What a training is to tell besides its epochs."""
        return TrainingListener(self._estimate, self._figures, self._say)

    def begin(self, parameters: Mapping[str, Any]) -> None:
        """Log what this training is, before it starts."""
        self.log.info("Training: %s", parameters["started_from"])
        # As tags, since a step that is tried again may find another start, and a parameter cannot change.
        origin = {name: str(value) for name, value in parameters.items() if name.startswith("started_from")}
        self.tracker.set_tags(origin)
        self.tracker.log_params({name: value for name, value in parameters.items() if name not in origin})

    def epoch(self, epoch: EpochProgress) -> None:
        """Say what an epoch came to."""
        self.log.info(epoch.sentence())

    def metadata(self) -> dict[str, Any]:
        """For the asset's page."""
        estimated = {} if self.estimate is None else {"estimated_time": self.estimate.sentence()}
        return {**estimated, "remarks": "; ".join(self.remarks) or "none"}

    def _estimate(self, estimate: TimeEstimate) -> None:
        self.estimate = estimate
        self.log.info(estimate.sentence())
        self.tracker.set_tags({"estimated_time": in_words(estimate.seconds)})

    def _say(self, sentence: str) -> None:
        self.remarks.append(sentence)
        self.log.info(sentence)

    def _figures(self, rows: Sequence[EpochFigures]) -> None:
        for row in rows:
            if row.epoch not in self._logged:
                self.tracker.log_metrics(row.figures, step=row.epoch)
                self._logged.add(row.epoch)
