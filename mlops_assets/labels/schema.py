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
