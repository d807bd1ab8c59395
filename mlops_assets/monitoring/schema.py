"""Columns of the tables that the monitoring stage writes."""

import polars as pl

from mlops_assets.boxes import BOX_SCHEMA

REVIEW_KINDS = (
    "relabel",
    "label_conflict",
    "label_error",
    "test_enclosure",
    "rare_class",
    "unknown_equipment",
    "uncertain",
    "disagreement",
    "drift",
    "unlabelled_enclosure",
)
"""Why a photo is in the queue, in the order in which reasons take turns; see `use_case.ReviewShares`."""

SUGGESTED_BOX = pl.Struct({"class_id": pl.Int32(), "class_name": pl.String(), "confidence": pl.Float64(), **BOX_SCHEMA})

REVIEW_QUEUE = pl.Schema(
    {
        "photo_id": pl.String(),
        "rank": pl.Int32(),
        "reason": pl.String(),
        "score": pl.Float64(),
        "kind": pl.String(),
        "enclosure_id": pl.String(),
        "suggested_boxes": pl.List(SUGGESTED_BOX),
        "queued_on": pl.Date(),
        "model_version": pl.String(),
    }
)
"""One row a photo that should be labelled next, rank from 1; kind is one of REVIEW_KINDS, reason is for people.

suggested_boxes are for the annotator to start from: the labels that there are, with confidence 1, and what the champion
finds beside them; empty where there is neither. queued_on is the day since which the photo is in the queue without
break. model_version is null while no champion serves.
"""

LABEL_ERROR_KINDS = ("overlooked", "swapped", "badly_located")

LABEL_ERRORS = pl.Schema(
    {
        "photo_id": pl.String(),
        "kind": pl.String(),
        "quality": pl.Float64(),
        "class_id": pl.Int32(),
        "class_name": pl.String(),
        **BOX_SCHEMA,
        "predicted_class_id": pl.Int32(),
        "predicted_class_name": pl.String(),
        "confidence": pl.Float64(),
        "iou": pl.Float64(),
        "model_version": pl.String(),
    }
)
"""One row a labelled box, or a prediction without one, that may be a mistake; the lower the quality, the likelier.

class_id and box are the label's, but of an overlooked object the box is the prediction's and class_id is null.
"""

REVIEW_HISTORY = pl.Schema({"photo_id": pl.String(), "kind": pl.String(), "annotated_at": pl.Datetime("us", "UTC")})
"""One row a labelled photo that was offered as a suspected mistake, with the time of the labelling that was doubted."""
