"""What a kill in the middle costs: a training that goes on from our state, and one from Ultralytics' own last.pt.

Beside them the same training without a kill. Drawn photos, from scratch, so that every epoch still learns.
"""

import shutil
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.training_step import CLASSES, draw
from mlops_assets.detector.checkpointing import TrainingCheckpoints, identify
from mlops_assets.detector.epochs import EpochFigures, EpochProgress, read_curves
from mlops_assets.detector.training import train
from mlops_assets.detector.weights import StartingPoint
from mlops_assets.use_case import TrainingRules
from resources.checkpoint_files import CheckpointShelf

SEEDS = (0, 1, 2)
PHOTOS = {"train": 32, "val": 8}
EPOCHS, KILLED_AFTER = 14, 7
RULES = TrainingRules(image_size=96, epochs=EPOCHS, batch=8, mosaic=0.0, close_mosaic=0, patience=EPOCHS)
_START = StartingPoint("scratch", None, "benchmark")
_LOSSES = ("train/box_loss", "train/cls_loss", "train/dfl_loss")


class _KilledError(Exception):
    """Takes the part of a kill."""


@dataclass(frozen=True)
class _Training:
    data: Path
    place: Path
    rules: TrainingRules

    def uncut(self) -> list[EpochFigures]:
        result = train(
            self.data, self.place / "uncut", _START, self.rules, CLASSES, device="cpu", threads=1, plots=False
        )
        return read_curves(result.curves.read_bytes())

    def killed(self) -> None:
        """Leave our checkpoint and Ultralytics' last.pt of the same epoch behind."""

        def on_epoch(epoch: EpochProgress) -> None:
            if epoch.epoch == KILLED_AFTER:
                shutil.copyfile(self.place / "killed" / "weights" / "last.pt", self.place / "last.pt")
            elif epoch.epoch > KILLED_AFTER:
                raise _KilledError

        try:
            self._ours("killed", on_epoch)
        except _KilledError:
            return

    def from_our_state(self) -> list[EpochFigures]:
        return self._ours("gone on", lambda _epoch: None)

    def from_last(self) -> list[EpochFigures]:
        from ultralytics.models.yolo.detect import DetectionTrainer

        folder = self.place / "from last"
        resume = {
            "resume": str(self.place / "last.pt"),
            "data": str(self.data),
            "save_dir": str(folder),
            "device": "cpu",
        }
        trainer = DetectionTrainer(overrides={**resume, "plots": False})
        trainer.train()
        return read_curves(Path(trainer.csv).read_bytes())

    def _ours(self, name: str, on_epoch: Callable[[EpochProgress], None]) -> list[EpochFigures]:
        identity = identify("benchmark", self.rules, _START, list(CLASSES))
        result = train(
            *(self.data, self.place / name, _START, self.rules, CLASSES),
            device="cpu",
            threads=1,
            on_epoch=on_epoch,
            checkpoints=TrainingCheckpoints(CheckpointShelf(str(self.place / "store")), identity),
            plots=False,
        )
        return read_curves(result.curves.read_bytes())


def run() -> dict[str, float]:
    """Training loss of the epochs after the kill and mAP50-95 at the end, mean of three seeds."""
    found: dict[str, list[list[EpochFigures]]] = {"no kill": [], "our state": [], "last.pt": []}
    with tempfile.TemporaryDirectory() as folder:
        data = draw(Path(folder) / "data", RULES.image_size, PHOTOS)
        for seed in SEEDS:
            training = _Training(data, Path(folder) / f"seed-{seed}", RULES.model_copy(update={"seed": seed}))
            training.place.mkdir()
            found["no kill"].append(training.uncut())
            training.killed()
            found["our state"].append(training.from_our_state())
            found["last.pt"].append(training.from_last())
    ratios = {}
    losses = {name: [_mean_loss(runs, epoch) for epoch in range(KILLED_AFTER, EPOCHS)] for name, runs in found.items()}
    for name, runs in found.items():
        maps = [_row(rows, EPOCHS).figures["val/map50_95"] for rows in runs]
        shown = ", ".join(f"{loss:.2f}" for loss in losses[name])
        print(f"{name:9} loss of epochs {KILLED_AFTER + 1} to {EPOCHS}: {shown}; mAP50-95 in the end {_all(maps)}")
        if name != "no kill":
            key = name.replace(" ", "_").replace(".", "_")
            ratios[f"{key}_first_loss"] = losses[name][0] / losses["no kill"][0]
            ratios[f"{key}_map"] = statistics.fmean(maps)
    return ratios


def _row(rows: Sequence[EpochFigures], epoch: int) -> EpochFigures:
    return next(row for row in rows if row.epoch == epoch)


def _mean_loss(runs: Sequence[Sequence[EpochFigures]], done: int) -> float:
    return statistics.fmean(sum(_row(rows, done + 1).figures[name] for name in _LOSSES) for rows in runs)


def _all(values: Sequence[float]) -> str:
    return f"{statistics.fmean(values):.3f} ({', '.join(f'{value:.3f}' for value in values)})"
