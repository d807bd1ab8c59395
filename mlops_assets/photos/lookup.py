"""Photos of all days as later stages look them up."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import polars as pl

from mlops_assets.photos.schema import CLEAN_PHOTOS, RAW_PHOTOS


class TableDays(Protocol):
    """What is needed of the table resource to read days one after the other."""

    def read_days(
        self,
        name: str,
        schema: Mapping[str, pl.DataType],
        *,
        columns: Sequence[str] | None = None,
        where: pl.Expr | None = None,
    ) -> pl.DataFrame:
        """Some columns and rows of all days, with a column `day`."""


def all_days(days: Mapping[str, pl.DataFrame], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Tables of all days as one, by day, with a column `day`."""
    empty = pl.DataFrame(schema={**schema, "day": pl.String()})
    return pl.concat([empty, *(frame.with_columns(day=pl.lit(day)) for day, frame in sorted(days.items()))])


def landed_photos(raw_days: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Accepted and duplicate rows of all days with their `day`; a duplicate carries its original's photo_id anyway."""
    return all_days(raw_days, RAW_PHOTOS).filter(pl.col("status").is_in(["accepted", "duplicate"]))


def photos_of_visits(raw_days: Mapping[str, pl.DataFrame], clean_days: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """One row an accepted and cleaned photo, of all days.

    Columns: photo_id, enclosure_id, visit_id, visited_on (Date), captured_at, landing_uri, uri, usable (bool),
    near_duplicate_of.
    """
    accepted = all_days(raw_days, RAW_PHOTOS).filter(pl.col("status") == "accepted")
    cleaned = all_days(clean_days, CLEAN_PHOTOS).drop("day")
    return accepted.join(cleaned, on="photo_id").select(
        "photo_id",
        "enclosure_id",
        "visit_id",
        pl.col("day").str.to_date("%Y-%m-%d").alias("visited_on"),
        "captured_at",
        "landing_uri",
        "uri",
        (pl.col("verdict") == "usable").alias("usable"),
        "near_duplicate_of",
    )
