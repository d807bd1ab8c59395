"""Scenes rendered into a YOLO dataset, by all cores, going on where an earlier call stopped."""

import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import yaml

from pretraining.scene import Box, Workshop

BLOCK = 100
"""Scenes a worker renders before it reports."""

_FIRST_VAL = 10_000_000
"""Scene numbers from here on are for validation."""


def render_dataset(folder: Path, *, seed: int, classes: int, train: int, val: int, workers: int) -> Path:
    """Render `train` and `val` scenes unless they are there, and return the data.yaml.

    Raises:
        ValueError: The folder holds scenes of other settings.
    """
    settings = {"seed": seed, "classes": classes}
    marker = folder / "settings.json"
    if marker.is_file() and json.loads(marker.read_text(encoding="utf-8")) != settings:
        raise ValueError(f"{folder} holds scenes of other settings than {settings}: remove it, or name another --out")
    for split in ("train", "val"):
        (folder / "images" / split).mkdir(parents=True, exist_ok=True)
        (folder / "labels" / split).mkdir(parents=True, exist_ok=True)
    marker.write_text(json.dumps(settings), encoding="utf-8")
    blocks = [*_blocks(folder, "train", 0, train), *_blocks(folder, "val", _FIRST_VAL, val)]
    # Spawned: a fork of a process in which OpenCV has started its threads hangs in the first call that needs them.
    with ProcessPoolExecutor(workers, get_context("spawn"), _one_thread) as pool:
        jobs = [pool.submit(_render_block, folder, split, numbers, seed, classes) for split, numbers in blocks]
        for done, job in enumerate(jobs, 1):
            job.result()
            if done % 10 == 0 or done == len(jobs):
                print(f"Rendered {done} of {len(jobs)} blocks of up to {BLOCK} scenes", flush=True)
    return _write_yaml(folder, classes)


def _blocks(folder: Path, split: str, first: int, count: int) -> Iterator[tuple[str, list[int]]]:
    there = {path.name for path in (folder / "images" / split).iterdir()}
    missing = [number for number in range(first, first + count) if f"{number:08d}.jpg" not in there]
    for start in range(0, len(missing), BLOCK):
        yield split, missing[start : start + BLOCK]


@cache
def _workshop(seed: int, classes: int) -> Workshop:
    return Workshop(seed, classes)


def _one_thread() -> None:
    import cv2

    cv2.setNumThreads(1)


def _render_block(folder: Path, split: str, numbers: list[int], seed: int, classes: int) -> None:
    import cv2

    workshop = _workshop(seed, classes)
    for number in numbers:
        picture, boxes = workshop.scene(number)
        quality = int(np.random.default_rng([seed, 3, number]).integers(55, 96))
        content = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        labels = folder / "labels" / split / f"{number:08d}.txt"
        labels.write_text("".join(map(_row, boxes)), encoding="utf-8")
        # The picture comes last, under its name at once: it marks the scene as done.
        image = folder / "images" / split / f"{number:08d}.jpg"
        partial = image.with_suffix(".part")
        partial.write_bytes(content.tobytes())
        partial.replace(image)


def _row(box: Box) -> str:
    return f"{box.class_index} {box.x:.6f} {box.y:.6f} {box.width:.6f} {box.height:.6f}\n"


def _write_yaml(folder: Path, classes: int) -> Path:
    content = {
        "path": str(folder.resolve()),
        "train": "images/train",
        "val": "images/val",
        "names": {number: f"base {number:04d}" for number in range(classes)},
    }
    path = folder / "data.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path
