"""What the bundled base weights are worth on photos of real devices: the racks of ../shared/data, same time each.

The photos go through the project's own assets by a use case file; only the trainings are repeated.
"""

import statistics
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.real_photos import Labelled, prepare_racks
from mlops_assets.dataset.versions import manifest
from mlops_assets.detector import files
from mlops_assets.detector.candidate import train_candidate, with_overrides
from mlops_assets.detector.evaluation import evaluate
from mlops_assets.detector.snapshot import SnapshotPredictor
from resources.machine import Machine

SEEDS = (0, 1, 2)
MINUTES = 105 / 60
LONG_MINUTES = 10.0
LONG_IMAGE_SIZE = 640
THREADS = 2


@dataclass(frozen=True)
class _Outcome:
    map50: float
    map50_95: float
    epochs_seconds: float


def run() -> dict[str, float]:
    """Three seeds of split and training, from the bundled weights and from scratch in turns, 105 s each."""
    rows: dict[str, list[float]] = {"bundled": [], "scratch": []}
    with tempfile.TemporaryDirectory() as folder:
        for seed in SEEDS:
            labelled = prepare_racks(Path(folder) / f"seed-{seed}", split_seed=seed)
            print(f"seed {seed}: {labelled.sentence()}", flush=True)
            for name, values in rows.items():
                outcome = _train(labelled, {"seed": seed, "max_minutes": MINUTES, "pretrained": name == "bundled"})
                values.append(outcome.map50)
                print(f"seed {seed} {name:8} {_sentence(outcome)}", flush=True)
    means = {name: statistics.fmean(values) for name, values in rows.items()}
    for name, values in rows.items():
        print(f"{name:8} mAP50 mean {means[name]:.3f} of {', '.join(f'{value:.3f}' for value in values)}")
    return {**{f"map50_{name}": mean for name, mean in means.items()}, "gain": means["bundled"] - means["scratch"]}


def run_long() -> dict[str, float]:
    """Ten minutes of training each, at a size that suits units a few pixels high."""
    with tempfile.TemporaryDirectory() as folder:
        labelled = prepare_racks(Path(folder), split_seed=0)
        print(labelled.sentence(), flush=True)
        result = {}
        for name in ("bundled", "scratch"):
            settings = {
                "max_minutes": LONG_MINUTES,
                "image_size": LONG_IMAGE_SIZE,
                "pretrained": name == "bundled",
            }
            outcome = _train(labelled, settings)
            print(f"{name:8} {_sentence(outcome)}", flush=True)
            result[f"map50_{name}"] = outcome.map50
    return result


def _sentence(outcome: _Outcome) -> str:
    return (
        f"mAP50 {outcome.map50:.3f}, mAP50-95 {outcome.map50_95:.3f} on test enclosures "
        f"after {outcome.epochs_seconds:.0f} s of training"
    )


def _train(labelled: Labelled, overrides: Mapping[str, Any]) -> _Outcome:
    with tempfile.TemporaryDirectory() as folder:
        candidate = train_candidate(
            labelled.dataset,
            labelled.class_map,
            manifest(labelled.dataset, labelled.class_map, "benchmark"),
            rules=with_overrides(labelled.use_case.training, overrides),
            machine=Machine(threads=THREADS, scratch=folder),
            read_photo=labelled.read_photo,
            folder=Path(folder),
            on_start=lambda parameters: print(f"  {parameters['started_from']}", flush=True),
            on_epoch=lambda epoch: print(f"  {epoch.sentence()}", flush=True) if sys.stdout.isatty() else None,
        )
        class_ids = sorted(labelled.class_map)
        found = SnapshotPredictor(candidate.files[files.ONNX], class_ids, threads=THREADS).predict(
            labelled.dataset.filter(pl.col("split") == "test")["photo_id"].unique().to_list(),
            labelled.read_photo,
            model_version="benchmark",
        )
    figures = evaluate(
        labelled.dataset,
        found,
        model_version="benchmark",
        split="test",
        class_ids=class_ids,
        thresholds=dict.fromkeys(class_ids, 0.25),
    ).filter(pl.col("class_id").is_null())
    row = figures.row(0, named=True)
    return _Outcome(row["ap50"], row["ap50_95"], candidate.seconds)
