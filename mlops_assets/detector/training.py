"""One training of the detector with Ultralytics, from a data.yaml to best.pt.

Choosing the starting weights belongs in `weights.py`; what comes of the result in `evaluation.py` and `promotion.py`.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from mlops_assets.detector.cpu_training import accelerate, native_bfloat16
from mlops_assets.detector.ultralytics_setup import prepare_ultralytics
from mlops_assets.detector.weights import StartingPoint, WeightsError, require_checkpoint
from mlops_assets.use_case import TrainingRules

_METRICS = {
    "metrics/mAP50(B)": "map50",
    "metrics/mAP50-95(B)": "map50_95",
    "metrics/precision(B)": "precision",
    "metrics/recall(B)": "recall",
}
_PICTURE_SUFFIXES = {".png", ".jpg"}


class TrainingError(RuntimeError):
    """A training could not be done; the message says why and what to change."""


@dataclass(frozen=True)
class EpochProgress:
    """What one epoch came to.

    Attributes:
        epoch: Counted from 1.
        epochs: The most that will be run.
        losses: Mean training losses by name, such as train/box_loss.
        map50: mAP50 on val, 0 to 1.
        seconds: Since the training started.
        pace: Seconds that this epoch took; the first also loads libraries and data.
    """

    epoch: int
    epochs: int
    losses: dict[str, float]
    map50: float
    seconds: float
    pace: float

    def sentence(self) -> str:
        """One line for a log."""
        losses = ", ".join(f"{name.removeprefix('train/')} {value:.2f}" for name, value in self.losses.items())
        left = self.pace * (self.epochs - self.epoch)
        return (
            f"Epoch {self.epoch} of {self.epochs}: {losses}, mAP50 on val {self.map50:.3f}, "
            f"{self.seconds:.0f} s, about {left:.0f} s left"
        )

    def metrics(self) -> dict[str, float]:
        """The figures by name, for a tracker."""
        return {**self.losses, "val/map50": self.map50}


@dataclass(frozen=True)
class TrainingResult:
    """What a training left behind.

    Attributes:
        weights: The best epoch's checkpoint, without optimizer state.
        metrics: map50, map50_95, precision and recall of `weights` on val, as Ultralytics measures them.
        curves: CSV of losses and metrics, one row an epoch.
        pictures: Charts and sample batches that Ultralytics drew.
        seconds: Wall time.
        epochs: Epochs run, fewer than asked for when training stopped early.
    """

    weights: Path
    metrics: dict[str, float]
    curves: Path
    pictures: list[Path]
    seconds: float
    epochs: int


def train(
    data_yaml: Path,
    folder: Path,
    start: StartingPoint,
    rules: TrainingRules,
    class_names: Sequence[str],
    *,
    device: str,
    threads: int,
    on_epoch: Callable[[EpochProgress], None],
    plots: bool = True,
) -> TrainingResult:
    """Train a detector, and return its best epoch on val.

    A start from a checkpoint widens the head by class name: Ultralytics copies the rows of classes that both know, and
    leaves new ones as initialised (BaseModel._remap_cls_by_names). A start from the champion runs
    `rules.retrain_epochs`, any other `rules.epochs`.

    Args:
        data_yaml: As `dataset/export` writes it, with an absolute `path`.
        folder: Where weights and curves go; an earlier training there is overwritten.
        start: From `weights.starting_point`.
        rules: Training settings, with this run's overrides applied.
        class_names: Stable names (c0000 …) by index, which data.yaml must carry too.
        device: cpu, or a CUDA index such as 0.
        threads: CPU threads of torch; on CUDA also the number of loader processes.
        on_epoch: Called after each epoch; what it raises ends the training.
        plots: Whether Ultralytics draws charts and sample batches.

    Raises:
        TrainingError: No training or val photos, no boxes, other class names, or losses that are no numbers.
        WeightsError: The starting weights are missing.
    """
    _check_dataset(data_yaml, class_names)
    started = time.monotonic()
    watch = EpochWatch(on_epoch, started)
    try:
        trainer = build_trainer(data_yaml, folder, start, rules, device=device, threads=threads, plots=plots)
        watch.attach(trainer)
        trainer.train()
    except (TrainingError, WeightsError):
        raise
    except (RuntimeError, ValueError) as error:
        raise TrainingError(f"Training on {data_yaml} failed: {error}") from error
    return TrainingResult(
        weights=Path(trainer.best),
        metrics={name: float(trainer.metrics[key]) for key, name in _METRICS.items()},
        curves=Path(trainer.csv),
        pictures=sorted(p for p in Path(trainer.save_dir).iterdir() if p.suffix in _PICTURE_SUFFIXES),
        seconds=time.monotonic() - started,
        epochs=watch.epochs_done,
    )


def build_trainer(
    data_yaml: Path,
    folder: Path,
    start: StartingPoint,
    rules: TrainingRules,
    *,
    device: str,
    threads: int,
    plots: bool = True,
) -> Any:
    """Set up Ultralytics' DetectionTrainer, on a CPU accelerated, without starting it; arguments as of `train`.

    Raises:
        WeightsError: The starting weights are missing.
    """
    if start.path is not None:
        require_checkpoint(start.path)
    prepare_ultralytics(threads)
    from ultralytics.models.yolo.detect import DetectionTrainer

    place = folder.resolve()
    settings = {
        "model": f"{rules.architecture}.yaml",
        "pretrained": str(start.path.resolve()) if start.path else False,
        "data": str(data_yaml.resolve()),
        "project": str(place.parent),
        "name": place.name,
        "exist_ok": True,
        "imgsz": rules.image_size,
        "patience": rules.patience,
        "batch": rules.batch,
        # One optimizer step a batch: the default nominal batch of 64 leaves a small dataset one step an epoch.
        "nbs": rules.batch,
        "fliplr": rules.horizontal_flip,
        "flipud": 0.0,
        "mosaic": rules.mosaic,
        "close_mosaic": rules.close_mosaic,
        "seed": rules.seed,
        "deterministic": True,
        "device": device,
        "workers": min(threads, 8),
        "amp": _mixed_precision(device),
        "plots": plots,
        "verbose": False,
    }
    trainer = DetectionTrainer(overrides=settings | _optimizer(start, rules))
    if device == "cpu":
        trainer.add_callback("on_train_start", partial(accelerate, bfloat16=native_bfloat16()))
    return trainer


def _optimizer(start: StartingPoint, rules: TrainingRules) -> dict[str, Any]:
    again = start.kind == "champion"
    settings = {
        "epochs": rules.retrain_epochs if again else rules.epochs,
        "time": rules.max_minutes / 60 if rules.max_minutes else None,
        "optimizer": rules.optimizer,
        "lr0": rules.retrain_learning_rate if again else rules.learning_rate,
    }
    if rules.optimizer == "AdamW":
        # As Ultralytics' own automatic choice: a bias rate of 0.1 in warm-up throws a trained head away under Adam.
        settings |= {"momentum": 0.9, "warmup_bias_lr": 0.0}
    return settings


def _mixed_precision(device: str) -> str | bool:
    """Take bfloat16 where the GPU has it; Ultralytics' check of fp16 needs a model from the network."""
    if device == "cpu":
        return False
    import torch

    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else False


def _check_dataset(data_yaml: Path, class_names: Sequence[str]) -> None:
    if not data_yaml.is_file():
        raise TrainingError(f"No dataset at {data_yaml}; export the training dataset first")
    data = yaml.safe_load(data_yaml.read_text(encoding="utf-8"))
    names = data["names"]
    found = [names[i] for i in sorted(names)] if isinstance(names, dict) else list(names)
    if found != list(class_names):
        raise TrainingError(f"{data_yaml} names the classes {found}, expected {list(class_names)}; export it again")
    root = Path(data.get("path", data_yaml.parent))
    for split in ("train", "val"):
        if not any((root / data[split]).glob("*")):
            raise TrainingError(f"{data_yaml} has no {split} photo; label photos of more enclosures")
    labels = root / Path(*("labels" if part == "images" else part for part in Path(data["train"]).parts))
    if not any(file.stat().st_size for file in labels.glob("*.txt")):
        raise TrainingError(f"{data_yaml} has no box in its train photos; label photos of more enclosures")


class EpochWatch:
    """Turns Ultralytics' callbacks into progress; its last one, after the final validation, is no epoch."""

    def __init__(self, on_epoch: Callable[[EpochProgress], None], started: float) -> None:
        self.on_epoch = on_epoch
        self.started = started
        self.trained = False
        self.epochs_done = 0
        self.last_end = started

    def attach(self, trainer: Any) -> None:
        """Follow a trainer of Ultralytics."""
        trainer.add_callback("on_train_epoch_end", self._epoch_trained)
        trainer.add_callback("on_fit_epoch_end", self._epoch_validated)

    def _epoch_trained(self, _trainer: Any) -> None:
        self.trained = True

    def _epoch_validated(self, trainer: Any) -> None:
        if not self.trained:
            return
        self.trained = False
        # Ultralytics goes back to the last checkpoint where it can; what comes here is past recovery.
        broken = [name for name, value in trainer.tloss.items() if not math.isfinite(float(value))]
        if broken:
            raise TrainingError(
                f"Epoch {trainer.epoch + 1}: {', '.join(broken)} is no number; "
                f"lower the learning rate ({trainer.args.lr0}) or look for broken boxes in {trainer.args.data}"
            )
        self.epochs_done = trainer.epoch + 1
        began, self.last_end = self.last_end, time.monotonic()
        self.on_epoch(
            EpochProgress(
                epoch=trainer.epoch + 1,
                epochs=trainer.epochs,
                losses={name: float(value) for name, value in trainer.label_loss_items(trainer.tloss).items()},
                map50=float(trainer.metrics["metrics/mAP50(B)"]),
                seconds=self.last_end - self.started,
                pace=self.last_end - began,
            )
        )
