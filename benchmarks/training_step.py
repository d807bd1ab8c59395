"""What our trainer costs beside Ultralytics' own with the same arguments: progress, states, checkpoints in a store.

On a GPU where there is one; on a CPU both as Ultralytics trains there, without our acceleration, which is apart.
"""

import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.training import step_of
from mlops_assets.detector.checkpointing import TrainingCheckpoints, identify
from mlops_assets.detector.cpu_training import native_bfloat16
from mlops_assets.detector.training import build_trainer
from mlops_assets.detector.training_events import Event, TrainingPlan
from mlops_assets.detector.ultralytics_setup import prepare_ultralytics
from mlops_assets.detector.weights import StartingPoint
from mlops_assets.use_case import TrainingRules
from resources.checkpoint_files import CheckpointFolder, CheckpointShelf

ROUNDS = 3
EPOCHS = 4
"""Of each training; the first one chooses kernels and is not counted."""

ON_CPU = {"image_size": 320, "batch": 8}
ON_GPU = {"image_size": 640, "batch": 32}
PHOTOS = {"train": 96, "val": 16}
CLASSES = ("c0000", "c0001")
SLOW_STORE_SECONDS = 3.0
"""That a store takes for a checkpoint, in the third row: less than an epoch."""

BATCHES = (4, 8, 16, 32)
_START = StartingPoint("scratch", None, "benchmark")


@dataclass(frozen=True)
class _SlowFolder(CheckpointFolder):
    def write(self, number: int, about: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
        time.sleep(SLOW_STORE_SECONDS)
        super().write(number, about, files)


@dataclass(frozen=True)
class _SlowShelf(CheckpointShelf):
    def of(self, training: str) -> CheckpointFolder:
        return _SlowFolder(f"{self.address}/{training}")


def run() -> dict[str, float]:
    """Images a second of epochs with their validation, in turns in one process."""
    threads = len(os.sched_getaffinity(0))
    prepare_ultralytics(threads)
    import torch

    device = "0" if torch.cuda.is_available() else "cpu"
    rules = TrainingRules(epochs=EPOCHS, close_mosaic=0, patience=EPOCHS, **(ON_CPU if device == "cpu" else ON_GPU))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        data = draw(place / "data", rules.image_size)
        identity = identify("benchmark", rules, _START, list(CLASSES))
        ways: dict[str, TrainingCheckpoints | None] = {
            "yolo train": None,
            "ours": TrainingCheckpoints(CheckpointShelf(str(place / "store")), identity),
            "slow store": TrainingCheckpoints(_SlowShelf(str(place / "slow")), identity),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for round_ in range(ROUNDS):
            for name, checkpoints in ways.items():
                trainer = build_trainer(
                    data, place / f"run-{round_}", _START, rules, device=device, threads=threads, plots=False
                )
                trainer.callbacks["on_train_start"].clear()  # the acceleration on a CPU
                if checkpoints is not None:
                    trainer.follow(TrainingPlan(_ignore, checkpoints))
                seconds[name] += _epochs(trainer)
    pace = {name: PHOTOS["train"] / statistics.median(values) for name, values in seconds.items()}
    print(f"{device}, {threads} threads, {rules.image_size} px, batch {rules.batch}, {PHOTOS['train']} photos an epoch")
    for name, values in seconds.items():
        print(
            f"{name:10} median epoch {statistics.median(values):.2f} s, {min(values):.2f} to {max(values):.2f} s: "
            f"{pace[name]:.1f} photos/s, {pace[name] / pace['yolo train']:.3f} of yolo train"
        )
    ratios = {"step_over_yolo": pace["ours"] / pace["yolo train"], "slow_store": pace["slow store"] / pace["ours"]}
    return ratios | (_batches() if device == "cpu" else {})


def _epochs(trainer: Any) -> list[float]:
    """Seconds of each epoch but the first, from its first batch to the first of the next one or the end."""
    begun: list[float] = []
    trainer.add_callback("on_train_epoch_start", lambda _trainer: begun.append(time.perf_counter()))
    trainer.final_eval = lambda: begun.append(time.perf_counter())
    trainer.train()
    return [later - earlier for earlier, later in itertools.pairwise(begun[1:])]


def _batches() -> dict[str, float]:
    """Photos a second of a step by the size of its batch, relative to 8; beside batch_size.CPU_BATCH."""
    steps = {batch: step_of(ON_CPU["image_size"], batch, native_bfloat16()) for batch in BATCHES}
    pace: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    for round_ in range(ROUNDS + 1):
        for batch, step in steps.items():
            seconds = _timed(step)
            if round_:
                pace[batch].append(batch / seconds)
    medians = {batch: statistics.median(values) for batch, values in pace.items()}
    for batch, median in medians.items():
        print(f"batch {batch:2}: {median:.1f} photos/s, {median / medians[8]:.2f} of batch 8")
    return {f"batch_{batch}_over_8": median / medians[8] for batch, median in medians.items() if batch != 8}


def _timed(step: Callable[[], None]) -> float:
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def _ignore(_event: Event) -> None:
    return None


def draw(folder: Path, size: int, photos: Mapping[str, int] = PHOTOS) -> Path:
    """Photos of two shapes on noise, in YOLO layout; what is on them does not change what they cost."""
    import cv2
    import numpy as np

    rng = np.random.default_rng(0)
    for split, count in photos.items():
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for number in range(count):
            photo = rng.integers(90, 140, (size * 3 // 4, size, 3)).astype(np.uint8)
            cv2.rectangle(photo, (size // 10, size // 5), (size * 4 // 10, size // 2), (20, 20, 220), -1)
            cv2.circle(photo, (size * 7 // 10, size * 3 // 8), size // 6, (220, 40, 20), -1)
            cv2.imwrite(str(folder / "images" / split / f"{number}.jpg"), photo)
            lines = "0 0.25 0.4667 0.3 0.4\n1 0.7 0.5 0.3333 0.4444\n"
            (folder / "labels" / split / f"{number}.txt").write_text(lines, encoding="utf-8")
    data = folder / "data.yaml"
    content = {"path": str(folder), "train": "images/train", "val": "images/val", "names": dict(enumerate(CLASSES))}
    data.write_text(yaml.safe_dump(content), encoding="utf-8")
    return data
