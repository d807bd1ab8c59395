"""Follows a trainer of Ultralytics from epoch to epoch, and ends a training whose losses are no numbers any more."""

import math
import time
from collections.abc import Callable
from typing import Any

from mlops_assets.detector.epochs import EpochProgress
from mlops_assets.detector.training_errors import HopelessTrainingError, TrainingError


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
        # "on_train_start" is not told by a training that has nothing but its final validation before it.
        trainer.add_callback("on_pretrain_routine_end", self._set_up)
        trainer.add_callback("on_train_start", self._begin)
        trainer.add_callback("on_train_epoch_end", self._epoch_trained)
        trainer.add_callback("on_fit_epoch_end", self._epoch_validated)

    def _set_up(self, trainer: Any) -> None:
        self.epochs_done = trainer.start_epoch

    def _begin(self, _trainer: Any) -> None:
        self.last_end = time.monotonic()

    def _epoch_trained(self, _trainer: Any) -> None:
        self.trained = True

    def _epoch_validated(self, trainer: Any) -> None:
        if not self.trained:
            return
        self.trained = False
        # Ultralytics goes back to the last checkpoint where it can; what comes here is past recovery.
        broken = [name for name, value in trainer.tloss.items() if not math.isfinite(float(value))]
        if broken:
            # In the first epoch of a process that goes on it has not gone back at all: the next one may not meet them.
            kind = TrainingError if 0 < trainer.start_epoch == trainer.epoch else HopelessTrainingError
            raise kind(
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
                map50_95=float(trainer.metrics["metrics/mAP50-95(B)"]),
                learning_rate=float(trainer.lr["lr/pg0"]),
                batch=trainer.batch_size,
                seconds=self.last_end - self.started,
                pace=self.last_end - began,
            )
        )
