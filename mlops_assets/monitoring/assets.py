"""What to look at next: the photos that are worth labelling, and the labels that are worth a second look."""

import datetime as dt
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import polars as pl

from mlops_assets.compute import CPU_BATCH, RETRY
from mlops_assets.detector.schema import CHAMPION_DETECTOR
from mlops_assets.metadata import counts, picture, preview
from mlops_assets.monitoring.schema import LABEL_ERRORS, REVIEW_HISTORY
from mlops_assets.use_case import UseCase
from resources.machine import Machine
from resources.model_registry import ModelRegistry
from resources.photo_store import PhotoStore
from resources.tables import Tables


@dg.asset(
    group_name="monitoring",
    kinds={"onnx", "polars"},
    op_tags=CPU_BATCH,
    retry_policy=RETRY,
    pool="monitoring",
    deps=["raw_photos", "clean_photos", "detections", "annotations", "equipment_classes", "champion_detector"],
)
def review_queue(
    context: dg.AssetExecutionContext,
    photo_store: PhotoStore,
    model_registry: ModelRegistry,
    tables: Tables,
    machine: Machine,
    use_case: dg.ResourceParam[UseCase],
) -> pl.DataFrame:
    """Which photos to label next, at most a day's budget, each with the reason in words and boxes to start from."""
    from mlops_assets.monitoring.contact_sheet import contact_sheet
    from mlops_assets.monitoring.disagreement import latest_refused
    from mlops_assets.monitoring.review_queue import build_queue, load_known

    decisions = tables.read("champion_detector", CHAMPION_DETECTOR)
    folder = Path(machine.scratch) / "models"
    refused = latest_refused(decisions, model_registry, folder, photo_store.read_photo, machine.threads)
    queue = build_queue(
        tables,
        load_known(tables),
        rules=use_case.review,
        inventory=use_case.inventory,
        today=dt.datetime.now(ZoneInfo(use_case.timezone)).date(),
        refused=refused,
    )
    tables.write("label_errors", queue.label_errors, LABEL_ERRORS)
    tables.write("review_history", queue.history, REVIEW_HISTORY)
    offered = pl.DataFrame({"kind": list(queue.offered), "photos": list(queue.offered.values())})
    sheet = contact_sheet(queue.rows, photo_store.read_photo)
    context.add_output_metadata(
        {
            "kinds": counts(queue.rows, "kind"),
            "offered": preview(offered, rows=20),
            "enclosures": queue.rows["enclosure_id"].n_unique(),
            "suspected_label_errors": queue.label_errors.height,
            "done_without": "; ".join(queue.without) or "nothing",
            "preview": preview(queue.rows.drop("suggested_boxes"), rows=50),
            **({"first_photos": picture(sheet.jpeg, sheet.photo_ids, "image/jpeg")} if sheet else {}),
        }
    )
    return queue.rows
