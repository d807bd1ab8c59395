"""Which photos a technician should take again, and of which enclosures a visit left no usable one.

Verdicts come from `cleaning`, refusals from `intake`; here they are put together for the people who act on them.
"""

import polars as pl

from mlops_assets.photos.schema import RETAKES

_FORMULA = r"^[=+\-@\t\r]"
"""A cell that begins so is run as a formula by spreadsheets; names and reasons come from uploads."""


def retakes(ledger: pl.DataFrame, cleaned: pl.DataFrame) -> pl.DataFrame:
    """Every photo of a day that was rejected or could not be read.

    Args:
        ledger: The day's RAW_PHOTOS.
        cleaned: The day's CLEAN_PHOTOS.

    Returns:
        RETAKES, by technician, enclosure and file.
    """
    rejected = ledger.filter(pl.col("status") == "accepted").join(
        cleaned.filter(pl.col("verdict") == "rejected").select("photo_id", "reason", advice="retake_advice"),
        on="photo_id",
        suffix="_of_verdict",
    )
    refused = ledger.filter((pl.col("status") == "quarantined") & pl.col("enclosure_id").is_not_null())
    rows = pl.concat(
        [
            rejected.with_columns(reason="reason_of_verdict"),
            refused.with_columns(advice="remedy"),
        ],
        how="diagonal",
    )
    file = pl.col("landing_uri").str.split("/").list.last()
    return rows.with_columns(file=file).select(RETAKES.names()).sort("technician", "enclosure_id", "file")


def retakes_by(who: str, ledger: pl.DataFrame, cleaned: pl.DataFrame) -> pl.DataFrame:
    """How many photos each technician, or enclosure, should take again.

    Args:
        who: Column of the ledger, technician or enclosure_id.
        ledger: The day's RAW_PHOTOS.
        cleaned: The day's CLEAN_PHOTOS.

    Returns:
        One row each with at least one to take again: `who`, usable, to_retake (photos), most_often (first words of the
        most frequent reason); those with the fewest usable photos first.
    """
    usable = (
        ledger.filter(pl.col("status") == "accepted")
        .join(cleaned.filter(pl.col("verdict") == "usable").select("photo_id"), on="photo_id")
        .group_by(who)
        .agg(usable=pl.len())
    )
    fault = pl.col("reason").str.split(":").list.first()
    again = (
        retakes(ledger, cleaned)
        .group_by(who)
        .agg(to_retake=pl.len(), most_often=fault.mode(maintain_order=True).first())
    )
    return (
        again.join(usable, on=who, how="left", nulls_equal=True)
        .with_columns(pl.col("usable").fill_null(0))
        .select(who, "usable", "to_retake", "most_often")
        .sort("usable", "to_retake", who, descending=[False, True, False])
    )


def as_csv(report: pl.DataFrame) -> bytes:
    """For spreadsheets: UTF-8 with its mark, and no cell that is run as a formula."""
    text = pl.col(pl.String)
    harmless = pl.when(text.str.contains(_FORMULA)).then(pl.format("'{}", text)).otherwise(text).name.keep()
    return report.with_columns(harmless).write_csv(include_bom=True).encode()
