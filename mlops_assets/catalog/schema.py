"""Columns of the tables that the catalogue stage writes."""

import polars as pl

from mlops_assets.boxes import BOX_SCHEMA

DETECTIONS = pl.Schema(
    {
        "photo_id": pl.String(),
        "class_id": pl.Int32(),
        "confidence": pl.Float64(),
        **BOX_SCHEMA,
        "model_version": pl.String(),
    }
)
"""One row a detection; a photo looked at with nothing found has one row whose class is null."""

UNKNOWN_EQUIPMENT = pl.Schema(
    {
        "photo_id": pl.String(),
        **BOX_SCHEMA,
        "score": pl.Float64(),
        "model_version": pl.String(),
    }
)
"""One row a photo looked at: the region that looks most like equipment of no known class, and how much it does.

The score starts at 0 and has no upper end; 1 is about as unlike every training box as the strangest 5 % of known
equipment is (`detector/unknown_equipment.MostUnknown`). It is 0 with null box where nothing looks like an object, null
where the model version cannot tell. Scores of two model versions are not on one scale.
"""

VISIT_INVENTORY = pl.Schema(
    {
        "enclosure_id": pl.String(),
        "visit_id": pl.String(),
        "visited_on": pl.Date(),
        "class_id": pl.Int32(),
        "quantity": pl.Int32(),
        "status": pl.String(),
        "confidence": pl.Float64(),
        "photo_id": pl.String(),
        **BOX_SCHEMA,
        "model_version": pl.String(),
    }
)
"""One row an enclosure, visit and class; photo_id and box are the evidence, also for what was last seen earlier."""

EQUIPMENT_CATALOG = pl.Schema(
    {
        "enclosure_id": pl.String(),
        "class_id": pl.Int32(),
        "class_name": pl.String(),
        "quantity": pl.Int32(),
        "status": pl.String(),
        "first_seen": pl.Date(),
        "last_seen": pl.Date(),
        "confidence": pl.Float64(),
        "photo_id": pl.String(),
        **BOX_SCHEMA,
        "model_version": pl.String(),
    }
)
"""The latest state of each enclosure and class."""

EQUIPMENT_CHANGES = pl.Schema(
    {
        "enclosure_id": pl.String(),
        "class_id": pl.Int32(),
        "visit_id": pl.String(),
        "change": pl.String(),
        "from": pl.Int32(),
        "to": pl.Int32(),
        "photo_id": pl.String(),
        **BOX_SCHEMA,
    }
)
"""One row a change between two visits: appeared, disappeared or quantity, with the quantities before and after."""
