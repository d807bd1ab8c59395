"""One candidate from start to finish: dataset on this machine, starting weights, training, export and its parity.

Parity is measured here because only this step needs torch.

Where it is kept belongs to the model registry; whether it serves to `judging.py`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from mlops_assets.class_keys import class_key
from mlops_assets.dataset.export import Photos
from mlops_assets.dataset.exports import exported
from mlops_assets.detector import files
from mlops_assets.detector.bundled import bundled_weights
from mlops_assets.detector.checkpointing import TrainingCheckpoints, identify
from mlops_assets.detector.epochs import EpochProgress
from mlops_assets.detector.export import export_onnx
from mlops_assets.detector.mlflow_model import write_mlflow_model
from mlops_assets.detector.other_champion import OtherChampion
from mlops_assets.detector.parity import ParityResult, measure_parity, parity_tags, worst
from mlops_assets.detector.predictor import OnnxPredictor
from mlops_assets.detector.references import build_references
from mlops_assets.detector.runtimes import installed_runtimes
from mlops_assets.detector.training import TrainingListener, TrainingResult, train
from mlops_assets.detector.weights import StartingPoint, fetch_weights, require_hash, starting_point
from mlops_assets.detector.widening import arranged
from mlops_assets.labels.class_links import ClassLinks
from mlops_assets.use_case import TrainingRules
from resources.checkpoint_files import CheckpointShelf

PARITY_CONFIDENCE = 0.25
"""Detections compared between PyTorch and the export: those that could count."""

Download = Callable[[str, str], Path]
"""Local path of a file (second) of a model version (first)."""


class TrainingMachine(Protocol):
    """What a deployment gives a training."""

    @property
    def device(self) -> str:
        """Of torch: cpu, cuda or GPU numbers."""

    @property
    def threads(self) -> int:
        """Of torch and of the export."""

    @property
    def base_weights(self) -> str:
        """Path of first weights, or empty."""

    @property
    def base_weights_uri(self) -> str:
        """Address of first weights, or empty."""

    @property
    def base_weights_sha256(self) -> str:
        """Their SHA-256, hex; may be empty where they are given by path."""


@dataclass(frozen=True)
class PlainMachine:
    """A `TrainingMachine` without Dagster, for scripts."""

    device: str = "cpu"
    threads: int = 1
    base_weights: str = ""
    base_weights_uri: str = ""
    base_weights_sha256: str = ""


class ModelVersion(Protocol):
    """A version in the model registry."""

    @property
    def version(self) -> str:
        """As the registry counts."""

    @property
    def tags(self) -> Mapping[str, str]:
        """What is kept with it."""


@dataclass(frozen=True)
class Candidate:
    """A trained and exported detector; `files` by their names in the registry.

    started_from says in words which weights training began with, `origin` for programs (see `_origin`).
    """

    files: dict[str, Path]
    tags: dict[str, str]
    metrics: dict[str, float]
    curves: Path
    started_from: str
    origin: dict[str, str]
    seconds: float


def _say_nothing(_fact: object) -> None:
    return None


def with_overrides(rules: TrainingRules, overrides: Mapping[str, Any]) -> TrainingRules:
    """The use case's settings with a deployment's or a run's put over them; epochs and rate count for retraining too.

    Raises:
        ValidationError: A value is out of its range; it names the setting.
    """
    changes = dict(overrides)
    for name in ("epochs", "learning_rate"):
        if name in changes:
            changes[f"retrain_{name}"] = changes[name]
    return TrainingRules.model_validate(rules.model_dump() | changes)


def train_candidate(
    dataset: pl.DataFrame,
    class_map: Mapping[int, str],
    manifest: Mapping[str, Any],
    *,
    rules: TrainingRules,
    machine: TrainingMachine,
    read_photo: Callable[[str], bytes],
    folder: Path,
    photo_file: Callable[[str], Path | None] | None = None,
    champion: ModelVersion | None = None,
    download: Download | None = None,
    other: OtherChampion | None = None,
    on_start: Callable[[Mapping[str, Any]], None] = _say_nothing,
    on_epoch: Callable[[EpochProgress], None] = _say_nothing,
    listener: TrainingListener | None = None,
    shelf: CheckpointShelf | None = None,
) -> Candidate:
    """Train on a dataset, export the best epoch and hold the export against PyTorch on the test photos.

    The export also looks at the labelled boxes of train and val once more, to keep what known equipment looks like to
    it (`unknown_equipment.References`).

    Args:
        dataset: TRAINING_DATASET.
        class_map: Active classes.
        manifest: Of the dataset; kept with the model, so that promotion can see what it was trained on.
        rules: Settings of this training.
        machine: Device, threads and first weights.
        read_photo: Bytes of a normalised photo.
        folder: Scratch folder of the use case; the exported dataset stays there for the next training.
        photo_file: The local file of a normalised photo, if there is one that the export may link to.
        champion: Training goes on from it, if there is one.
        download: Brings the champion's weights.
        other: Champion of the use case that a first training is to start from.
        on_start: Called with what this training is, before it starts.
        on_epoch: Called after every epoch.
        listener: Told what else happens in the training.
        shelf: Where checkpoints are kept, so that a training which is killed goes on; None: none are.

    Raises:
        ValueError: A champion, and nothing that brings its weights.
        TrainingError: See `training.train`.
        WeightsError: The starting weights are missing, broken or not what they should be.
    """
    if champion is not None and download is None:
        raise ValueError("Going on from a champion needs `download`, which brings its weights")
    class_ids = sorted(class_map)
    name = f"{str(manifest['fingerprint'])[:16]}-{rules.image_size}"
    weights = download(champion.version, files.WEIGHTS) if champion and download else None
    start = starting_point(
        _user_weights(machine, folder, needed=champion is None and (other is None or other.weights is None)),
        weights,
        rules.architecture,
        bundled_weights(rules.architecture) if rules.pretrained else None,
        other,
    )
    start = arranged(start, class_ids, folder / "starting-weights", ClassLinks.parse(manifest))
    origin = _origin(start, champion, other)
    on_start(_parameters(rules, manifest, start, champion) | origin)
    photos = Photos(read_photo) if photo_file is None else Photos(read_photo, photo_file)
    export = exported(
        dataset,
        class_ids,
        photos,
        folder / "datasets",
        name,
        image_size=rules.image_size,
        workers=machine.threads,
    )
    class_names = [class_key(class_id) for class_id in class_ids]
    identity = identify(str(manifest["fingerprint"]), rules, start, class_names)
    with export as data_yaml:
        result = train(
            data_yaml,
            folder / "trainings" / name,
            start,
            rules,
            class_names,
            device=machine.device,
            threads=machine.threads,
            on_epoch=on_epoch,
            listener=listener,
            checkpoints=TrainingCheckpoints(shelf, identity) if shelf else None,
        )
    onnx = export_onnx(
        result.weights, result.weights.parent.parent / "model.onnx", rules.image_size, threads=machine.threads
    )
    test_photos = dataset.filter(pl.col("split") == "test")["photo_id"].unique().sort()
    predictor = OnnxPredictor(onnx, class_ids, threads=machine.threads)
    parity = measure_parity(
        result.weights,
        [OnnxPredictor(onnx, class_ids, threads=machine.threads, runtime=name) for name in installed_runtimes()],
        map(read_photo, test_photos),
        confidence=PARITY_CONFIDENCE,
        threads=machine.threads,
    )
    references = build_references(predictor, dataset, read_photo).save(onnx.with_name("references.npz"))
    return _candidate(result, onnx, references, parity, class_map, manifest, rules, start, origin)


def _candidate(
    result: TrainingResult,
    onnx: Path,
    references: Path,
    parity: list[ParityResult],
    class_map: Mapping[int, str],
    manifest: Mapping[str, Any],
    rules: TrainingRules,
    start: StartingPoint,
    origin: dict[str, str],
) -> Candidate:
    texts = {
        files.MANIFEST: json.dumps(manifest, indent=1, ensure_ascii=False),
        files.CLASS_MAP: json.dumps({str(class_id): class_map[class_id] for class_id in sorted(class_map)}),
    }
    written = {name: _write(onnx.with_name(name), text) for name, text in texts.items()}
    written |= write_mlflow_model(onnx.parent / "mlflow", {files.ONNX: onnx, **written})
    pictures = {f"training/{path.name}": path for path in result.pictures}
    return Candidate(
        files={
            files.WEIGHTS: result.weights,
            files.ONNX: onnx,
            files.REFERENCES: references,
            files.CURVES: result.curves,
            **written,
            **pictures,
        },
        tags={
            "dataset_fingerprint": str(manifest["fingerprint"]),
            "class_map": texts[files.CLASS_MAP],
            "image_size": str(rules.image_size),
            "architecture": rules.architecture,
            "started_from": start.reason,
            **origin,
            "training_seconds": f"{result.seconds:.0f}",
            "training_epochs": str(result.epochs),
            "training_batch": str(result.batch),
            **parity_tags(parity),
        },
        metrics={
            **result.metrics,
            "export_parity": worst(parity).share,
            **{f"export_parity_{each.runtime}": each.share for each in parity},
        },
        curves=result.curves,
        started_from=start.reason,
        origin=origin,
        seconds=result.seconds,
    )


def _parameters(
    rules: TrainingRules, manifest: Mapping[str, Any], start: StartingPoint, champion: ModelVersion | None
) -> dict[str, Any]:
    return {
        **rules.model_dump(),
        "dataset_fingerprint": manifest["fingerprint"],
        "started_from": start.reason,
        "champion": champion.version if champion else "none",
        **{f"{split}_photos": contents["photos"] for split, contents in manifest["splits"].items()},
    }


def _origin(start: StartingPoint, champion: ModelVersion | None, other: OtherChampion | None) -> dict[str, str]:
    """The weights that training began with, as tags: kind, SHA-256, and version in the registry where they have one."""
    tags: dict[str, str] = {"started_from_kind": start.kind}
    if start.sha256 is not None:
        tags["started_from_sha256"] = start.sha256
    if start.kind == "champion" and champion is not None:
        tags["started_from_version"] = champion.version
    if start.kind == "other_champion" and other is not None:
        tags |= {"started_from_model": other.model, "started_from_version": str(other.version)}
    return tags


def _user_weights(machine: TrainingMachine, folder: Path, *, needed: bool) -> Path | None:
    """The deployment's first weights, fetched if they are given by address, of the hash that was set."""
    if machine.base_weights:
        path = Path(machine.base_weights)
        return require_hash(path, machine.base_weights_sha256) if machine.base_weights_sha256 else path
    if not machine.base_weights_uri or not needed:
        return None
    target = folder / "base-weights" / f"{machine.base_weights_sha256}.pt"
    return fetch_weights(machine.base_weights_uri, machine.base_weights_sha256, target)


def _write(path: Path, text: str) -> Path:
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
    return path
