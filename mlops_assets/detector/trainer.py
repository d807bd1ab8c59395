"""Ultralytics' trainer with what it lacks: it goes on from our states, and tells what happens as events.

The only module that imports ultralytics at its head: the processes of a training on several GPUs import the class by
its name. So it is imported inside functions only, after `prepare_ultralytics`. What is done with the events belongs in
`training.py`, how several processes are started in `several_gpus.py`.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ultralytics.models.yolo.detect import DetectionTrainer  # noqa: TID253 see above
from ultralytics.utils import RANK  # noqa: TID253
from ultralytics.utils.torch_utils import init_seeds, unset_deterministic  # noqa: TID253

from mlops_assets.detector.batch_size import limited
from mlops_assets.detector.checkpointing import BEST, CURVES, Found
from mlops_assets.detector.several_gpus import run_processes
from mlops_assets.detector.training_errors import explained
from mlops_assets.detector.training_events import Failed, Said, TrainingPlan
from mlops_assets.detector.training_state import restore_state
from mlops_assets.detector.training_watch import TrainingWatch
from mlops_assets.detector.ultralytics_setup import read_weights_only

read_weights_only()  # also in the processes of several GPUs

_PLAN = "our_plan"
"""Among the callbacks, under no event's name: Ultralytics hands these on to the processes of several GPUs."""

_SEED_STEP = 1_000_003
"""A training that goes on must not draw the random numbers of its first epochs again."""


class DetectorTrainer(DetectionTrainer):  # type: ignore[misc]
    """Follows a `TrainingPlan`; without one it is Ultralytics' own."""

    def follow(self, plan: TrainingPlan) -> None:
        """Do as a plan says, in this process or in those of several GPUs."""
        self.callbacks[_PLAN] = [plan]

    @property
    def plan(self) -> TrainingPlan | None:
        """What there is to follow."""
        found: list[TrainingPlan] = self.callbacks.get(_PLAN, [])
        return found[0] if found else None

    @property
    def found(self) -> Found | None:
        """What there is to go on from."""
        return self.plan.found if self.plan else None

    def train(self) -> None:
        """Train, in processes of their own on several GPUs."""
        if self.ddp and self.plan is not None:
            try:
                run_processes(self, self.plan)
            finally:
                unset_deterministic()  # as `super` does
        else:
            super().train()

    def auto_batch(self, *arguments: Any, **settings: Any) -> int:
        """Ultralytics' measured batch, as far as an epoch then has enough steps; one optimizer step each."""
        found = super().auto_batch(*arguments, **settings)
        photos = sum(1 for _ in Path(self.data["train"]).glob("*"))
        self.args.nbs = limited(found, photos)
        if self.plan is not None:
            self.plan.report(Said(f"Batch: {found} photos fit in the memory, {self.args.nbs} are taken for {photos}"))
        return int(self.args.nbs)

    def resume_training(self, ckpt: Mapping[str, Any] | None) -> None:
        """Go on from what the plan found."""
        if self.found is None or self.found.state is None:
            super().resume_training(ckpt)
            return
        restore_state(self, self.found.state)
        if RANK in {-1, 0}:
            for name in (CURVES, BEST):
                source, target = self.found.folder / name, Path(self.save_dir) / name
                if source.exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(source, target)

    def _setup_train(self) -> None:
        if self.found is not None:
            seed = self.args.seed + 1 + RANK + _SEED_STEP * self.found.epoch
            init_seeds(seed, deterministic=self.args.deterministic)
        if self.plan is not None and RANK in {-1, 0}:
            TrainingWatch(self.plan).attach(self)
        super()._setup_train()

    def _do_train(self) -> None:
        try:
            if self.found is not None and self.found.state is not None and self.found.state["ended"]:
                self._end_only()
            else:
                super()._do_train()
        except Exception as error:
            if self.plan is not None and RANK != -1:
                self.plan.report(Failed(explained(error, str(self.args.data), self.batch_size)))
            raise

    def _end_only(self) -> None:
        """What BaseTrainer._do_train does after the last epoch."""
        if self.world_size > 1:
            self._setup_ddp()
        self._setup_train()
        self.epoch = self.start_epoch - 1
        self.final_eval()
        if RANK in {-1, 0}:
            if self.args.plots:
                self.plot_metrics()
            self.run_callbacks("on_train_end")
        self._clear_memory()
        for loader in (self.train_loader, self.test_loader):
            if hasattr(loader, "close"):
                loader.close()
