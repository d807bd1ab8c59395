"""Columns of the tables that the dataset stage writes."""

import polars as pl

from mlops_assets.boxes import BOX_SCHEMA

SPLITS = ("train", "val", "test")

SPLIT_ASSIGNMENTS = pl.Schema({"enclosure_id": pl.String(), "group": pl.String(), "split": pl.String()})
"""One row an enclosure, append only and frozen; enclosures that share near-duplicate photos share a group."""

TRAINING_DATASET = pl.Schema(
    {
        "photo_id": pl.String(),
        "enclosure_id": pl.String(),
        "split": pl.String(),
        "class_id": pl.Int32(),
        **BOX_SCHEMA,
        "class_map_version": pl.Int32(),
        "photo_sha256": pl.String(),
    }
)
"""One row a box of an active class; a background photo has one row whose class and box are null.

photo_sha256 is of the bytes of the normalised photo that the dataset's versions keep; null where nothing keeps them.
"""

DATASET_PHOTOS = pl.Schema({"photo_id": pl.String(), "photo_sha256": pl.String(), "examined_by": pl.String()})
"""Beside the dataset, one row a photo whose bytes are kept: of which examination (`PHOTO_MEASURES`) they come."""

DATASET_VERSIONS = pl.Schema(
    {
        "fingerprint": pl.String(),
        "made_at": pl.Datetime("us", "UTC"),
        "photos": pl.Int64(),
        "boxes": pl.Int64(),
        "classes": pl.Int64(),
        "code": pl.String(),
    }
)
"""Beside the dataset, one row each time that it became another version; the last one is today's."""
