"""What was in each enclosure at each visit, from the detections on the visit's photos.

The rules of DESIGN §3 "Inventory" live here and nowhere else. The latest state and the changes between visits are in
`catalog`; agreement with the truth is in `score`.
"""

from collections.abc import Mapping

import polars as pl

from mlops_assets.boxes import BOX_COLUMNS
from mlops_assets.catalog.schema import VISIT_INVENTORY
from mlops_assets.detector.merged_classes import resolve_detections
from mlops_assets.labels.class_links import NO_LINKS, ClassLinks
from mlops_assets.use_case import InventoryRules

CONFIRMED, UNCONFIRMED, REMOVED = "confirmed", "unconfirmed", "removed"

VISIT_PHOTO_COLUMNS = ("photo_id", "enclosure_id", "visit_id", "visited_on", "captured_at", "usable")
"""Columns of the photos that the catalogue stage works from, one row an accepted photo."""

_VISIT = ("enclosure_id", "visit_id")
_ITEM = ("enclosure_id", "class_id")
_EVIDENCE = ("quantity", "confidence", "photo_id", *BOX_COLUMNS, "model_version")


class InventoryInputError(ValueError):
    """Photos or detections contradict themselves; the message says where and what to do."""


def visit_inventory(
    detections: pl.DataFrame,
    photos: pl.DataFrame,
    thresholds: Mapping[int, float],
    rules: InventoryRules,
    links: ClassLinks = NO_LINKS,
) -> pl.DataFrame:
    """Count the equipment of every visit and carry forward what a visit could not show.

    Quantity is the largest count of a class over the visit's usable photos at the class's threshold (best view). The
    evidence is the photo with that count (ties: the highest summed confidence, then the lowest photo_id), with the box
    and confidence of its most confident detection. A class seen is `confirmed`. One seen before and now unseen is
    `removed` (quantity 0) when the visit has `rules.min_usable_photos` or more usable photos, else `unconfirmed`
    (quantity kept); both keep the evidence, confidence and model version of the last sighting. After `removed` a
    class has no row until it is seen again.

    Visits of an enclosure follow one another by (visited_on, first captured_at, visit_id), and rows come in that
    order; a visit photographed over several days counts on its first. A usable photo without any row in `detections`
    has not been looked at yet, so it removes nothing.

    Args:
        detections: DETECTIONS rows of all days; a photo with nothing found has one row with null class_id.
        photos: VISIT_PHOTO_COLUMNS, one row a photo: visited_on Date, captured_at Datetime or null, usable Boolean.
        thresholds: Least confidence that counts, by class_id.
        rules: Threshold of classes without one of their own, and the photos that a removal takes.
        links: Merged classes, which the model may know apart; they are counted as one.

    Returns:
        VISIT_INVENTORY, one row an enclosure, visit and class.

    Raises:
        InventoryInputError: A column or visit is missing, a photo is listed twice, or was judged by two models.
    """
    _check_photos(photos)
    _check_detections(detections)
    visits = _visits(photos, detections)
    best = _best_views(counted_detections(detections, thresholds, rules, links), photos)
    dense = (
        best.select(_ITEM)
        .unique()
        .join(visits, on="enclosure_id")
        .join(best, on=["enclosure_id", "visit_id", "class_id"], how="left")
        .sort("enclosure_id", "class_id", "visit_number")
    )
    return (
        _carry_forward(dense, rules.min_usable_photos)
        .sort("enclosure_id", "visit_number", "class_id")
        .select(VISIT_INVENTORY.names())
        .cast(VISIT_INVENTORY)
    )


def counted_detections(
    detections: pl.DataFrame, thresholds: Mapping[int, float], rules: InventoryRules, links: ClassLinks = NO_LINKS
) -> pl.DataFrame:
    """Keep the detections that count: those at or above their class's threshold, under the class that it counts for.

    Args:
        detections: DETECTIONS rows.
        thresholds: Least confidence that counts, by class_id.
        rules: Gives the threshold of classes that `thresholds` does not name.
        links: Merged classes.

    Returns:
        DETECTIONS rows without those of null class.
    """
    classes = pl.DataFrame(
        {"class_id": list(thresholds), "_threshold": list(thresholds.values())},
        schema={"class_id": pl.Int32, "_threshold": pl.Float64},
    )
    counted = (
        detections.filter(pl.col("class_id").is_not_null())
        .join(classes, on="class_id", how="left")
        .filter(pl.col("confidence") >= pl.col("_threshold").fill_null(rules.default_threshold))
        .drop("_threshold")
    )
    return resolve_detections(counted, links)


def in_visit_order(inventory: pl.DataFrame) -> pl.DataFrame:
    """Sort rows by enclosure, visit and class; visits of one day keep the order in which their rows came.

    Args:
        inventory: At least enclosure_id, visit_id, visited_on and class_id, as `visit_inventory` orders them.
    """
    first_row = pl.col("_row").min().over(_VISIT)
    return (
        inventory.with_row_index("_row")
        .with_columns(first_row)
        .sort("enclosure_id", "visited_on", "_row", "class_id")
        .drop("_row")
    )


def _visits(photos: pl.DataFrame, detections: pl.DataFrame) -> pl.DataFrame:
    looked_at = photos.join(detections.select("photo_id").unique(), on="photo_id", how="semi")
    usable = looked_at.filter("usable").group_by(_VISIT).agg(usable_photos=pl.len())
    return (
        photos.group_by(_VISIT)
        .agg(pl.col("visited_on").min(), pl.col("captured_at").min())
        .join(usable, on=_VISIT, how="left")
        .with_columns(pl.col("usable_photos").fill_null(0))
        .sort("enclosure_id", "visited_on", "captured_at", "visit_id", nulls_last=True)
        .with_row_index("visit_number")
        .drop("captured_at")
    )


def _best_views(counted: pl.DataFrame, photos: pl.DataFrame) -> pl.DataFrame:
    """One row a visit and class that was seen: the photo that shows most of it, and its most confident box."""
    usable = photos.filter("usable").select("photo_id", *_VISIT)
    top = pl.col("confidence").arg_max()
    per_photo = (
        counted.join(usable, on="photo_id")
        .sort("photo_id", *BOX_COLUMNS)  # equal confidences must not make the evidence depend on the order of rows
        .group_by("photo_id", *_VISIT, "class_id", maintain_order=True)
        .agg(
            pl.len().alias("quantity"),
            pl.col("confidence").sum().alias("summed"),
            pl.col("confidence", *BOX_COLUMNS, "model_version").get(top),
        )
    )
    return (
        per_photo.sort("quantity", "summed", "photo_id", descending=[True, True, False])
        .group_by(*_VISIT, "class_id", maintain_order=True)
        .first()
        .select(*_VISIT, "class_id", *_EVIDENCE)
    )


def _carry_forward(dense: pl.DataFrame, min_usable_photos: int) -> pl.DataFrame:
    """Decide the status of every visit of every item; `dense` is sorted by item, then visit.

    Each row points at the row of its last sighting, whose evidence it takes over.
    """
    seen = pl.col("quantity").is_not_null()
    removing = ~seen & (pl.col("usable_photos") >= min_usable_photos)
    rows = (
        dense.with_row_index("_row")
        .with_columns(
            pl.when(seen).then(pl.col("_row")).forward_fill().over(_ITEM).alias("_sighting"),
            seen.alias("_seen"),
            removing.alias("_removing"),
        )
        .drop_nulls("_sighting")
        .with_columns(pl.col("_removing").cum_sum().over("_sighting").alias("_removals"))
        .filter((pl.col("_removals") == 0) | ((pl.col("_removals") == 1) & pl.col("_removing")))
    )
    evidence = dense.select(_EVIDENCE)[rows["_sighting"]]
    status = pl.when("_seen").then(pl.lit(CONFIRMED)).when("_removing").then(pl.lit(REMOVED))
    quantity = pl.when("_removing").then(0).otherwise(pl.col("quantity"))
    return (
        rows.drop(_EVIDENCE)
        .hstack(evidence)
        .with_columns(status.otherwise(pl.lit(UNCONFIRMED)).alias("status"), quantity.alias("quantity"))
    )


def _check_photos(photos: pl.DataFrame) -> None:
    missing = [column for column in VISIT_PHOTO_COLUMNS if column not in photos.columns]
    if missing:
        raise InventoryInputError(f"photos lack {missing}: join raw_photos and clean_photos to {VISIT_PHOTO_COLUMNS}")
    required = ("photo_id", "enclosure_id", "visit_id", "visited_on", "usable")
    empty = [column for column in required if photos[column].null_count()]
    if empty:
        raise InventoryInputError(f"photos have rows without {empty}: every accepted photo needs a visit and a verdict")
    twice = photos.filter(pl.col("photo_id").is_duplicated())["photo_id"].unique().sort()
    if len(twice):
        raise InventoryInputError(
            f"{len(twice)} photos are listed twice, first {twice[0]}: pass accepted photos only, without duplicates"
        )


def _check_detections(detections: pl.DataFrame) -> None:
    models = detections.select("photo_id", "model_version").unique()
    twice = models.filter(pl.col("photo_id").is_duplicated())["photo_id"].unique().sort()
    if len(twice):
        raise InventoryInputError(
            f"{len(twice)} photos have detections of two models, first {twice[0]}: "
            "materialise the detections of its day anew"
        )
