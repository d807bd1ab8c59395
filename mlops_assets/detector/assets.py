"""From a dataset to a candidate: trained, and measured beside the champion. `champion_assets.py` decides on it."""

import json
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
from pydantic import Field, ValidationError

from mlops_assets.compute import CPU_BATCH, GPU_TRAIN, RETRY, RETRY_TRAINING
from mlops_assets.detector import files
from mlops_assets.detector.schema import CHAMPION_DETECTOR, DETECTOR_EVALUATION, DETECTOR_WEIGHTS
from mlops_assets.failures import final_failures
from mlops_assets.metadata import picture, preview
from mlops_assets.progress import logged_progress
from mlops_assets.use_case import UseCase, registered_model
from resources.checkpoints import Checkpoints
from resources.dataset_versions import DatasetVersions
from resources.machine import Machine
from resources.mlflow import MlflowTracking
from resources.model_registry import ModelRegistry
from resources.tables import Tables
from resources.tombstones import Tombstones

if TYPE_CHECKING:
    from mlops_assets.detector.candidate import Candidate
    from mlops_assets.detector.evaluating import Evaluation
    from mlops_assets.detector.other_champion import OtherChampion
    from mlops_assets.detector.snapshot_predictions import SnapshotPredictions

ORPHAN_DAYS = 7
"""After which a training that was killed is taken to have been given up, and its checkpoints are removed."""


class Architecture(Enum):
    """As the launchpad offers them."""

    yolo11n = "yolo11n"
    yolo11s = "yolo11s"
    yolo11m = "yolo11m"
    yolo26n = "yolo26n"
    yolo26s = "yolo26s"
    yolo26m = "yolo26m"


class Optimizer(Enum):
    """As the launchpad offers them."""

    AdamW = "AdamW"
    SGD = "SGD"


class TrainingConfig(dg.Config):
    """Settings of one training; what is left empty is as the use case says.

    Ranges stand in the descriptions and are checked with the use case's: Dagster would try a range of its own again.
    """

    epochs: int | None = Field(None, description="Epochs, 1 or more; also of a training that starts from the champion")
    max_minutes: float | None = Field(None, description="Train for so long, above 0, instead of a number of epochs")
    architecture: Architecture | None = Field(None, description="Another than the champion's starts without it")
    pretrained: bool | None = Field(None, description="Without a champion, start from the bundled base weights")
    image_size: int | None = Field(None, description="Long side of the network's input: 64 or more, a multiple of 32")
    batch: int | None = Field(None, description="Photos a batch, 1 or more, of all GPUs together")
    automatic_batch: bool = Field(False, description="Take the batch that fits the GPU's memory, whatever `batch` is")
    mixed_precision: bool | None = Field(None, description="Compute in bfloat16 where the processor can")
    optimizer: Optimizer | None = Field(None, description="AdamW or SGD")
    learning_rate: float | None = Field(None, description="Above 0; also of a training that starts from the champion")
    patience: int | None = Field(None, description="Epochs without progress, 1 or more, before training stops early")
    horizontal_flip: float | None = Field(None, description="Share of photos that are mirrored, 0 to 1")
    mosaic: float | None = Field(None, description="Share of training pictures put together of four photos, 0 to 1")
    close_mosaic: int | None = Field(None, description="Last epochs without mosaics, 0 or more")
    seed: int | None = Field(None, description="0 or more; another seed tells chance from progress")
    workers: int | None = Field(None, description="Processes that load photos for a GPU, 0 or more")
    checkpoint_epochs: int | None = Field(None, description="Epochs from one checkpoint to the next, 1 or more")

    def overrides(self) -> dict[str, Any]:
        """What is not left to the use case."""
        fields = self.model_dump(exclude_none=True, exclude={"automatic_batch"})
        given = {name: value.value if isinstance(value, Enum) else value for name, value in fields.items()}
        return given | ({"batch": "auto"} if self.automatic_batch else {})


@dg.asset(
    group_name="detector",
    kinds={"yolo", "mlflow", "pytorch"},
    op_tags=GPU_TRAIN,
    retry_policy=RETRY_TRAINING,
    pool="gpu",
)
def detector_weights(
    context: dg.AssetExecutionContext,
    config: TrainingConfig,
    training_dataset: pl.DataFrame,
    equipment_classes: pl.DataFrame,
    dataset_versions: DatasetVersions,
    tables: Tables,
    checkpoints: Checkpoints,
    mlflow: MlflowTracking,
    model_registry: ModelRegistry,
    machine: Machine,
    use_case: dg.ResourceParam[UseCase],
) -> pl.DataFrame:
    """A newly trained version in the model registry, with its weights, ONNX export, class map and manifest."""
    from mlops_assets.dataset.building import UntrainableDatasetError, check_trainable
    from mlops_assets.dataset.making import todays_version
    from mlops_assets.detector.candidate import train_candidate, with_overrides
    from mlops_assets.detector.charts import training_curves
    from mlops_assets.detector.journal import TrainingJournal
    from mlops_assets.detector.training_errors import HopelessTrainingError
    from mlops_assets.detector.weights import WeightsError

    with final_failures(UntrainableDatasetError):
        check_trainable(training_dataset, equipment_classes)
    version = todays_version(training_dataset, dataset_versions, tables)
    deployment = {"epochs": machine.epochs} if machine.epochs else {}
    shelf = checkpoints.of_run(context.instance, context.run)
    for run in checkpoints.remove_orphans(ORPHAN_DAYS, keep=shelf):
        context.log.info("Removed the checkpoints of run %s, untouched for %d days", run, ORPHAN_DAYS)
    journal = TrainingJournal(context.log, mlflow)
    champion = model_registry.champion()
    with final_failures(ValidationError, HopelessTrainingError, WeightsError):
        rules = with_overrides(use_case.training, deployment | config.overrides())
        candidate = train_candidate(
            version.rows,
            version.class_map,
            version.manifest,
            rules=rules,
            machine=machine,
            champion=champion,
            other=_other_champion(model_registry, rules.start_from, machine) if champion is None else None,
            download=lambda version, name: model_registry.download(version, name, Path(machine.scratch) / "models"),
            read_photo=version.photos,
            photo_file=version.photos.file,
            folder=Path(machine.scratch) / use_case.name,
            on_start=journal.begin,
            on_epoch=journal.epoch,
            listener=journal.listener(),
            shelf=shelf,
        )
    mlflow.log_metrics({k: v for k, v in candidate.metrics.items() if k.startswith("export_parity")})
    model_version = model_registry.register(mlflow.run_id, candidate.files, candidate.tags).version
    mlflow.set_tags({"model_version": model_version, **candidate.tags})
    context.add_output_metadata(
        {
            "model_version": model_version,
            "started_from": candidate.started_from,
            **candidate.origin,
            **journal.metadata(),
            "settings": rules.model_dump(mode="json"),
            "seconds": candidate.seconds,
            "val_map50": candidate.metrics["map50"],
            "export_parity": candidate.metrics["export_parity"],
            "curves": picture(training_curves(candidate.curves), "training curves"),
            "mlflow_run": mlflow.link(),
        }
    )
    row = _weights_row(candidate, model_version, mlflow.run_id, equipment_classes)
    shelf.delete()  # the last thing: what fails before is tried again, and must not train again for it
    return row


def _other_champion(registry: ModelRegistry, use_case: str | None, machine: Machine) -> "OtherChampion | None":
    """What the use case wants its first training to start from, if it names another one."""
    from mlops_assets.detector.other_champion import other_champion

    if use_case is None:
        return None
    return other_champion(registry.of(registered_model(use_case)), Path(machine.scratch) / "models")


def _weights_row(
    candidate: "Candidate", version: str, mlflow_run_id: str, equipment_classes: pl.DataFrame
) -> pl.DataFrame:
    active = equipment_classes.filter(pl.col("status") == "active").sort("class_id")
    row = {
        "model_version": version,
        "dataset_fingerprint": candidate.tags["dataset_fingerprint"],
        "class_map": candidate.tags["class_map"],
        "mlflow_run_id": mlflow_run_id,
        "started_from": candidate.started_from,
        "seconds": candidate.seconds,
        "class_boxes": json.dumps(dict(active.select("class_id", "boxes").iter_rows())),
    }
    return pl.DataFrame([row], schema=DETECTOR_WEIGHTS)


@dg.asset(
    group_name="detector",
    kinds={"onnx", "mlflow"},
    op_tags=CPU_BATCH,
    retry_policy=RETRY,
    deps=["raw_photos", "clean_photos"],
)
def detector_evaluation(
    context: dg.AssetExecutionContext,
    detector_weights: pl.DataFrame,
    training_dataset: pl.DataFrame,
    dataset_versions: DatasetVersions,
    mlflow: MlflowTracking,
    model_registry: ModelRegistry,
    machine: Machine,
    tables: Tables,
    use_case: dg.ResourceParam[UseCase],
) -> pl.DataFrame:
    """Candidate and champion on the same snapshot of val and test; the candidate's thresholds, chosen on val."""
    from mlops_assets.dataset.restoring import kept_photos
    from mlops_assets.detector.decisions import has_served
    from mlops_assets.detector.evaluating import KEPT, SAID, evaluate_versions
    from mlops_assets.detector.evaluation_pictures import log_pictures
    from mlops_assets.detector.judging import links_of
    from mlops_assets.detector.snapshot import SPLIT_PREDICTIONS, snapshot_name
    from mlops_assets.detector.snapshot_predictions import SO_FAR, SnapshotPredictions, earlier_predictions
    from mlops_assets.detector.soundness import faults

    def download(version: str, name: str) -> Path:
        return model_registry.download(version, name, Path(machine.scratch) / "models")

    candidate, champion = model_registry.version(detector_weights.item(0, "model_version")), model_registry.champion()
    broken = faults(candidate, download, threads=machine.threads)
    if broken:  # no reason to fail: champion_detector refuses it for just that
        context.log.warning("Version %s cannot be measured: %s", candidate.version, "; ".join(broken))
        context.add_output_metadata({"cannot_be_measured": dg.MetadataValue.md("\n".join(f"- {f}" for f in broken))})
        for name, schema in SAID.items():
            tables.write(name, schema.to_frame(), schema)
        return pl.DataFrame(schema=DETECTOR_EVALUATION)
    served = has_served(tables.read("champion_detector", CHAMPION_DETECTOR), candidate.version)
    read_photo = kept_photos(training_dataset, dataset_versions.photos())
    predictions = SnapshotPredictions(
        training_dataset,
        read_photo,
        threads=machine.threads,
        earlier=earlier_predictions(tables),
        keep=lambda so_far: tables.write(SO_FAR, so_far, SPLIT_PREDICTIONS),
        progress=logged_progress(context.log, "val and test photos looked at"),
    )
    evaluation = evaluate_versions(
        [candidate, *([champion] if champion and champion.version != candidate.version else [])],
        training_dataset,
        tables,
        predictions,
        download=download,
        use_case=use_case,
        links=links_of(download(candidate.version, files.MANIFEST)),
        keeps_thresholds=served,
    )
    # Before MLflow is asked for anything: a step that is tried again looks at no photo again.
    for name, frame in evaluation.kept().items():
        tables.write(name, frame, KEPT[name])
    tables.write(SO_FAR, SPLIT_PREDICTIONS.to_frame(), SPLIT_PREDICTIONS)
    model_registry.set_tags(candidate.version, evaluation.candidate.tags(thresholds=not served))
    mlflow.log_metrics(evaluation.figures())
    log_pictures(
        evaluation.report,
        candidate.version,
        mlflow,
        read_photo=read_photo,
        names=evaluation.names,
        erased=Tombstones(tables.root).ids,
        scratch=Path(machine.scratch),
    )
    context.add_output_metadata(
        {
            **_evaluation_metadata(evaluation, predictions, read_photo),
            "test_snapshot": snapshot_name(training_dataset),
            "mlflow_run": mlflow.link(),
        }
    )
    return evaluation.table()


def _evaluation_metadata(
    evaluation: "Evaluation", predictions: "SnapshotPredictions", read_photo: Callable[[str], bytes]
) -> dict[str, Any]:
    """Figures, tables and pictures for the asset's page."""
    from mlops_assets.detector.evaluation_pictures import small_charts, small_misses

    report = evaluation.report
    worst = small_misses(report, read_photo, evaluation.names)
    return {
        **evaluation.figures(),
        "old_classes": dg.MetadataValue.md(evaluation.old_classes.markdown(evaluation.names)),
        "photos_looked_at": json.dumps(predictions.looked_at),
        "runtime": ", ".join(sorted(predictions.runtimes)) or "none: every photo had been looked at",
        "evaluation": preview(evaluation.for_people(), rows=200),
        "slices": preview(report.tables["detector_slices"].drop("definition"), rows=60),
        **{name: picture(png, name) for name, png in small_charts(report).items()},
        **({"worst_misses": picture(*worst, "image/jpeg")} if worst else {}),
    }
