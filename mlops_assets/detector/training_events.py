"""What a training tells whoever started it, from this process or from the first of several GPUs' processes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mlops_assets.detector.checkpointing import Found, TrainingCheckpoints
from mlops_assets.detector.epochs import EpochProgress
from mlops_assets.detector.time_estimate import TimeEstimate
from mlops_assets.detector.training_errors import TrainingError


@dataclass(frozen=True)
class Said:
    """Something for the log."""

    sentence: str


@dataclass(frozen=True)
class Kept:
    """The checkpoint of an epoch is in the store: the training never falls behind it."""

    epoch: int


@dataclass(frozen=True)
class Ended:
    """All epochs are trained and the best one is validated; metrics by Ultralytics' names."""

    metrics: Mapping[str, float]
    epochs: int
    batch: int
    seconds: float


@dataclass(frozen=True)
class Failed:
    """A process of several could not go on."""

    error: TrainingError


Event = Said | Kept | Ended | Failed | EpochProgress | TimeEstimate
Report = Callable[[Event], None]


@dataclass(frozen=True)
class TrainingPlan:
    """What a trainer is given beyond Ultralytics' settings; it travels to the processes of several GPUs.

    Attributes:
        report: Takes what happens.
        checkpoints: Where to keep checkpoints, None for a training that keeps none.
        checkpoint_epochs: From one checkpoint to the next.
        found: What to go on from.
    """

    report: Report
    checkpoints: TrainingCheckpoints | None = None
    checkpoint_epochs: int = 1
    found: Found | None = None
