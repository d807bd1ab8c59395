"""What each chapter of the story came to, in a sentence or two, from the tables."""

import polars as pl

from demo.state import State
from mlops_assets.catalog.inventory import REMOVED
from mlops_assets.photos.intake import conservation


def photos_taken_in(state: State) -> str:
    """Where the landed photos went."""
    photos = conservation(state.table("raw_photos"))
    usable = (state.table("clean_photos")["verdict"] == "usable").sum()
    return (
        f"{photos['landed']} photos landed: {photos['accepted']} accepted ({usable} good enough to use), "
        f"{photos['duplicate']} duplicates, {photos['quarantined']} quarantined with a reason"
    )


def labels_learnt(state: State) -> str:
    """What annotators gave, and what the detector makes of it."""
    labels = state.table("annotations")
    boxes = labels.filter(pl.col("class_id").is_not_null()).height
    active = state.table("equipment_classes").filter(pl.col("status") == "active").height
    labelled = f"{boxes} boxes on {labels['photo_id'].n_unique()} photos, {active} active classes"
    return f"{labelled}. {state.last_decision()}. {_measured(state)}".rstrip()


def _measured(state: State) -> str:
    decisions, evaluation = state.table("champion_detector"), state.table("detector_evaluation")
    if decisions.is_empty():
        return ""
    rows = evaluation.filter(
        (pl.col("split") == "test")
        & pl.col("class_id").is_null()
        & (pl.col("model_version") == decisions.item(-1, "model_version"))
    )
    return f"Its mAP50 on enclosures that it never saw: {rows.item(0, 'ap50'):.3f}" if rows.height else ""


def catalogue_written(state: State) -> str:
    """What the catalogue holds now."""
    present = state.table("equipment_catalog").filter(pl.col("status") != REMOVED)
    enclosures = present["enclosure_id"].n_unique()
    return f"The catalogue lists {present['quantity'].sum()} devices in {enclosures} enclosures"
