"""The trained models of the section `gate`: a champion, and what comes of training it further; kept between runs."""

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gate_photos import CLASS_MAP, RenderedSet
from mlops_assets.dataset.versions import manifest
from mlops_assets.detector import files
from mlops_assets.detector.candidate import Candidate, PlainMachine, train_candidate, with_overrides
from mlops_assets.use_case import TrainingRules

IMAGE_SIZE = 320
THREADS = 1
CHAMPION_EPOCHS = 3
FURTHER = ((1, 4), (2, 2), (3, 2), (4, 3), (5, 3))
"""Seed and epochs of the trainings that go on from the champion."""


@dataclass(frozen=True)
class Model:
    """Files by their names in the registry, tags as a training gives them."""

    files: dict[str, Path]
    tags: dict[str, str]


@dataclass(frozen=True)
class _Trained:
    """The champion as `train_candidate` takes it."""

    version: str
    tags: dict[str, str]


def train_all(labelled: RenderedSet, kept: Path) -> tuple[Model, list[Model]]:
    """The champion and the better ones; what an earlier run with the same settings trained is taken again."""
    champion = _kept(kept / f"champion-{CHAMPION_EPOCHS}", lambda folder: _train(labelled, folder, CHAMPION_EPOCHS, 0))
    better = [
        _kept(
            kept / f"champion-{CHAMPION_EPOCHS}-further-{seed}-{epochs}",
            lambda folder, seed=seed, epochs=epochs: _train(labelled, folder, epochs, seed, champion),  # type: ignore[misc]
        )
        for seed, epochs in FURTHER
    ]
    return champion, better


def _train(labelled: RenderedSet, folder: Path, epochs: int, seed: int, champion: Model | None = None) -> Candidate:
    settings: dict[str, Any] = {"image_size": IMAGE_SIZE, "epochs": epochs, "seed": seed, "close_mosaic": 2}
    return train_candidate(
        labelled.dataset,
        CLASS_MAP,
        manifest(labelled.dataset, CLASS_MAP, "benchmark"),
        rules=with_overrides(TrainingRules(), settings),
        machine=PlainMachine(threads=THREADS),
        read_photo=labelled.read_photo,
        folder=folder,
        champion=_Trained("1", champion.tags) if champion else None,
        download=lambda _version, name: champion.files[name] if champion else Path(name),
        on_epoch=lambda epoch: print(f"  {epoch.sentence()}", flush=True),
    )


def _kept(folder: Path, train: Callable[[Path], Candidate]) -> Model:
    """A training's result in `folder`, complete or not at all."""
    record = folder / "record.json"
    if not record.is_file():
        print(f"training {folder.name}", flush=True)
        with tempfile.TemporaryDirectory() as scratch:
            candidate = train(Path(scratch))
            wanted = (files.WEIGHTS, files.ONNX, files.REFERENCES, files.MANIFEST, files.CLASS_MAP)
            for name in wanted:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(candidate.files[name], folder / name)
            record.write_text(json.dumps({"files": wanted, "tags": candidate.tags}), encoding="utf-8")
    content = json.loads(record.read_text(encoding="utf-8"))
    return Model({name: folder / name for name in content["files"]}, content["tags"])
