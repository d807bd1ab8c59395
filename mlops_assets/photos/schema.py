"""Columns of the tables that the photo stage writes; other stages read them by these names."""

import polars as pl

UTC_TIME = pl.Datetime("us", "UTC")

STATUSES = ("accepted", "duplicate", "quarantined", "erased")
"""What can become of a landed file; landed = the sum over these, for every day."""

VERDICTS = ("usable", "rejected")

RAW_PHOTOS = pl.Schema(
    {
        "landing_uri": pl.String(),
        "etag": pl.String(),
        "modified_at": UTC_TIME,
        "photo_id": pl.String(),
        "enclosure_id": pl.String(),
        "visit_id": pl.String(),
        "technician": pl.String(),
        "captured_at": UTC_TIME,
        "camera": pl.String(),
        "latitude": pl.Float64(),
        "longitude": pl.Float64(),
        "width": pl.Int32(),
        "height": pl.Int32(),
        "format": pl.String(),
        "byte_size": pl.Int64(),
        "status": pl.String(),
        "reason": pl.String(),
        "remedy": pl.String(),
        "duplicate_of": pl.String(),
    }
)
"""One row a landed photo file of a day; width and height in pixels, upright."""

CLEAN_PHOTOS = pl.Schema(
    {
        "photo_id": pl.String(),
        "uri": pl.String(),
        "sharpness": pl.Float64(),
        "brightness": pl.Float64(),
        "contrast": pl.Float64(),
        "dark_share": pl.Float64(),
        "bright_share": pl.Float64(),
        "perceptual_hash": pl.String(),
        "verdict": pl.String(),
        "reason": pl.String(),
        "retake_advice": pl.String(),
        "near_duplicate_of": pl.String(),
        "reused_from": pl.String(),
        "compared_with": pl.String(),
    }
)
"""One row an accepted photo of a day, by landing_uri.

near_duplicate_of is the photo_id of the earliest photo, by (day, landing_uri), that is the same shot; reused_from that
photo's enclosure_id where it is another one, which may mean a visit that did not take place; compared_with a digest of
what the photo was compared with, so that a rerun compares only what is new.
"""

PHOTO_MEASURES = pl.Schema(
    {
        "photo_id": pl.String(),
        "sharpness": pl.Float64(),
        "brightness": pl.Float64(),
        "contrast": pl.Float64(),
        "dark_share": pl.Float64(),
        "bright_share": pl.Float64(),
        "perceptual_hash": pl.String(),
        "examined_by": pl.String(),
    }
)
"""Beside a day's ledger, one row a photo that was examined: `quality.Measures`, and `examination.examined_by`."""

RETAKES = pl.Schema(
    {
        "technician": pl.String(),
        "enclosure_id": pl.String(),
        "visit_id": pl.String(),
        "file": pl.String(),
        "reason": pl.String(),
        "advice": pl.String(),
    }
)
"""One row a photo that should be taken again, for people: a CSV file a day in the store."""
