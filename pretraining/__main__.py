"""Makes the bundled base weights: `python -m pretraining`, or `make base-weights`."""

import argparse
import datetime as dt
import hashlib
import importlib.metadata
import json
import os
from pathlib import Path
from typing import Any

from mlops_assets.code_versions import syntax_version
from mlops_assets.detector.bundled import record_path
from pretraining.dataset import render_dataset
from pretraining.train import ARCHITECTURE, BATCH, IMAGE_SIZE, Pretrained, pretrain

SEED = 2026
CLASSES = 160
TRAIN_SCENES = 10_000
VAL_SCENES = 300
MINUTES = 50.0

_RENDERER = ("canvas", "parts", "device", "surroundings", "scene", "dataset")


def main() -> None:
    """Render the scenes, train, and write checkpoint and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pretraining-output"), help="scenes and training, 1 GB")
    parser.add_argument("--target", type=Path, default=record_path(ARCHITECTURE).with_suffix(".pt"))
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--classes", type=int, default=CLASSES)
    parser.add_argument("--scenes", type=int, default=TRAIN_SCENES)
    parser.add_argument("--val-scenes", type=int, default=VAL_SCENES)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of training; rendering takes a few more")
    parser.add_argument("--device", default="cpu", help="cpu, or a CUDA index such as 0")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    scenes = {
        "seed": arguments.seed,
        "classes": arguments.classes,
        "train": arguments.scenes,
        "val": arguments.val_scenes,
    }
    print(f"Rendering {arguments.scenes} scenes, then {arguments.minutes:.0f} minutes of training …", flush=True)
    data_yaml = render_dataset(arguments.out / "scenes", **scenes, workers=arguments.threads)
    made = pretrain(
        data_yaml,
        arguments.out / "training",
        arguments.target,
        minutes=arguments.minutes,
        device=arguments.device,
        threads=arguments.threads,
    )
    record = arguments.target.with_suffix(".json")
    content = _record(made, scenes, arguments.device, arguments.threads)
    record.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(f"{arguments.target}: {content['bytes']} bytes, SHA-256 {content['sha256']}; record in {record}")


def _record(made: Pretrained, scenes: dict[str, int], device: str, threads: int) -> dict[str, Any]:
    content = made.weights.read_bytes()
    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "architecture": ARCHITECTURE,
        "precision": "float16",
        "licence": "AGPL-3.0-or-later",
        "origin": "Trained from random weights on scenes drawn by pretraining/; no photo, no art of the demo.",
        "recipe": {
            "command": "make base-weights",
            "scenes": scenes,
            "renderer_code": syntax_version(f"pretraining.{name}" for name in _RENDERER),
            "image_size": IMAGE_SIZE,
            "batch": BATCH,
            "device": device,
            "threads": threads,
            "seconds": round(made.seconds),
            "epochs": made.epochs,
        },
        "made_with": {
            name: importlib.metadata.version(name) for name in ("ultralytics", "torch", "opencv-python-headless")
        },
        "made_on": dt.datetime.now(dt.UTC).date().isoformat(),
        "on_unseen_scenes": {name.removeprefix("metrics/"): round(value, 4) for name, value in made.metrics.items()},
    }


if __name__ == "__main__":
    main()
