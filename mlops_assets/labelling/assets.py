"""Label Studio's tasks: the review queue goes there, and what annotators submit comes back to the label drop.

Part of the definitions only where a deployment has a Label Studio server.
"""

import datetime as dt

import dagster as dg
import polars as pl

from mlops_assets.compute import CPU_LIGHT, RETRY, with_secret
from mlops_assets.labelling.schema import LABEL_STUDIO_TASKS
from mlops_assets.labels.schema import ANNOTATIONS, EQUIPMENT_CLASSES
from mlops_assets.metadata import counts, preview
from mlops_assets.monitoring.schema import REVIEW_QUEUE
from mlops_assets.use_case import UseCase
from resources.label_drop import LabelDrop
from resources.label_studio import LabelStudio
from resources.photo_store import PhotoStore
from resources.tables import Tables


@dg.asset(
    deps=["review_queue", "equipment_classes"],
    group_name="labelling",
    kinds={"polars"},
    op_tags=with_secret(CPU_LIGHT, "label-studio"),
    retry_policy=RETRY,
    pool="label_studio",
)
def label_studio_tasks(
    context: dg.AssetExecutionContext,
    label_studio: dg.ResourceParam[LabelStudio],
    label_drop: LabelDrop,
    photo_store: PhotoStore,
    tables: Tables,
    use_case: dg.ResourceParam[UseCase],
) -> pl.DataFrame:
    """The tasks in Label Studio after a synchronisation: annotations came back, the queue's photos went there."""
    from mlops_assets.labelling.sync import Inputs, synchronise

    given = Inputs(
        queue=tables.read("review_queue", REVIEW_QUEUE),
        classes=tables.read("equipment_classes", EQUIPMENT_CLASSES),
        annotations=tables.read("annotations", ANNOTATIONS),
        previous=tables.read("label_studio_tasks", LABEL_STUDIO_TASKS),
        erased=photo_store.tombstones().ids(),
        keep=dt.timedelta(days=use_case.labelling.keep_days),
    )
    synced = synchronise(label_studio, label_drop, given, lambda: dt.datetime.now(dt.UTC))
    context.add_output_metadata(
        {
            **{what: count for what, count in sorted(synced.done.items()) if count},
            "project": dg.MetadataValue.url(f"{label_studio.url.rstrip('/')}/projects/{synced.project_id}"),
            "states": counts(synced.tasks, "state"),
            "preview": preview(synced.tasks.select("task_id", "state", "photo_id", "reason", "labelled_at")),
        }
    )
    return synced.tasks
