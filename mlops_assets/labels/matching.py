"""Which photo a label means: photo_id, else `<enclosure_id>/<file>`, else a file name that is unique (DESIGN §3).

The day in front, `<day>/<enclosure_id>/<file>`, decides where an enclosure has the same file name on several days.
"""

import hashlib
from collections.abc import Iterable, Mapping

import polars as pl

MATCHES = pl.Schema({"reference": pl.String(), "photo_id": pl.String(), "reason": pl.String(), "remedy": pl.String()})
"""One row a distinct reference: photo_id, or else why there is none and what to do."""

WAITS_FOR_PHOTO = "upload the photo first"
"""How the remedy begins where a label came before its photo."""

_ANY_SUFFIX = r"\.[^./]*$"
_BY_ID = 4
_REMEDY = "name the photo by its photo_id or as <enclosure_id>/<file>"


def hashed_names(photos: pl.DataFrame) -> list[str]:
    """SHA-256, hex, of every name by which a label can mean one of these photos, for `match_photos` to know them by.

    Args:
        photos: photo_id, landing_uri.
    """
    return sorted(map(_hashed, _photo_keys(photos)["key"].unique()))


def match_photos(
    references: Iterable[str] | pl.Series, photos: pl.DataFrame, erased_names: Mapping[str, str] | None = None
) -> pl.DataFrame:
    """Find the photo of each distinct reference.

    Args:
        references: Photos as label files name them; `.*` at the end stands for any suffix.
        photos: photo_id, landing_uri; a duplicate's row, whose bytes have the same photo_id, makes its name known too.
        erased_names: photo_id of erased photos by `hashed_names`. They match as if they were still there, so that what
            means one of them is not taken for another photo of the same name.

    Returns:
        MATCHES, sorted by reference.
    """
    distinct = pl.DataFrame({"reference": references}, schema={"reference": pl.String()}).unique().sort("reference")
    wanted = _reference_keys(distinct)
    open_ended = distinct["reference"].str.ends_with(".*").any()
    keys = _photo_keys(photos, any_suffix=open_ended)
    found = pl.concat([wanted.join(keys, on="key"), _erased_hits(wanted, erased_names or {})])
    hits = found.group_by("reference", "level").agg(pl.col("photo_id").unique())
    best = hits.sort("level", descending=True).unique("reference", keep="first", maintain_order=True)
    enclosures = photos.select(_parts("landing_uri").list.get(-2, null_on_oob=True).alias("parent")).unique()
    parents = distinct.select("reference", _parts("reference").list.get(-2, null_on_oob=True).alias("parent"))
    named = parents.join(enclosures, on="parent", how="semi")
    # A known enclosure without that file is a mistake, not an invitation to look in other enclosures.
    best = best.join(named.with_columns(level=pl.lit(1)), on=["reference", "level"], how="anti")
    count = pl.col("photo_id").list.len().fill_null(0)
    return (
        distinct.join(best, on="reference", how="left")
        .select(
            "reference",
            pl.when(count == 1).then(pl.col("photo_id").list.first()).alias("photo_id"),
            pl.when(count == 0)
            .then(pl.format("no accepted photo is named {}", "reference"))
            .when(count > 1)
            .then(pl.format("{} photos are named {}", count, "reference"))
            .alias("reason"),
            pl.when(count == 0)
            .then(pl.lit(f"{WAITS_FOR_PHOTO}, or {_REMEDY}"))
            .when(count > 1)
            .then(pl.lit(_REMEDY))
            .alias("remedy"),
        )
        .sort("reference")
        .match_to_schema(MATCHES)
    )


def _parts(column: str) -> pl.Expr:
    # Archives made on a Mac spell accents as characters of their own.
    path = pl.col(column).str.normalize("NFC").str.replace_all("\\", "/", literal=True)
    return path.str.split("/").list.filter(~pl.element().is_in(["", "."])).list.tail(3)


def _path_keys(frame: pl.DataFrame, name: str, column: str) -> pl.DataFrame:
    """Long table (name, level, key): the last 1, 2 and 3 components of the path in `column`."""
    parts = frame.select(name, _parts(column).alias("parts"))
    return pl.concat(
        parts.filter(pl.col("parts").list.len() >= level).select(
            name, pl.lit(level).alias("level"), pl.col("parts").list.tail(level).list.join("/").alias("key")
        )
        for level in (1, 2, 3)
    )


def _photo_keys(photos: pl.DataFrame, *, any_suffix: bool = True) -> pl.DataFrame:
    full = _path_keys(photos, "photo_id", "landing_uri").select("photo_id", "key")
    ids = photos.select("photo_id", pl.col("photo_id").alias("key"))
    if not any_suffix:
        return pl.concat([full, ids])
    return pl.concat([full, ids, full.with_columns(pl.col("key").str.replace(_ANY_SUFFIX, ".*"))])


def _erased_hits(wanted: pl.DataFrame, erased_names: Mapping[str, str]) -> pl.DataFrame:
    """Rows of `wanted` whose key is a name of an erased photo, with its photo_id."""
    if not erased_names:
        return wanted.clear().with_columns(photo_id=pl.lit(None, pl.String()))
    erased = [erased_names.get(_hashed(key)) for key in wanted["key"]]
    return wanted.with_columns(photo_id=pl.Series(erased, dtype=pl.String())).drop_nulls("photo_id")


def _hashed(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _reference_keys(distinct: pl.DataFrame) -> pl.DataFrame:
    stem = _parts("reference").list.last().str.replace(_ANY_SUFFIX, "")
    ids = distinct.select("reference", pl.lit(_BY_ID).alias("level"), stem.alias("key"))
    return pl.concat([_path_keys(distinct, "reference", "reference"), ids])
