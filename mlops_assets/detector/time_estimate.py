"""How long a training will take, measured on a few batches before its first epoch.

The steps are done on a copy of the model, and random numbers are drawn again afterwards, so nothing of the training
changes. What an epoch then really took stands in `epochs.EpochProgress`.
"""

import copy
import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

MEASURED_STEPS = 2
"""After a first one, which chooses kernels and allocates memory."""


@dataclass(frozen=True)
class TimeEstimate:
    """How long a training will take.

    Attributes:
        epochs: Still to do, at most: early stopping may end it before.
        batches: Of an epoch.
        batch: Photos a batch.
        step_seconds: Of one batch, the loading of its photos included.
        validation_seconds: Of one epoch.
        limit_seconds: The most that it may take, None without a limit.
    """

    epochs: int
    batches: int
    batch: int
    step_seconds: float
    validation_seconds: float
    limit_seconds: float | None = None

    @property
    def epoch_seconds(self) -> float:
        """Of one epoch."""
        return self.batches * self.step_seconds + self.validation_seconds

    @property
    def seconds(self) -> float:
        """Of all epochs and the validation of the best one."""
        return self.limit_seconds or self.epochs * self.epoch_seconds + self.validation_seconds

    def sentence(self) -> str:
        """One line for a log."""
        work = (
            f"{self.batches} batches of {self.batch} photos an epoch at {self.step_seconds:.2g} s each, "
            f"and {self.validation_seconds:.2g} s of validation"
        )
        if self.limit_seconds is not None:
            fit = max(1, round(self.limit_seconds / self.epoch_seconds))
            return f"Trains for {in_words(self.seconds)}, as asked, which is about {fit} epochs: {work}"
        return f"About {in_words(self.seconds)} at most for {self.epochs} epochs: {work}"


def in_words(seconds: float) -> str:
    """Such as 40 s, 12 min or 3.5 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def measure(trainer: Any) -> TimeEstimate:
    """Measure a few steps of a trainer that is set up and has not begun.

    Args:
        trainer: Of Ultralytics, from its callback on_train_start.
    """
    import torch
    from ultralytics.utils.torch_utils import unwrap_model

    with _same_random_numbers_afterwards():
        model = copy.deepcopy(unwrap_model(trainer.model)).train()
        loader = trainer.train_loader
        photos = itertools.cycle(range(len(loader.dataset)))
        size = min(loader.batch_size, len(loader.dataset))
        seconds = []
        for _ in range(1 + MEASURED_STEPS):
            began = time.perf_counter()
            batch = loader.dataset.collate_fn([loader.dataset[next(photos)] for _ in range(size)])
            loading = time.perf_counter() - began
            began = time.perf_counter()
            batch = trainer.preprocess_batch(batch)
            with _precision(trainer):
                loss, _items = model(batch)
            loss.sum().backward()
            _finish(trainer)
            # Loader processes, where there are any, work while the model does.
            computing = time.perf_counter() - began
            workers = loader.num_workers
            seconds.append(max(computing, loading / workers) if workers else computing + loading)
        model.eval()
        began = time.perf_counter()
        with torch.no_grad(), _precision(trainer):
            model(batch["img"])
        _finish(trainer)
        a_photo = (time.perf_counter() - began) / size
    several = max(trainer.world_size, 1)
    return TimeEstimate(
        epochs=trainer.epochs - trainer.start_epoch,
        batches=len(loader),
        batch=trainer.batch_size,
        step_seconds=min(seconds[1:]),
        validation_seconds=a_photo * len(trainer.test_loader.dataset) / several,
        limit_seconds=trainer.args.time * 3600 if trainer.args.time else None,
    )


def _precision(trainer: Any) -> Any:
    """As Ultralytics computes in training; on a CPU hooks of the model do it, which its copy has too."""
    import torch
    from ultralytics.utils.torch_utils import autocast

    return autocast(torch.bfloat16 if trainer.args.amp == "bf16" else trainer.amp, device=trainer.device.type)


def _finish(trainer: Any) -> None:
    if trainer.device.type == "cuda":
        import torch

        torch.cuda.synchronize(trainer.device)


@contextmanager
def _same_random_numbers_afterwards() -> Iterator[None]:
    import random

    import numpy as np
    import torch

    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)
