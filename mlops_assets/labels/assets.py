"""What annotators said is on the photos, and the vocabulary that grows from it."""

import datetime as dt

import dagster as dg
import polars as pl

from mlops_assets.compute import CPU_LIGHT, RETRY
from mlops_assets.labels.schema import (
    ANNOTATIONS,
    CLASS_DECISIONS,
    EQUIPMENT_CLASSES,
    LABEL_CONFLICTS,
    LABEL_QUARANTINE,
    PARSED_LABELS,
)
from mlops_assets.metadata import counts, preview
from mlops_assets.use_case import UseCase
from resources.class_decisions import ClassDecisionRecords
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
    class_decisions: ClassDecisionRecords,
    tables: Tables,
    use_case: dg.ResourceParam[UseCase],
) -> pl.DataFrame:
    """Every labelled box, the latest labelling of each photo; what cannot be used is quarantined with its reason."""
    from mlops_assets.labels.class_decisions import all_decisions, labels_digest
    from mlops_assets.labels.drop_state import LABEL_STATE, PHOTO_DAYS, WAITING_LABELS, drop_digest
    from mlops_assets.labels.importing import import_labels
    from mlops_assets.labels.items import ReadRules
    from mlops_assets.labels.matching import WAITS_FOR_PHOTO
    from mlops_assets.labels.orientation import stored_orientations
    from mlops_assets.photos.lookup import landed_photos

    # Before anything is read: what comes meanwhile makes another state, which the sensor asks for.
    state = labels_digest(drop_digest(label_drop.path()), class_decisions.ids(), use_case)
    photos = landed_photos(raw_photos)
    imported = import_labels(
        label_drop.path(),
        photos=photos,
        previous=tables.read("annotations", ANNOTATIONS),
        known_classes=tables.read("equipment_classes", EQUIPMENT_CLASSES),
        declared=use_case.classes,
        now=dt.datetime.now(dt.UTC),
        decisions=all_decisions(class_decisions.all(), use_case),
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
            LABEL_STATE: state,
            PHOTO_DAYS: len(raw_photos),
            WAITING_LABELS: imported.quarantine.filter(pl.col("remedy").str.starts_with(WAITS_FOR_PHOTO)).height,
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
    class_decisions: ClassDecisionRecords,
    tables: Tables,
    use_case: dg.ResourceParam[UseCase],
) -> pl.DataFrame:
    """The vocabulary: append-only ids; a name becomes an active class at enough boxes in enough enclosures."""
    from mlops_assets.labels.class_decisions import all_decisions, as_record, decisions_table, is_recorded
    from mlops_assets.labels.class_states import waiting_words
    from mlops_assets.labels.vocabulary import equipment_classes as count_classes
    from mlops_assets.labels.vocabulary import recorded_decisions
    from mlops_assets.photos.lookup import landed_photos

    previous = tables.read("equipment_classes", EQUIPMENT_CLASSES)
    written = all_decisions(class_decisions.all(), use_case)
    decisions = recorded_decisions(written, previous, use_case.classes, annotations)
    for decision in filter(is_recorded, decisions):
        class_decisions.add(decision.decision_id, as_record(decision))
    classes = count_classes(
        annotations, landed_photos(raw_photos), previous, use_case.classes, use_case.new_class, decisions
    )
    address = tables.write("class_decisions", decisions_table(decisions), CLASS_DECISIONS)
    waiting = waiting_words(classes, use_case.new_class)
    context.add_output_metadata(
        {
            "statuses": counts(classes, "status"),
            "waiting": dg.MetadataValue.md("\n".join(f"- {words}" for words in waiting) or "none"),
            "decisions": preview(decisions_table(decisions).reverse(), rows=50),
            "decisions_table": dg.MetadataValue.path(address),
            "preview": preview(classes, rows=100),
        }
    )
    return classes
