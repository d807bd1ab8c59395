"""Boxes for an annotator to start from: the labels that there are, and what the champion finds beside them."""

from collections.abc import Mapping

import polars as pl

from mlops_assets.boxes import BOX_COLUMNS
from mlops_assets.monitoring.label_errors import overlaps
from mlops_assets.monitoring.schema import SUGGESTED_BOX
from mlops_assets.monitoring.signals import AROUND, certainty_ratio

SAME_PLACE_IOU = 0.5
"""A detection that overlaps a label, or a more confident detection, so much is about the same object."""

SUGGESTIONS = pl.Schema({"photo_id": pl.String(), "suggested_boxes": pl.List(SUGGESTED_BOX)})

_FIELDS = ("class_id", "class_name", "confidence", *BOX_COLUMNS)


def suggested_boxes(labels: pl.DataFrame, found: pl.DataFrame, names: Mapping[int, str]) -> pl.DataFrame:
    """Labels with confidence 1, then detections that count or nearly do, the most confident first.

    Args:
        labels: ANNOTATIONS of the photos.
        found: Detections on them with class_name and threshold.
        names: Of classes, as the vocabulary has them now.

    Returns:
        SUGGESTIONS, one row a photo with at least one box.
    """
    name = pl.col("class_id").replace_strict(dict(names), default=pl.col("class_name"), return_dtype=pl.String)
    given = labels.drop_nulls("class_id").with_columns(confidence=pl.lit(1.0), class_name=name)
    near = certainty_ratio(pl.col("confidence"), pl.col("threshold")) >= AROUND
    likely = found.filter((pl.col("confidence") >= pl.col("threshold")) | near)
    boxes = pl.concat([frame.select("photo_id", *_FIELDS) for frame in (given, likely)])
    ordered = boxes.sort("photo_id", "confidence", "class_id", *BOX_COLUMNS, descending=[False, True, *[False] * 5])
    kept = [group.filter(_first_of_its_place(group)) for group in ordered.partition_by("photo_id", maintain_order=True)]
    together = pl.concat([ordered.clear(), *kept])
    return (
        together.group_by("photo_id", maintain_order=True)
        .agg(pl.struct(_FIELDS).alias("suggested_boxes"))
        .match_to_schema(SUGGESTIONS)
    )


def _first_of_its_place(boxes: pl.DataFrame) -> pl.Series:
    """Which boxes overlap no earlier one that is kept; labels always stay."""
    corners = boxes.select(BOX_COLUMNS).to_numpy()
    overlap = overlaps(corners, corners)
    kept: list[bool] = []
    for row, confidence in enumerate(boxes["confidence"]):
        earlier = [other for other in range(row) if kept[other]]
        kept.append(confidence == 1.0 or not (overlap[row, earlier] >= SAME_PLACE_IOU).any())
    return pl.Series(kept, dtype=pl.Boolean)
