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
    }
)
"""One row a box of an active class; a background photo has one row whose class and box are null."""
