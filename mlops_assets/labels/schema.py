"""Columns of the tables that the label stage writes."""

import polars as pl

from mlops_assets.boxes import BOX_SCHEMA

CLASS_STATUSES = ("proposed", "active", "deprecated", "merged")

ANNOTATIONS = pl.Schema(
    {
        "photo_id": pl.String(),
        "class_id": pl.Int32(),
        "class_name": pl.String(),
        **BOX_SCHEMA,
        "annotator": pl.String(),
        "source": pl.String(),
        "annotated_at": pl.Datetime("us", "UTC"),
        "class_map_version": pl.Int32(),
    }
)
"""One row a labelled box; a photo labelled as empty has one row whose class and box are null.

class_map_version v says that the classes with class_id < v were looked for when the photo was labelled.
"""

LABEL_QUARANTINE = pl.Schema(
    {
        "source": pl.String(),
        "item": pl.String(),
        "reason": pl.String(),
        "remedy": pl.String(),
    }
)
"""One row a label file, image entry or box of the label drop that could not be used."""

EQUIPMENT_CLASSES = pl.Schema(
    {
        "class_id": pl.Int32(),
        "class_name": pl.String(),
        "aliases": pl.List(pl.String()),
        "status": pl.String(),
        "merged_into": pl.Int32(),
        "boxes": pl.Int64(),
        "enclosures": pl.Int64(),
        "first_labelled": pl.Datetime("us", "UTC"),
    }
)
"""One row a class ever seen; ids are append only and never reused."""
