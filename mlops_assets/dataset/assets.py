"""Which enclosures a model may learn from, and what it learns."""

import json

import dagster as dg
import polars as pl

from mlops_assets.compute import CPU_LIGHT, RETRY
from mlops_assets.dataset.recipe import BUILDING_CODE
from mlops_assets.dataset.schema import SPLIT_ASSIGNMENTS
from mlops_assets.metadata import counts, preview
from mlops_assets.use_case import UseCase
from resources.dataset_versions import DatasetVersions
from resources.tables import Tables


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
) -> pl.DataFrame:
    """Boxes of active classes on usable photos; beside it, under its fingerprint, data.yaml, rows and manifest."""
    from mlops_assets.dataset.building import build_dataset, check_trainable, provisional_classes, select_photos
    from mlops_assets.dataset.versions import active_class_map, data_yaml, manifest
    from mlops_assets.labels.class_links import ClassLinks
    from mlops_assets.photos.lookup import photos_of_visits

    photos = photos_of_visits(raw_photos, clean_photos).filter(pl.col("usable"))
    labelled = annotations.join(photos, on="photo_id", how="semi")
    dataset = build_dataset(labelled, photos, equipment_classes, split_assignments)
    check_trainable(dataset, equipment_classes)
    class_map = active_class_map(equipment_classes)
    facts = manifest(dataset, class_map, BUILDING_CODE, ClassLinks.of(equipment_classes))
    files = {"data.yaml": data_yaml(None, list(class_map)), "manifest.json": json.dumps(facts, indent=1)}
    address = dataset_versions.put(facts["fingerprint"], dataset, files)
    left_out = select_photos(labelled, photos, equipment_classes, split_assignments).filter(
        pl.col("left_out").is_not_null()
    )
    provisional = [class_map[class_id] for class_id in provisional_classes(dataset, equipment_classes)]
    context.add_output_metadata(
        {
            "fingerprint": facts["fingerprint"],
            "splits": counts(dataset.unique("photo_id"), "split"),
            "classes": preview(_boxes_by_class(dataset, class_map), rows=100),
            "provisional_classes": ", ".join(provisional) or "none",
            "left_out": counts(left_out, "left_out"),
            "version": dg.MetadataValue.path(address),
            "preview": preview(dataset),
        }
    )
    return dataset


def _boxes_by_class(dataset: pl.DataFrame, class_map: dict[int, str]) -> pl.DataFrame:
    boxes = dataset.filter(pl.col("class_id").is_not_null())
    return (
        boxes.pivot("split", index="class_id", values="photo_id", aggregate_function="len")
        .sort("class_id")
        .with_columns(class_name=pl.col("class_id").replace_strict(class_map, return_dtype=pl.String))
    )
