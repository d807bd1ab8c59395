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
        "drawn_as": pl.String(),
    }
)
"""One row a labelled box; a photo labelled as empty has one row whose class and box are null.

drawn_as is the shape that was drawn (`items.DRAWN_AS`); of all but `box` the box is what encloses it.

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

LABEL_CONFLICTS = pl.Schema(
    {
        "photo_id": pl.String(),
        "annotators": pl.List(pl.String()),
        "agreement": pl.Float64(),
        "conflict": pl.String(),
    }
)
"""One row a photo that several annotators labelled: how far they agree, 0 to 1, and what they do not agree on, in words
(null where they agree); see `agreement`."""

PARSED_LABELS = pl.Schema(
    {
        "row": pl.String(),
        "file_id": pl.UInt32(),
        "source": pl.String(),
        "byte_size": pl.Int64(),
        "modified_at": pl.Datetime("us", "UTC"),
        "etag": pl.String(),
        "read_by": pl.String(),
        "unlabelled": pl.Int64(),
        "left": pl.String(),
        "names_key": pl.String(),
        "rows": pl.UInt32(),
        "names": pl.List(pl.String()),
        "photo": pl.UInt32(),
        "item": pl.String(),
        "reference": pl.String(),
        "annotator": pl.String(),
        "annotated_at": pl.Datetime("us", "UTC"),
        "width": pl.Float64(),
        "height": pl.Float64(),
        "in_pixels": pl.Boolean(),
        "class_name": pl.String(),
        **BOX_SCHEMA,
        "drawn_as": pl.String(),
        "reason": pl.String(),
        "remedy": pl.String(),
    }
)
"""What label files hold, kept so that an import reads only those that changed; `parsed` says which columns a row has.

It can be made again from the label drop at any time, and an erasure empties it.
"""

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
