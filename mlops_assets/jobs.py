"""The jobs that schedules and sensors ask for; everything else is asked for asset by asset, or is `erasure.job`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

import dagster as dg

from mlops_assets.use_case import UseCase

if TYPE_CHECKING:  # Dagster does not export the name
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

    AssetJob: TypeAlias = UnresolvedAssetJobDefinition

INGEST_DAY = "ingest_day"
IMPORT_LABELS = "import_labels"
RETRAIN_DETECTOR = "retrain_detector"
REBUILD_CATALOG = "rebuild_catalog"
SYNC_LABEL_STUDIO = "sync_label_studio"
ERASE_PHOTO = "erase_photo"
DECIDE_CHAMPION = "decide_champion"
ROLLBACK = "rollback"

USE_CASE_TAG = "mlops/use_case"
"""On every run of these jobs, whoever asks for it: code locations of one instance have jobs of the same names."""

ONE_AT_A_TIME_TAG = "mlops/one_at_a_time"
"""An instance runs one run of each of its values at a time (tag_concurrency_limits), in the order of the queue."""

_ONE_AT_A_TIME = {INGEST_DAY}
ORDERED = frozenset({"raw_photos", "clean_photos"})
"""A day's duplicates are found among the days before it, so days must not be taken in side by side."""

STEPS = {
    INGEST_DAY: ("raw_photos", "clean_photos", "detections"),
    IMPORT_LABELS: ("annotations", "equipment_classes"),
    RETRAIN_DETECTOR: (
        "split_assignments",
        "training_dataset",
        "detector_weights",
        "detector_evaluation",
        "champion_detector",
        "champion_history",
    ),
    DECIDE_CHAMPION: ("champion_detector", "champion_history"),
    ROLLBACK: ("champion_detector", "champion_history"),
    REBUILD_CATALOG: ("visit_inventory", "equipment_catalog", "equipment_changes", "catalog_pages"),
}
"""What each job makes, in the order of the lineage."""

_DESCRIPTIONS = {
    INGEST_DAY: "One day's landed photos: intake, cleaning, detection by the champion.",
    IMPORT_LABELS: "The label drop: annotations and the vocabulary of classes.",
    RETRAIN_DETECTOR: "From the labels to a trained, evaluated and, if it is no worse, promoted detector.",
    DECIDE_CHAMPION: "A person promotes or refuses a version by hand; fill in reason and by in the launchpad.",
    ROLLBACK: "The champion before serves again, or the version named; fill in reason and by in the launchpad.",
    REBUILD_CATALOG: "The catalogue from the detections that there are: inventory, changes, pages.",
    SYNC_LABEL_STUDIO: "Submitted annotations into the label drop; the review queue as tasks with suggested boxes.",
}

_ORDERS = {DECIDE_CHAMPION: "promote", ROLLBACK: "roll_back"}
"""What champion_detector is asked to do in a job of its own, as its launchpad is filled in to begin with."""

WITH_LABEL_STUDIO = {SYNC_LABEL_STUDIO: ("label_studio_tasks",)}
"""What is there only in a deployment that has a Label Studio server."""


def build_jobs(
    use_case: UseCase, executors: Mapping[str, dg.ExecutorDefinition], *, label_studio: bool = False
) -> dict[str, "AssetJob"]:
    """The jobs of one use case by name, each with its own executor or else the deployment's."""
    return {
        name: dg.define_asset_job(
            name,
            selection=dg.AssetSelection.assets(*(dg.AssetKey([use_case.name, step]) for step in steps)),
            description=_DESCRIPTIONS[name],
            executor_def=executors.get(name),
            config=_order(name),
            # As tags of the job, which a backfill's runs take over; run_tags they do not (dagster 1.13).
            tags=_tags(use_case.name, name),
        )
        for name, steps in {**STEPS, **(WITH_LABEL_STUDIO if label_studio else {})}.items()
    }


def _order(job: str) -> dict[str, object] | None:
    return champion_config(decision=_ORDERS[job], reason="", by="") if job in _ORDERS else None


def champion_config(**config: str) -> dict[str, object]:
    """Run configuration of the asset champion_detector."""
    return {"ops": {"champion_detector": {"config": config}}}


def _tags(use_case: str, job: str) -> dict[str, str]:
    tags = {USE_CASE_TAG: use_case}
    return tags | {ONE_AT_A_TIME_TAG: f"{use_case}/{job}"} if job in _ONE_AT_A_TIME else tags
