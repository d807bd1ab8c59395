"""Photos that were used for a second enclosure: the visit that they stand for may not have taken place.

What repeats what is found in `intake` (the same bytes) and `near_duplicates` (the same shot); here both are read
together, for reports and checks.
"""

import re
from collections.abc import Mapping

import polars as pl

from mlops_assets.photos.landing import place
from mlops_assets.photos.lookup import all_days
from mlops_assets.photos.schema import CLEAN_PHOTOS, RAW_PHOTOS

REUSED_PHOTOS = pl.Schema(
    {
        "day": pl.String(),
        "photo_id": pl.String(),
        "landing_uri": pl.String(),
        "enclosure_id": pl.String(),
        "technician": pl.String(),
        "reused_from": pl.String(),
        "first_photo_id": pl.String(),
        "first_uri": pl.String(),
        "match": pl.String(),
    }
)
"""One row a landed photo that had been landed for another enclosure, `reused_from`, before.

match is `exact` (the same bytes; photo_id is that of both) or `near` (the same shot). first_uri, where the first photo
was landed, is null for a near match whose first photo lies on a day that was not given.
"""

_BELOW_DAY = re.compile(r".*/\d{4}-\d{2}-\d{2}/(?P<path>[^/]+/[^/]+)")


def reused_photos(raw_days: Mapping[str, pl.DataFrame], clean_days: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Photos of some days that were used for another enclosure before.

    Args:
        raw_days: RAW_PHOTOS by day.
        clean_days: CLEAN_PHOTOS by day.

    Returns:
        REUSED_PHOTOS, by day and landing_uri.
    """
    landed = all_days(raw_days, RAW_PHOTOS)
    accepted = landed.filter(pl.col("status") == "accepted")
    exact = (
        landed.filter(pl.col("status") == "duplicate")
        .with_columns(
            reused_from=pl.col("duplicate_of").map_elements(_enclosure_of, return_dtype=pl.String()),
            first_photo_id=pl.col("photo_id"),
            first_uri=pl.col("duplicate_of"),
            match=pl.lit("exact"),
        )
        .filter(pl.col("reused_from") != pl.col("enclosure_id"))
    )
    firsts = accepted.select(first_photo_id="photo_id", first_uri="landing_uri")
    near = (
        all_days(clean_days, CLEAN_PHOTOS)
        .drop_nulls("reused_from")
        .select("day", "photo_id", "reused_from", first_photo_id="near_duplicate_of", match=pl.lit("near"))
        .join(accepted.drop("day"), on="photo_id")
        .join(firsts.unique("first_photo_id", keep="first", maintain_order=True), on="first_photo_id", how="left")
    )
    columns = REUSED_PHOTOS.names()
    return pl.concat([exact.select(columns), near.select(columns)]).sort("day", "landing_uri")


def _enclosure_of(landing_uri: str) -> str:
    """The enclosure whose folder a landed photo lies in.

    Raises:
        ValueError: The URI does not have the form of the landing zone.
    """
    found = _BELOW_DAY.fullmatch(landing_uri)
    if found is None:
        raise ValueError(f"{landing_uri!r} is not <landing>/<YYYY-MM-DD>/<enclosure_id>/<file>")
    return place(found["path"]).enclosure_id
