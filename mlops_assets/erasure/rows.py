"""What of a table may be kept once a photo is erased; a table unknown here loses every row that names it.

The IO manager asks this too, of every table that is written: a step that began before an erasure ends after it.
"""

import datetime as dt
from collections.abc import Mapping, Sequence

import polars as pl
import polars.selectors as cs

from mlops_assets.photos.erased import mark_erased

LEDGER, CLEANED, QUARANTINE = "raw_photos", "clean_photos", "label_quarantine"

PARSED_LABELS = "parsed_labels"
"""What label files hold, under names that may be of any photo, kept for the next import."""


def without(
    name: str, frame: pl.DataFrame, erased: Mapping[str, dt.datetime], texts: Sequence[str] = ()
) -> pl.DataFrame:
    """Take erased photos out of a table.

    The ledger keeps a row that says no more than that; what is kept of label files goes altogether; a near-duplicate
    points to the first of the others; any other table, also one that this module does not know, loses the rows that
    hold the photo_id in any column of text.

    Args:
        name: Of the table.
        frame: Its rows.
        erased: When each photo was erased, by photo_id.
        texts: Names of the photo's uploads, which the quarantine of labels may hold in sentences.
    """
    if name == PARSED_LABELS:
        return frame.clear()
    if name == LEDGER:
        return mark_erased(frame, erased)
    if name == CLEANED:
        frame = _repointed(frame, erased)
    said = [*erased, *(texts if name == QUARANTINE else ())]
    return frame.filter(~_holds(frame, said))


def holds(frame: pl.DataFrame, photo_id: str) -> int:
    """Rows that hold a photo_id in any column of text."""
    return frame.filter(_holds(frame, [photo_id])).height


def _holds(frame: pl.DataFrame, texts: Sequence[str]) -> pl.Expr:
    if not texts:
        return pl.lit(False)
    columns = [pl.col(column) for column in frame.select(cs.string()).columns]
    lists = [pl.col(c).list.join(" ", ignore_nulls=True) for c, t in frame.schema.items() if t == pl.List(pl.String)]
    found = [column.str.contains_any(list(texts)).fill_null(False) for column in (*columns, *lists)]
    return pl.any_horizontal(found) if found else pl.lit(False)


def _repointed(cleaned: pl.DataFrame, erased: Mapping[str, dt.datetime]) -> pl.DataFrame:
    """Near-duplicates of an erased photo are still near-duplicates of each other: of the first one in the table.

    Where the first one was, and what else they repeat, is worked out when the day is cleaned again.
    """
    target = pl.col("near_duplicate_of")
    orphaned = target.is_in(list(erased)).fill_null(False)
    first = pl.col("photo_id").first().over("near_duplicate_of")
    unsure = [column for column in ("reused_from", "compared_with") if column in cleaned.columns]
    return cleaned.with_columns(
        pl.when(~orphaned).then(target).when(first != pl.col("photo_id")).then(first).alias("near_duplicate_of"),
        *(pl.when(~orphaned).then(pl.col(column)).alias(column) for column in unsure),
    )
