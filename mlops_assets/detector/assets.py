"""From a dataset to a candidate: trained, and measured beside the champion. `champion_assets.py` decides on it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from mlops_assets.compute import CPU_BATCH, GPU_TRAIN, RETRY
from mlops_assets.detector import files
from mlops_assets.detector.schema import DETECTOR_EVALUATION, DETECTOR_WEIGHTS
from mlops_assets.metadata import picture, preview
from mlops_assets.progress import logged_progress
from mlops_assets.use_case import UseCase, registered_model
from resources.dataset_versions import DatasetVersions
from resources.machine import Machine
from resources.mlflow import MlflowTracking
from resources.model_registry import ModelRegistry
from resources.tables import Tables
from resources.tombstones import Tombstones

if TYPE_CHECKING:
    from mlops_assets.detector.candidate import Candidate
    from mlops_assets.detector.other_champion import OtherChampion


class TrainingConfig(dg.Config):
    """Settings of one training; what is left empty is as the use case says."""

    epochs: int | None = None
    max_minutes: float | None = None
    pretrained: bool | None = None
    image_size: int | None = None
    batch: int | None = None
    learning_rate: float | None = None
    patience: int | None = None
    seed: int | None = None


@dg.asset(
    group_name="detector",
    kinds={"yolo", "mlflow", "pytorch"},
    op_tags=GPU_TRAIN,
    retry_policy=RETRY,
    pool="gpu",
)
def detector_weights(
    context: dg.AssetExecutionContext,
    config: TrainingConfig,
    training_dataset: pl.DataFrame,
    equipment_classes: pl.DataFrame,
    dataset_versions: DatasetVersions,
    tables: Tables,
    mlflow: MlflowTracking,
    model_registry: ModelRegistry,
    machine: Machine,
    use_case: dg.ResourceParam[UseCase],
) -> pl.DataFrame:
    """A newly trained version in the model registry, with its weights, ONNX export, class map and manifest."""
    from mlops_assets.dataset.building import check_trainable
    from mlops_assets.dataset.making import todays_version
    from mlops_assets.detector.candidate import train_candidate, with_overrides
    from mlops_assets.detector.charts import training_curves
    from mlops_assets.detector.training import EpochProgress

    check_trainable(training_dataset, equipment_classes)
    version = todays_version(training_dataset, dataset_versions, tables)
    deployment = {"epochs": machine.epochs} if machine.epochs else {}
    rules = with_overrides(use_case.training, deployment | config.model_dump(exclude_none=True))

    def begin(parameters: Mapping[str, Any]) -> None:
        context.log.info("Training: %s", parameters["started_from"])
        # As tags, since a step that is tried again may find another start, and a parameter cannot change.
        origin = {name: str(value) for name, value in parameters.items() if name.startswith("started_from")}
        mlflow.set_tags(origin)
        mlflow.log_params({name: value for name, value in parameters.items() if name not in origin})

    def report(epoch: EpochProgress) -> None:
        context.log.info(epoch.sentence())
        mlflow.log_metrics(epoch.metrics(), step=epoch.epoch)

    champion = model_registry.champion()
    other = _other_champion(model_registry, rules.start_from, machine) if champion is None else None
    candidate = train_candidate(
        version.rows,
        version.class_map,
        version.manifest,
        rules=rules,
        machine=machine,
        champion=champion,
        other=other,
        download=lambda version, name: model_registry.download(version, name, Path(machine.scratch) / "models"),
        read_photo=version.photos,
        photo_file=version.photos.file,
        folder=Path(machine.scratch) / use_case.name,
        on_start=begin,
        on_epoch=report,
    )
    mlflow.log_metrics({"export_parity": candidate.metrics["export_parity"]})
    model_version = model_registry.register(mlflow.run_id, candidate.files, candidate.tags).version
    mlflow.set_tags({"model_version": model_version, **candidate.tags})
    context.add_output_metadata(
        {
            "model_version": model_version,
            "started_from": candidate.started_from,
            **candidate.origin,
            "seconds": candidate.seconds,
            "val_map50": candidate.metrics["map50"],
            "export_parity": candidate.metrics["export_parity"],
            "curves": picture(training_curves(candidate.curves), "training curves"),
            "mlflow_run": mlflow.link(),
        }
    )
    return _weights_row(candidate, model_version, mlflow.run_id, equipment_classes)


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
    from mlops_assets.detector.evaluating import evaluate_versions
    from mlops_assets.detector.evaluation_pictures import log_pictures, small_charts, small_misses
    from mlops_assets.detector.evaluation_report import TABLES
    from mlops_assets.detector.judging import links_of
    from mlops_assets.detector.snapshot import SPLIT_PREDICTIONS, snapshot_name
    from mlops_assets.detector.snapshot_predictions import SO_FAR, SnapshotPredictions, earlier_predictions
    from mlops_assets.detector.soundness import faults

    def download(version: str, name: str) -> Path:
        return model_registry.download(version, name, Path(machine.scratch) / "models")

    versions = [model_registry.version(detector_weights.item(0, "model_version"))]
    broken = faults(versions[0], download, threads=machine.threads)
    if broken:  # no reason to fail: champion_detector refuses it for just that
        context.log.warning("Version %s cannot be measured: %s", versions[0].version, "; ".join(broken))
        context.add_output_metadata({"cannot_be_measured": dg.MetadataValue.md("\n".join(f"- {f}" for f in broken))})
        return pl.DataFrame(schema=DETECTOR_EVALUATION)
    champion = model_registry.champion()
    versions += [champion] if champion and champion.version != versions[0].version else []
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
        versions,
        training_dataset,
        tables,
        predictions,
        download=download,
        use_case=use_case,
        links=links_of(download(versions[0].version, files.MANIFEST)),
    )
    report, names = evaluation.report, evaluation.names
    # Before MLflow is asked for anything: a step that is tried again looks at no photo again.
    tables.write("detector_predictions", evaluation.predictions(), SPLIT_PREDICTIONS)
    tables.write(SO_FAR, SPLIT_PREDICTIONS.to_frame(), SPLIT_PREDICTIONS)
    for name, frame in report.tables.items():
        tables.write(name, frame, TABLES[name])
    model_registry.set_tags(versions[0].version, evaluation.candidate.tags())
    mlflow.log_metrics(evaluation.figures())
    log_pictures(
        report,
        versions[0].version,
        mlflow,
        read_photo=read_photo,
        names=names,
        erased=Tombstones(tables.root).ids,
        scratch=Path(machine.scratch),
    )
    worst = small_misses(report, read_photo, names)
    context.add_output_metadata(
        {
            **evaluation.figures(),
            "test_snapshot": snapshot_name(training_dataset),
            "photos_looked_at": json.dumps(predictions.looked_at),
            "evaluation": preview(evaluation.for_people(), rows=200),
            "slices": preview(report.tables["detector_slices"].drop("definition"), rows=60),
            **{name: picture(png, name) for name, png in small_charts(report).items()},
            **({"worst_misses": picture(*worst, "image/jpeg")} if worst else {}),
            "mlflow_run": mlflow.link(),
        }
    )
    return evaluation.table()
