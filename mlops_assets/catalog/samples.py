"""What a person sees of a day's detections on the asset's page; nothing that is made of detections depends on it."""

from collections.abc import Callable

import polars as pl

from mlops_assets.catalog.inventory import counted_detections
from mlops_assets.detector.champion import Champion
from mlops_assets.detector.charts import annotate
from mlops_assets.photos.pixels import Image, decode_scaled
from mlops_assets.use_case import InventoryRules

LONG_SIDE = 640


def with_names(found: pl.DataFrame, champion: Champion | None) -> pl.DataFrame:
    """The detections that name a class, with its name."""
    names = champion.class_map if champion else {}
    return found.drop_nulls("class_id").with_columns(
        class_name=pl.col("class_id").replace_strict(names, return_dtype=pl.String)
    )


def busiest_photo(
    found: pl.DataFrame, champion: Champion | None, rules: InventoryRules, read_photo: Callable[[str], bytes]
) -> tuple[Image, str] | None:
    """The photo with most detections that count, drawn, and its photo_id; None where nothing counts."""
    counted = counted_detections(found, champion.thresholds, rules) if champion else found.clear()
    if counted.is_empty():
        return None
    busiest = counted["photo_id"].value_counts(sort=True).row(0)[0]
    boxes = with_names(counted.filter(pl.col("photo_id") == busiest), champion).select(
        "class_name", "confidence", "box_x", "box_y", "box_w", "box_h"
    )
    return annotate(decode_scaled(read_photo(busiest), LONG_SIDE), list(boxes.iter_rows())), busiest
