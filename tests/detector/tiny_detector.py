"""A tiny dataset of drawn shapes, and what the tests of this folder train on it."""

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
import yaml

from mlops_assets.detector.epochs import EpochProgress
from mlops_assets.detector.time_estimate import TimeEstimate
from mlops_assets.detector.training import TrainingResult
from mlops_assets.use_case import TrainingRules

IMAGE_SIZE = 96
CLASS_IDS = [0, 3]
NAMES = ["c0000", "c0003"]
RULES = TrainingRules(image_size=IMAGE_SIZE, epochs=2, retrain_epochs=1, batch=4, patience=5)


@dataclass(frozen=True)
class Trained:
    result: TrainingResult
    progress: list[EpochProgress] = field(default_factory=list)
    estimates: list[TimeEstimate] = field(default_factory=list)


def write_dataset(folder: Path, names: list[str], counts: dict[str, int]) -> Path:
    """Draw photos of a red square (index 0) and a blue disc (index 1) on noise, in YOLO layout."""
    rng = np.random.default_rng(0)
    for split, count in counts.items():
        images, labels = folder / "images" / split, folder / "labels" / split
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for number in range(count):
            photo = rng.integers(90, 140, (72, IMAGE_SIZE, 3)).astype(np.uint8)
            cv2.rectangle(photo, (10, 20), (39, 49), (20, 20, 220), -1)
            cv2.circle(photo, (68, 36), 16, (220, 40, 20), -1)
            cv2.imwrite(str(images / f"{split}{number}.jpg"), photo, [cv2.IMWRITE_JPEG_QUALITY, 95])
            lines = ["0 0.2604 0.4861 0.3125 0.4167", "1 0.7083 0.5 0.3438 0.4583"]
            (labels / f"{split}{number}.txt").write_text("\n".join(lines))
    data = folder / "data.yaml"
    content = {"path": str(folder), "train": "images/train", "val": "images/val", "names": dict(enumerate(names))}
    data.write_text(yaml.safe_dump(content))
    return data


def lively_detector(architecture: str, images: torch.Tensor) -> torch.nn.Module:
    """An untrained network whose scores and boxes vary over the photo, which no few epochs' training gives."""
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(0)
    model = DetectionModel(f"{architecture}.yaml", nc=len(NAMES), verbose=False)
    model.names = dict(enumerate(NAMES))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # statistics of the images themselves
    with torch.no_grad():
        model.train()(images)
        head = model.model[-1]
        for boxes, scores in zip(head.cv2, head.cv3, strict=True):
            boxes[-1].bias += -torch.arange(head.reg_max).repeat(4) * 0.5
            scores[-1].weight *= 4
            scores[-1].bias.fill_(-2.0)
    return model.eval()


def save_checkpoint(model: torch.nn.Module, path: Path) -> Path:
    torch.save({"model": model, "train_args": {}}, path)
    return path
