"""Puts the rest together: one code location a use case.

`defs` is the default use case; any other of `use_cases/` is an attribute of this module by its name. `workspace.yaml`
names this module; of the project only tests and benchmarks import it.
"""

from collections.abc import Mapping, Sequence
from types import ModuleType

import dagster as dg

from mlops_assets.automation import automation_sensor, conditions, review_sensor
from mlops_assets.catalog import assets as catalog_assets
from mlops_assets.catalog import checks as catalog_checks
from mlops_assets.code_versions import code_version
from mlops_assets.compute import PROFILE_TAG, image_of
from mlops_assets.compute_overrides import load_compute
from mlops_assets.dataset import assets as dataset_assets
from mlops_assets.dataset import checks as dataset_checks
from mlops_assets.detector import assets as detector_assets
from mlops_assets.detector import champion_assets
from mlops_assets.detector import checks as detector_checks
from mlops_assets.erasure.job import ERASURE_OPS, build_erasure_job
from mlops_assets.erasure.rows import without
from mlops_assets.jobs import DECIDE_CHAMPION, INGEST_DAY, RETRAIN_DETECTOR, ROLLBACK, build_jobs
from mlops_assets.labelling import assets as labelling_assets
from mlops_assets.labels import assets as labels_assets
from mlops_assets.labels import checks as labels_checks
from mlops_assets.monitoring import assets as monitoring_assets
from mlops_assets.monitoring import checks as monitoring_checks
from mlops_assets.partitions import days_of
from mlops_assets.photos import assets as photos_assets
from mlops_assets.photos import checks as photos_checks
from mlops_assets.schedules import nightly_ingestion
from mlops_assets.table_checks import build_checks
from mlops_assets.tables import SCHEMAS
from mlops_assets.use_case import UseCase, load_use_case, registered_model
from resources.alerts import Alerts
from resources.catalog_database import CatalogDatabase
from resources.checkpoints import Checkpoints
from resources.class_decisions import ClassDecisionRecords
from resources.dataset_versions import DatasetVersions
from resources.label_drop import LabelDrop
from resources.label_studio import LabelStudio
from resources.machine import Machine
from resources.mlflow import MlflowTracking
from resources.model_registry import ModelRegistry
from resources.output_folder import OutputFolder
from resources.photo_store import PhotoStore
from resources.settings import Settings, load_settings
from resources.tables import Tables, parquet_tables
from sensors.champion_changed import champion_changed
from sensors.component_changed import component_changed
from sensors.label_studio import label_studio
from sensors.late_photos import LOOKS_APART, late_photos
from sensors.new_equipment_classes import new_equipment_classes
from sensors.new_labels import new_labels
from sensors.run_failures import run_end_sensors

STAGES = [
    *(photos_assets, labels_assets, dataset_assets, detector_assets, champion_assets),
    *(catalog_assets, monitoring_assets),
]
ALERT_TIMEOUT_S = 5.0
CHECKS = [
    *photos_checks.CHECKS,
    *labels_checks.CHECKS,
    *dataset_checks.CHECKS,
    *detector_checks.CHECKS,
    *catalog_checks.CHECKS,
    *monitoring_checks.CHECKS,
]
_PRELOADED = (
    "resources.preload",  # every run ends in checks, so Great Expectations is among it
    "definitions",
    *(f"mlops_assets.photos.{module}" for module in ("intake", "cleaning", "lookup")),
    *("mlops_assets.labels.importing", "mlops_assets.dataset.building", "mlops_assets.dataset.splits"),
    *(f"mlops_assets.detector.{module}" for module in ("candidate", "judging")),
    *(f"mlops_assets.catalog.{module}" for module in ("detecting", "inventory", "catalog", "pages", "samples")),
    *(f"mlops_assets.monitoring.{module}" for module in ("review_queue", "contact_sheet")),
    "upath.implementations.local",
    "dagster._core.storage.sqlite_storage",  # with SQLAlchemy and Alembic, half a second of every step
    "dagster._utils.test",  # Dagster finds the definitions through it
)
"""What every step finds imported, in this order; a module that Dagster moves is skipped, and costs its time again."""


def build_defs(
    settings: Settings, use_case: UseCase, resource_overrides: Mapping[str, object] | None = None
) -> dg.Definitions:
    """Everything of one use case in one deployment.

    Args:
        settings: Addresses and profile of the deployment.
        use_case: What is looked for; its name becomes the prefix of every asset key.
        resource_overrides: Resources by key that take the place of the deployment's own, for tests.
    """
    with_label_studio = bool(settings.label_studio_url)
    assets = _assets(use_case, [*STAGES, labelling_assets] if with_label_studio else STAGES)
    checks = build_checks(CHECKS, use_case, SCHEMAS)
    jobs = build_jobs(use_case, _job_executors(settings), label_studio=with_label_studio)
    tracking_uri = settings.fill(settings.mlflow_tracking_uri)
    return dg.Definitions(
        assets=assets,
        asset_checks=checks,
        jobs=[*jobs.values(), build_erasure_job(use_case)],
        schedules=[nightly_ingestion(jobs[INGEST_DAY])],
        sensors=[
            late_photos(use_case, LOOKS_APART * settings.sensor_interval),
            new_labels(use_case, settings.sensor_interval),
            new_equipment_classes(use_case, settings.sensor_interval),
            champion_changed(use_case, settings.sensor_interval),
            component_changed(use_case, jobs, settings.sensor_interval),
            *([label_studio(use_case, LOOKS_APART * settings.sensor_interval)] if with_label_studio else []),
            *run_end_sensors(use_case.name, tracking_uri, settings.sensor_interval),
            automation_sensor(use_case, settings.sensor_interval, as_backfills=settings.profile == "k8s"),
            review_sensor(use_case, settings.sensor_interval),
        ],
        resources={**build_resources(settings, use_case), **(resource_overrides or {})},
        executor=_executor(settings, [*assets, *checks, *ERASURE_OPS]),
    )


def build_resources(settings: Settings, use_case: UseCase) -> dict[str, object]:
    """The deployment's adapters for one use case, by resource key."""
    places = settings.places(use_case.name)
    tracking_uri = settings.fill(settings.mlflow_tracking_uri)
    artifacts = None if tracking_uri.startswith("http") else settings.fill(settings.mlflow_artifacts)
    return {
        "io_manager": parquet_tables(places.store, SCHEMAS, without),
        "tables": Tables(root=places.store),
        "photo_store": PhotoStore(landing=places.landing, root=places.store),
        "dataset_versions": DatasetVersions(root=places.store),
        "checkpoints": Checkpoints(root=places.store),
        "class_decisions": ClassDecisionRecords(root=places.store),
        "label_drop": LabelDrop(address=places.labels),
        "label_studio": LabelStudio(
            url=settings.label_studio_url,
            token=settings.label_studio_token.get_secret_value(),
            title=use_case.name,
            photos=f"{places.store}/photos",
            document_root=settings.fill(settings.label_studio_document_root, use_case.name),
            s3_endpoint=settings.label_studio_s3_endpoint,
        ),
        "pages_folder": OutputFolder(folder=places.pages),
        "catalog_database": CatalogDatabase(url=places.catalog_database, use_case=use_case.name),
        "mlflow": MlflowTracking(
            tracking_uri=tracking_uri,
            experiment_name=use_case.name,
            artifact_location=artifacts,
            ui_url=settings.mlflow_ui or None,
        ),
        "model_registry": ModelRegistry(tracking_uri=tracking_uri, model_name=registered_model(use_case.name)),
        "machine": Machine(
            device=settings.device,
            threads=settings.thread_count(),
            scratch=settings.fill(settings.scratch, use_case.name),
            epochs=settings.epochs,
            base_weights=str(settings.base_weights or ""),
            base_weights_uri=settings.base_weights_uri,
            base_weights_sha256=settings.base_weights_sha256,
        ),
        "alerts": Alerts(
            path=settings.fill(settings.alerts, use_case.name),
            webhook_url=settings.alert_webhook,
            timeout_seconds=ALERT_TIMEOUT_S,
        ),
        "use_case": use_case,
    }


def _assets(use_case: UseCase, stages: Sequence[ModuleType]) -> list[dg.AssetsDefinition]:
    """The assets under the use case's prefix, each with its code version, owner and automation condition."""
    loaded = dg.load_assets_from_modules(stages, key_prefix=use_case.name)
    return [_adapted(asset, use_case) for asset in loaded if isinstance(asset, dg.AssetsDefinition)]


def _adapted(asset: dg.AssetsDefinition, use_case: UseCase) -> dg.AssetsDefinition:
    """What an asset cannot say itself: the use case's days, owner and conditions, and its code version."""
    days, automation = days_of(use_case), conditions(use_case)
    made_by = asset.op.compute_fn.decorated_fn  # type: ignore[union-attr]
    version = code_version(made_by.__module__, made_by.__name__, image=image_of(asset.op.tags[PROFILE_TAG]))
    return asset.map_asset_specs(
        lambda spec: spec.replace_attributes(
            partitions_def=days if spec.partitions_def else None,
            owners=[use_case.owner],
            automation_condition=automation.get(spec.key),
            code_version=version,
        )
    )


def _executor(settings: Settings, steps: Sequence[dg.AssetsDefinition | dg.OpDefinition]) -> dg.ExecutorDefinition:
    """A process a step on a laptop, a pod a step on a cluster."""
    if settings.profile == "k8s":
        from mlops_assets.k8s_executor import k8s_executor

        images = {"cpu": settings.cpu_image, "gpu": settings.gpu_image}
        return k8s_executor(steps, images, load_compute(settings.compute_file), settings.step_service_account)
    return _local_executor(settings, _PRELOADED)


def _local_executor(settings: Settings, preloaded: Sequence[str]) -> dg.ExecutorDefinition:
    """A process a step, forked from one that has imported `preloaded` once for the run."""
    start = {"forkserver": {"preload_modules": list(preloaded)}}
    return dg.multiprocess_executor.configured({"max_concurrent": settings.thread_count(), "start_method": start})


def _job_executors(settings: Settings) -> dict[str, dg.ExecutorDefinition]:
    """Executors of jobs that want another than the deployment's."""
    if settings.profile == "k8s":
        return {}
    # Most of their steps talk to MLflow, whose import takes seconds.
    executor = _local_executor(settings, [*_PRELOADED, "mlflow"])
    return dict.fromkeys((RETRAIN_DETECTOR, DECIDE_CHAMPION, ROLLBACK), executor)


def _load(name: str) -> dg.Definitions:
    settings = load_settings()
    return build_defs(settings, load_use_case(settings.use_case_folder / f"{name}.yaml"))


def __getattr__(name: str) -> dg.Definitions:
    """Another use case by its name, as workspace.yaml asks for it."""
    if name.startswith("_"):
        raise AttributeError(name)
    return _load(name)


defs = _load(load_settings().use_case)
