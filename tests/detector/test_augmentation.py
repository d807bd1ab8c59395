"""What the photos look like that a training sees: a device keeps its left and right, its top and bottom."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from tiny_detector import NAMES, RULES, write_dataset

from mlops_assets.detector.training import build_trainer
from mlops_assets.detector.weights import StartingPoint
from mlops_assets.use_case import TrainingRules

DRAWS = 40
SMALLEST = 12
"""Pixels of a device that is still looked at."""


def write_handed_devices(folder: Path) -> Path:
    """Photos of one device: red on its left and blue on its right, with green in the upper half."""
    data = write_dataset(folder, NAMES, {"train": 4, "val": 1})
    for path in (folder / "images").rglob("*.jpg"):
        photo = np.full((72, 96, 3), 114, np.uint8)
        photo[16:56, 16:48] = (0, 0, 200)
        photo[16:56, 48:80] = (200, 0, 0)
        photo[16:36, 16:80, 1] = 160
        cv2.imwrite(str(path), photo, [cv2.IMWRITE_JPEG_QUALITY, 95])
    for path in (folder / "labels").rglob("*.txt"):
        path.write_text("0 0.5 0.5 0.6667 0.5556")
    return data


def devices_seen(rules: TrainingRules, folder: Path) -> list[npt.NDArray[np.float32]]:
    """Cut-outs (RGB, rows, columns) of all devices, of some size, in photos as the training's loader gives them."""
    from ultralytics.data import build_yolo_dataset

    scratch = StartingPoint("scratch", None, "test")
    data = write_handed_devices(folder / "data")
    trainer = build_trainer(data, folder / "run", scratch, rules, device="cpu", threads=1, plots=False)
    dataset = build_yolo_dataset(trainer.args, trainer.data["train"], rules.batch, trainer.data, mode="train")
    cut = []
    for number in range(DRAWS):
        item = dataset[number % len(dataset)]
        photo = item["img"].numpy().astype(np.float32)
        height, width = photo.shape[1:]
        for x, y, w, h in item["bboxes"].numpy() * [width, height, width, height]:
            if min(w, h) >= SMALLEST:
                cut.append(photo[:, int(y - h / 2) : int(y + h / 2), int(x - w / 2) : int(x + w / 2)])
    return cut


def sides(device: npt.NDArray[np.float32]) -> tuple[float, float]:
    """How much redder the left half is than the right, and greener the upper than the lower; -1 to 1.

    About 0 where a device is cut off at its middle.
    """
    rows, columns = device.shape[1] // 2, device.shape[2] // 2
    red = (device[0] - device[2]) / device.max(axis=0).clip(1)
    green = device[1] / device.max(axis=0).clip(1)
    return (
        float(red[:, :columns].mean() - red[:, columns:].mean()) / 2,
        float(green[:rows].mean() - green[rows:].mean()),
    )


def clear(scores: list[float]) -> list[float]:
    """Those that tell one side from the other."""
    return [score for score in scores if abs(score) > 0.1]


@pytest.mark.parametrize("mosaic", [1.0, 0.0])
def test_devices_with_a_side_are_never_mirrored_by_default(mosaic: float, tmp_path: Path) -> None:
    scores = [sides(device) for device in devices_seen(RULES.model_copy(update={"mosaic": mosaic}), tmp_path)]
    across, upright = clear([a for a, _ in scores]), clear([u for _, u in scores])
    assert min(len(across), len(upright)) >= DRAWS // 2
    assert min(across) > 0
    assert min(upright) > 0


def test_a_use_case_whose_objects_have_no_side_may_have_them_mirrored(tmp_path: Path) -> None:
    scores = [sides(device) for device in devices_seen(RULES.model_copy(update={"horizontal_flip": 1.0}), tmp_path)]
    assert max(clear([across for across, _ in scores])) < 0
    assert min(clear([upright for _, upright in scores])) > 0


def test_nothing_else_that_turns_or_mixes_photos_is_on(tmp_path: Path) -> None:
    scratch = StartingPoint("scratch", None, "test")
    data = write_dataset(tmp_path / "data", NAMES, {"train": 1, "val": 1})
    trainer = build_trainer(data, tmp_path / "run", scratch, RULES, device="cpu", threads=1, plots=False)
    off = ("fliplr", "flipud", "degrees", "shear", "perspective", "mixup", "cutmix", "copy_paste", "bgr")
    assert {name: getattr(trainer.args, name) for name in off} == dict.fromkeys(off, 0.0)
    assert not hasattr(trainer.args, "augmentations"), "transforms of albumentations that a caller gives"
