"""What the ledger keeps of a photo that was erased: that something landed on the day, and its photo_id.

The photo_id, a hash of bytes that nobody has any more, is what keeps the same upload from being taken in again. What
is erased, and when, is decided in `erasure`.
"""

import datetime as dt
import hashlib
from collections.abc import Collection, Mapping

import polars as pl

from mlops_assets.photos.schema import RAW_PHOTOS

_KEPT = ("landing_uri", "etag", "modified_at", "photo_id", "byte_size", "status", "reason", "remedy")
NOT_KEPT = tuple(column for column in RAW_PHOTOS.names() if column not in _KEPT)
"""Columns that are null where the status is `erased`."""

_GONE = "erased:"
"""What a landing_uri begins with once the upload is deleted; its name may have named a person or a place."""


def mark_erased(ledger: pl.DataFrame, erased: Mapping[str, dt.datetime]) -> pl.DataFrame:
    """Give the rows of erased photos that status, whatever they had, and drop what they tell.

    The address stays until the upload is deleted (`forget_uploads`), since it says what is to be deleted.

    Args:
        ledger: RAW_PHOTOS.
        erased: When each erased photo was erased, by photo_id.
    """
    if not erased:
        return ledger
    gone = pl.col("landing_uri").str.starts_with(_GONE).fill_null(False)
    concerned = pl.col("photo_id").is_in(list(erased)) & ~gone
    since = pl.col("photo_id").replace_strict(
        {photo_id: f"{at:%Y-%m-%d}" for photo_id, at in erased.items()}, default=None, return_dtype=pl.String
    )
    said = {
        "status": pl.lit("erased"),
        "reason": pl.format("This photo was erased on {} and is not taken in again.", since),
        "remedy": pl.lit("Run the job erase_photo for this photo_id again: it deletes this upload."),
    }
    return ledger.with_columns(
        *(
            pl.when(concerned).then(None).otherwise(pl.col(column)).cast(RAW_PHOTOS[column]).alias(column)
            for column in NOT_KEPT
        ),
        *(pl.when(concerned).then(value).otherwise(pl.col(column)).alias(column) for column, value in said.items()),
    ).select(RAW_PHOTOS.names())


def forget_uploads(ledger: pl.DataFrame, uris: Collection[str]) -> pl.DataFrame:
    """Take the addresses of deleted uploads out of rows that are marked as erased; one row an upload stays.

    Args:
        ledger: RAW_PHOTOS.
        uris: landing_uri of the uploads that are deleted.
    """
    names = {uri: f"{_GONE}{hashlib.sha256(uri.encode()).hexdigest()[:32]}" for uri in uris}
    concerned = (pl.col("status") == "erased") & pl.col("landing_uri").is_in(list(names))
    return (
        ledger.with_columns(
            landing_uri=pl.when(concerned).then(pl.col("landing_uri").replace(names)).otherwise(pl.col("landing_uri")),
            etag=pl.when(concerned).then(None).otherwise(pl.col("etag")),
            modified_at=pl.when(concerned).then(None).otherwise(pl.col("modified_at")),
            remedy=pl.when(concerned).then(pl.lit("Nothing to do.")).otherwise(pl.col("remedy")),
        )
        # What was uploaded again under the name that it had before is the same upload.
        .unique("landing_uri", keep="first", maintain_order=True)
        .select(RAW_PHOTOS.names())
        .match_to_schema(RAW_PHOTOS)
        .sort("landing_uri")
    )
