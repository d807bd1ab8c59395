"""Which enclosures a model may learn from, and what it learns."""

import datetime as dt
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from mlops_assets.compute import CPU_LIGHT, RETRY
from mlops_assets.dataset.recipe import BUILDING_CODE
from mlops_assets.dataset.schema import SPLIT_ASSIGNMENTS
from mlops_assets.metadata import counts, preview
from mlops_assets.progress import logged_progress
from mlops_assets.use_case import UseCase
from resources.dataset_versions import DatasetVersions
from resources.photo_store import PhotoStore
from resources.tables import Tables

if TYPE_CHECKING:
    from mlops_assets.dataset.making import Made


@dg.asset(
    group_name="dataset",
    kinds={"polars"},
    op_tags=CPU_LIGHT,
    retry_policy=RETRY,
    pool="dataset",
)
def split_assignments(
    context: dg.AssetExecutionContext,
    annotations: pl.DataFrame,
    raw_photos: dict[str, pl.DataFrame],
    clean_photos: dict[str, pl.DataFrame],
    tables: Tables,
    use_case: dg.ResourceParam[UseCase],
) -> pl.DataFrame:
    """Train, val or test for every labelled enclosure, for good: an enclosure never moves, test stays frozen."""
    from mlops_assets.dataset.splits import (
        assign_splits,
        enclosure_class_counts,
        near_duplicate_enclosures,
        split_conflicts,
    )
    from mlops_assets.photos.lookup import photos_of_visits

    photos = photos_of_visits(raw_photos, clean_photos)
    pairs = near_duplicate_enclosures(photos, photos)
    previous = tables.read("split_assignments", SPLIT_ASSIGNMENTS)
    splits = assign_splits(enclosure_class_counts(annotations, photos), pairs, previous, use_case.split)
    conflicts = split_conflicts(splits, pairs)
    context.add_output_metadata(
        {
            "splits": counts(splits, "split"),
            "new_enclosures": splits.height - previous.height,
            "near_duplicates_across_splits": conflicts.height,
            "conflicts": preview(conflicts, rows=50),
            "preview": preview(splits),
        }
    )
    return splits


@dg.asset(
    group_name="dataset",
    kinds={"polars", "yolo"},
    op_tags=CPU_LIGHT,
    retry_policy=RETRY,
    pool="dataset",
)
def training_dataset(
    context: dg.AssetExecutionContext,
    annotations: pl.DataFrame,
    equipment_classes: pl.DataFrame,
    split_assignments: pl.DataFrame,
    raw_photos: dict[str, pl.DataFrame],
    clean_photos: dict[str, pl.DataFrame],
    dataset_versions: DatasetVersions,
    tables: Tables,
    photo_store: PhotoStore,
    use_case: dg.ResourceParam[UseCase],
) -> dg.Output[pl.DataFrame]:
    """Boxes of active classes on usable photos; a version under its fingerprint keeps rows, manifest and photos."""
    from mlops_assets.dataset.building import boxes_of, check_trainable, select_photos
    from mlops_assets.dataset.making import make_version
    from mlops_assets.dataset.shots import with_shots
    from mlops_assets.dataset.versions import active_class_map
    from mlops_assets.labels.class_links import ClassLinks
    from mlops_assets.photos.lookup import photos_of_visits

    photos = with_shots(photos_of_visits(raw_photos, clean_photos)).filter(pl.col("usable"))
    labelled = annotations.join(photos, on="photo_id", how="semi")
    selection = select_photos(labelled, photos, equipment_classes, split_assignments, use_case.background)
    dataset = boxes_of(selection, labelled, equipment_classes)
    check_trainable(dataset, equipment_classes)
    made = make_version(
        dataset,
        active_class_map(equipment_classes),
        BUILDING_CODE,
        versions=dataset_versions,
        tables=tables,
        photos=photo_store,
        now=dt.datetime.now(dt.UTC),
        links=ClassLinks.of(equipment_classes),
        report=logged_progress(context.log, "photos kept"),
    )
    return dg.Output(
        made.dataset,
        data_version=dg.DataVersion(made.manifest["fingerprint"]),
        metadata=_facts(made, selection, equipment_classes, use_case),
    )


def _facts(made: "Made", selection: pl.DataFrame, classes: pl.DataFrame, use_case: UseCase) -> dict[str, Any]:
    from mlops_assets.dataset.background import background_of
    from mlops_assets.dataset.building import provisional_classes
    from mlops_assets.dataset.difference import as_markdown
    from mlops_assets.dataset.restoring import class_map_of

    class_map, fingerprint = class_map_of(made.manifest), made.manifest["fingerprint"]
    provisional = [class_map[class_id] for class_id in provisional_classes(made.dataset, classes)]
    changes: dict[str, Any] = {}
    if made.changes is not None:
        words = as_markdown(made.changes, made.names, before=str(made.previous), after=fingerprint)
        changes = {"changes": dg.MetadataValue.md(words), **made.changes.counts()}
    return {
        "fingerprint": fingerprint,
        "splits": counts(made.dataset.unique("photo_id"), "split"),
        "classes": preview(_boxes_by_class(made.dataset, class_map), rows=100),
        "provisional_classes": ", ".join(provisional) or "none",
        "background": background_of(made.dataset).sentence(use_case.background),
        "left_out": counts(selection.filter(pl.col("left_out").is_not_null()), "left_out"),
        "version": dg.MetadataValue.path(made.address),
        "versions": preview(made.log.reverse(), rows=20),
        **changes,
        "preview": preview(made.dataset),
    }


def _boxes_by_class(dataset: pl.DataFrame, class_map: dict[int, str]) -> pl.DataFrame:
    boxes = dataset.filter(pl.col("class_id").is_not_null())
    return (
        boxes.pivot("split", index="class_id", values="photo_id", aggregate_function="len")
        .sort("class_id")
        .with_columns(class_name=pl.col("class_id").replace_strict(class_map, return_dtype=pl.String))
    )
