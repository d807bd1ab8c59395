"""A training step on the CPU: Ultralytics as it comes, channels last, and bfloat16, in turns in one process."""

import copy
import os
import statistics
import time
from types import SimpleNamespace
from typing import Any

from mlops_assets.detector.cpu_training import accelerate, native_bfloat16
from mlops_assets.detector.ultralytics_setup import prepare_ultralytics

SIZES = ((416, 8), (640, 8))
"""Image size and batch."""

ROUNDS = 7


def run() -> dict[str, float]:
    """Seconds of forward pass, loss, backward pass and optimizer step of yolo11n; returns how many times as fast."""
    prepare_ultralytics(len(os.sched_getaffinity(0)))
    ways = {"plain": None, "channels_last": False} | ({"bfloat16": True} if native_bfloat16() else {})
    ratios = {}
    for size, batch in SIZES:
        steps = {name: step_of(size, batch, bfloat16) for name, bfloat16 in ways.items()}
        seconds: dict[str, list[float]] = {name: [] for name in steps}
        for round_ in range(ROUNDS + 1):
            for name, step in steps.items():
                started = time.perf_counter()
                step()
                if round_:  # the first chooses and compiles kernels
                    seconds[name].append(time.perf_counter() - started)
        medians = {name: statistics.median(values) for name, values in seconds.items()}
        for name, values in seconds.items():
            print(f"{size} px {name:14} median {medians[name]:.3f} s, {min(values):.3f} to {max(values):.3f} s a batch")
            if name != "plain":
                ratios[f"{name}_{size}"] = medians["plain"] / medians[name]
    return ratios


def step_of(size: int, batch: int, bfloat16: bool | None) -> Any:
    """A training step of yolo11n on random photos; bfloat16 None: without channels last too."""
    import torch
    from ultralytics.cfg import get_cfg
    from ultralytics.nn.tasks import DetectionModel

    model: Any = DetectionModel("yolo11n.yaml", nc=10, verbose=False)
    model.args = get_cfg()
    model.train()
    if bfloat16 is not None:
        accelerate(SimpleNamespace(model=model, ema=SimpleNamespace(ema=copy.deepcopy(model))), bfloat16=bfloat16)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    boxes = 7 * batch
    data = {
        "img": torch.rand(batch, 3, size, size),
        "batch_idx": torch.arange(batch).repeat_interleave(7).float(),
        "cls": torch.zeros(boxes, 1),
        "bboxes": torch.rand(boxes, 4) * 0.3 + 0.3,
    }

    def step() -> None:
        loss, _ = model(data)
        loss.sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step
