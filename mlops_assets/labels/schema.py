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

class_id is the class that the label counts for, which after a merge is another than that of its class_name; class_name
is as labelled for good. class_map_version v says that the classes with class_id < v were looked for when the photo was
labelled, and so was a class that one of these was merged into (`known_since` of EQUIPMENT_CLASSES).
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
        "first_name": pl.String(),
        "known_since": pl.Int32(),
        "ever_active": pl.Boolean(),
        "close_to": pl.Int32(),
        "reason": pl.String(),
    }
)
"""One row a class ever seen; ids are append only and never reused.

merged_into is the class that it counts for in the end, whose `boxes` include its own. first_name is the name that the
id was given to. known_since is the lowest id among the class and those merged into it: it was looked for on photos with
a larger class_map_version. ever_active: an undone deprecation makes it active again. close_to: the class whose name its
own resembles, while nobody has said whether they are one. reason says in words why the class is not active.
"""

CLASS_DECISIONS = pl.Schema(
    {
        "decision_id": pl.String(),
        "decision": pl.String(),
        "of": pl.String(),
        "to": pl.String(),
        "class_id": pl.Int32(),
        "to_class_id": pl.Int32(),
        "by": pl.String(),
        "at": pl.Datetime("us", "UTC"),
        "why": pl.String(),
        "source": pl.String(),
        "in_force": pl.Boolean(),
    }
)
"""One row a decision about a class, append only, in their order; see `class_decisions.ClassDecision`."""
