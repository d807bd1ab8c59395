"""What an epoch of a training came to: in words for a log, and as figures from results.csv.

The figures that anybody else is told are the rows of results.csv, which a resumed training goes on with: so they are
the same there and in a tracker. How a training runs belongs in `training.py`.
"""

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass

_NAMES = {
    "metrics/mAP50(B)": "val/map50",
    "metrics/mAP50-95(B)": "val/map50_95",
    "metrics/precision(B)": "val/precision",
    "metrics/recall(B)": "val/recall",
}
"""Ultralytics' columns whose names MLflow would refuse."""


@dataclass(frozen=True)
class EpochProgress:
    """What one epoch came to.

    Attributes:
        epoch: Counted from 1.
        epochs: The most that will be run.
        losses: Mean training losses by name, such as train/box_loss.
        map50: mAP50 on val, 0 to 1.
        map50_95: mAP50-95 on val, 0 to 1.
        learning_rate: Of the weights, at the end of the epoch.
        batch: Photos a batch.
        seconds: Since the training started, in this process.
        pace: Seconds that this epoch took.
    """

    epoch: int
    epochs: int
    losses: dict[str, float]
    map50: float
    map50_95: float
    learning_rate: float
    batch: int
    seconds: float
    pace: float

    def sentence(self) -> str:
        """One line for a log."""
        losses = ", ".join(f"{name.removeprefix('train/')} {value:.2f}" for name, value in self.losses.items())
        left = self.pace * (self.epochs - self.epoch)
        return (
            f"Epoch {self.epoch} of {self.epochs}: {losses}, mAP50 on val {self.map50:.3f}, mAP50-95 "
            f"{self.map50_95:.3f}, learning rate {self.learning_rate:.2g}, "
            f"{self.seconds:.0f} s, about {left:.0f} s left"
        )


@dataclass(frozen=True)
class EpochFigures:
    """One row of results.csv; `figures` by names that MLflow takes, such as train/box_loss, val/map50 and lr/pg0."""

    epoch: int
    figures: Mapping[str, float]


def read_curves(content: bytes) -> list[EpochFigures]:
    """Read results.csv: one row an epoch. What is no finite number is left out.

    Raises:
        ValueError: It is no such file.
    """
    rows = []
    for row in csv.DictReader(io.StringIO(content.decode("utf-8"))):
        named = {name.strip(): value for name, value in row.items() if name}
        if "epoch" not in named:
            raise ValueError(f"results.csv has the columns {', '.join(named)}, but no epoch")
        figures = {
            _NAMES.get(name, name): float(value) for name, value in named.items() if name not in ("epoch", "time")
        }
        finite = {name: value for name, value in figures.items() if math.isfinite(value)}
        rows.append(EpochFigures(int(float(named["epoch"])), finite))
    return rows
