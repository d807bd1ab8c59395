"""The pre-training: a nano detector on rendered scenes, and the file of base weights that comes of it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mlops_assets.detector.epoch_watch import EpochWatch
from mlops_assets.detector.epochs import EpochProgress
from mlops_assets.detector.training import build_trainer
from mlops_assets.detector.weights import StartingPoint
from mlops_assets.use_case import TrainingRules

ARCHITECTURE = "yolo11n"
IMAGE_SIZE = 320
BATCH = 32
_MOST_EPOCHS = 1000
"""More than any time limit allows; the learning rate follows the time instead."""


@dataclass(frozen=True)
class Pretrained:
    """What came of it: half-precision checkpoint, metrics on unseen scenes, epochs and seconds."""

    weights: Path
    metrics: dict[str, float]
    epochs: int
    seconds: float


def pretrain(data_yaml: Path, folder: Path, target: Path, *, minutes: float, device: str, threads: int) -> Pretrained:
    """Train for `minutes` from scratch and write the weights to `target`."""
    rules = TrainingRules(
        architecture=ARCHITECTURE,
        image_size=IMAGE_SIZE,
        batch=BATCH,
        epochs=_MOST_EPOCHS,
        patience=_MOST_EPOCHS,
        mosaic=0.0,  # scenes are varied enough as they are rendered, and four times as quick to load
        close_mosaic=0,
        learning_rate=0.002,
    )
    start = StartingPoint("scratch", None, "pre-training")
    trainer = build_trainer(data_yaml, folder, start, rules, device=device, threads=threads, plots=False)
    # Light and colour are varied by the renderer already.
    vars(trainer.args).update(time=minutes / 60, scale=0.3, hsv_h=0.0, hsv_s=0.2, hsv_v=0.2, warmup_epochs=1.0)
    trainer.get_model = partial(_model, trainer)
    started = time.monotonic()
    watch = EpochWatch(partial(_tell, minutes=minutes), started)
    watch.attach(trainer)
    trainer.train()
    _write_checkpoint(Path(trainer.best), target)
    metrics = {name: float(value) for name, value in trainer.metrics.items() if name.startswith("metrics/")}
    return Pretrained(target, metrics, watch.epochs_done, time.monotonic() - started)


def _model(trainer: Any, cfg: Any = None, weights: Any = None, verbose: bool = False) -> Any:
    """A detector whose classification head is as wide as that of a model of few classes.

    Ultralytics widens the head's hidden layers with the number of classes (Detect: max(channels, min(classes, 100))),
    and copies only layers of equal shape: with a hundred classes here, none of the head would pass on to a use case
    of ten.
    """
    from torch import nn
    from ultralytics.nn.tasks import DetectionModel

    classes = trainer.data["nc"]
    model: Any = DetectionModel(cfg, nc=1, ch=trainer.data["channels"], verbose=verbose)
    head = model.model[-1]
    for branch in head.cv3:
        branch[-1] = nn.Conv2d(branch[-1].in_channels, classes, 1)
    head.nc, head.no = classes, classes + 4 * head.reg_max
    head.bias_init()
    model.nc = model.yaml["nc"] = classes
    model.names = dict(trainer.data["names"])
    if weights:
        model.load(weights)
    return model


def _tell(epoch: EpochProgress, *, minutes: float) -> None:
    losses = ", ".join(f"{name.removeprefix('train/')} {value:.2f}" for name, value in epoch.losses.items())
    left = max(0.0, minutes - epoch.seconds / 60)
    print(f"Epoch {epoch.epoch}: {losses}, mAP50 on unseen scenes {epoch.map50:.3f}, {left:.0f} min left", flush=True)


def _write_checkpoint(best: Path, target: Path) -> None:
    """Keep the model in half precision, and nothing of the machine that it was made on."""
    import torch
    import ultralytics

    from mlops_assets.detector.weights import load_model

    model = load_model(best)
    model.args = {"task": "detect", "imgsz": IMAGE_SIZE}
    model.pt_path = None
    content: Mapping[str, Any] = {
        "model": model.half(),
        "train_args": {"task": "detect", "imgsz": IMAGE_SIZE, "model": f"{ARCHITECTURE}.yaml"},
        "version": ultralytics.__version__,
        "license": "AGPL-3.0",
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    partial_file = target.with_suffix(".part")
    torch.save(content, partial_file)
    partial_file.replace(target)
