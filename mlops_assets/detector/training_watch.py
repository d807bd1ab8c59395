"""What goes on beside a training in the process that trains: progress, estimate, checkpoints, told as events."""

import time
from pathlib import Path
from typing import Any

from mlops_assets.detector.checkpointing import BEST, CURVES, CheckpointWriter
from mlops_assets.detector.epoch_watch import EpochWatch
from mlops_assets.detector.epochs import EpochProgress
from mlops_assets.detector.time_estimate import measure
from mlops_assets.detector.training_events import Ended, Kept, Said, TrainingPlan
from mlops_assets.detector.training_state import take_state


class TrainingWatch:
    """Follows one trainer as its plan says."""

    def __init__(self, plan: TrainingPlan) -> None:
        self.plan = plan
        self.seconds_before = float(plan.found.about["seconds"]) if plan.found else 0.0
        self.started = time.monotonic()
        self.epochs = EpochWatch(self._epoch_done, self.started)
        self.writer = CheckpointWriter(plan.checkpoints) if plan.checkpoints else None
        self.told = 0
        self.best: tuple[int, bytes] = (0, b"")
        self.trainer: Any = None

    def attach(self, trainer: Any) -> None:
        """Follow a trainer of Ultralytics from before its set-up on."""
        self.trainer = trainer
        self.epochs.attach(trainer)
        trainer.add_callback("on_train_start", self._begin)
        trainer.add_callback("on_train_end", self._end)
        trainer.add_callback("teardown", self._let_go)

    def seconds(self) -> float:
        """Trained so far, by all processes that had a part in it."""
        return self.seconds_before + time.monotonic() - self.started

    def _begin(self, trainer: Any) -> None:
        self.plan.report(measure(trainer))
        self.started = self.epochs.started = self.epochs.last_end = time.monotonic()
        trainer.train_time_start = trainer.epoch_time_start = time.time()
        if self.plan.found is not None:
            trainer.train_time_start -= self.seconds_before  # the column `time` of results.csv goes on

    def _epoch_done(self, progress: EpochProgress) -> None:
        self.plan.report(progress)
        if self.writer is None:
            return
        self._tell()
        trainer = self.trainer
        if trainer.stop or progress.epoch % self.plan.checkpoint_epochs == 0:
            files = {CURVES: Path(trainer.csv).read_bytes()}
            if best := self._best(Path(trainer.best)):
                files[BEST] = best
            self.writer.put(take_state(trainer, self.seconds()), files)

    def _best(self, path: Path) -> bytes:
        if not path.exists():
            return b""
        written = path.stat().st_mtime_ns
        if written != self.best[0]:
            self.best = (written, path.read_bytes())
        return self.best[1]

    def _tell(self) -> None:
        if self.writer is None:
            return
        while self.writer.troubles:
            self.plan.report(Said(self.writer.troubles.pop(0)))
        if self.writer.kept_epoch > self.told:
            self.told = self.writer.kept_epoch
            self.plan.report(Kept(self.told))

    def _end(self, trainer: Any) -> None:
        metrics = {name: float(value) for name, value in trainer.metrics.items()}
        self.plan.report(Ended(metrics, self.epochs.epochs_done, trainer.batch_size, self.seconds()))

    def _let_go(self, _trainer: Any) -> None:
        if self.writer is not None:
            self.writer.close()
            self._tell()
