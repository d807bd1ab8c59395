"""What annotators said is on the photos, and the vocabulary that grows from it."""

import datetime as dt

import dagster as dg
import polars as pl

from mlops_assets.compute import CPU_LIGHT, RETRY
from mlops_assets.labels.schema import ANNOTATIONS, EQUIPMENT_CLASSES, LABEL_CONFLICTS, LABEL_QUARANTINE, PARSED_LABELS
from mlops_assets.metadata import counts, preview
from mlops_assets.use_case import UseCase
from resources.label_drop import LabelDrop
from resources.photo_store import PhotoStore
from resources.tables import Tables


@dg.asset(
    group_name="labels",
    kinds={"polars"},
    op_tags=CPU_LIGHT,
    retry_policy=RETRY,
    pool="labels",
)
def annotations(
    context: dg.AssetExecutionContext,
    raw_photos: dict[str, pl.DataFrame],
    label_drop: LabelDrop,
    photo_store: PhotoStore,
    tables: Tables,
    use_case: dg.ResourceParam[UseCase],
) -> pl.DataFrame:
    """Every labelled box, the latest labelling of each photo; what cannot be used is quarantined with its reason."""
    from mlops_assets.labels.importing import import_labels
    from mlops_assets.labels.items import ReadRules
    from mlops_assets.labels.orientation import stored_orientations
    from mlops_assets.photos.lookup import landed_photos

    photos = landed_photos(raw_photos)
    imported = import_labels(
        label_drop.path(),
        photos=photos,
        previous=tables.read("annotations", ANNOTATIONS),
        known_classes=tables.read("equipment_classes", EQUIPMENT_CLASSES),
        declared=use_case.classes,
        now=dt.datetime.now(dt.UTC),
        erased_names=photo_store.tombstones().names(),
        rules=ReadRules(**use_case.labels.model_dump()),
        parsed_before=tables.read("parsed_labels", PARSED_LABELS),
        orientations=stored_orientations(photos, photo_store.read_original),
    )
    address = tables.write("label_quarantine", imported.quarantine, LABEL_QUARANTINE)
    tables.write("label_conflicts", imported.conflicts, LABEL_CONFLICTS)
    if imported.parsed is not None:
        tables.write("parsed_labels", imported.parsed, PARSED_LABELS)
    context.add_output_metadata(
        {
            **imported.summary,
            "classes": counts(imported.annotations, "class_name"),
            "quarantined": imported.quarantine.height,
            "quarantine": preview(imported.quarantine, rows=50),
            "quarantine_table": dg.MetadataValue.path(address),
            "left_out": imported.left_out,
            "drawn_as": imported.drawn_as,
            "conflicts": preview(imported.conflicts, rows=50),
            "preview": preview(imported.annotations),
        }
    )
    return imported.annotations


@dg.asset(
    group_name="labels",
    kinds={"polars"},
    op_tags=CPU_LIGHT,
    retry_policy=RETRY,
    pool="labels",
)
def equipment_classes(
    context: dg.AssetExecutionContext,
    annotations: pl.DataFrame,
    raw_photos: dict[str, pl.DataFrame],
    tables: Tables,
    use_case: dg.ResourceParam[UseCase],
) -> pl.DataFrame:
    """The vocabulary: append-only ids; a name becomes an active class at enough boxes in enough enclosures."""
    from mlops_assets.labels.vocabulary import equipment_classes as count_classes
    from mlops_assets.photos.lookup import landed_photos

    classes = count_classes(
        annotations,
        landed_photos(raw_photos),
        tables.read("equipment_classes", EQUIPMENT_CLASSES),
        use_case.classes,
        use_case.new_class,
    )
    context.add_output_metadata({"statuses": counts(classes, "status"), "preview": preview(classes, rows=100)})
    return classes
