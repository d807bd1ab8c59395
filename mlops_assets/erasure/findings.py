"""What is known of a photo, and what of it is still there; nothing is changed here."""

import re
from collections.abc import Sequence

import polars as pl

from mlops_assets.erasure.catalogue import TABLES
from mlops_assets.erasure.places import Places
from mlops_assets.erasure.rows import LEDGER, holds
from mlops_assets.erasure.uploads import Upload, uploads_of
from mlops_assets.photos.schema import CLEAN_PHOTOS, RAW_PHOTOS

EVENT_DIGITS = 24
"""Digits by which a photo_id is found in the event log, whose previews cut long texts off."""

NEAR_BITS = 6
"""Of the 64 of a perceptual hash: so alike that a person should look whether it shows the same."""


def rows_with(places: Places, photo_id: str) -> dict[str, int]:
    """Rows that name a photo, by table; of the ledger, those that are not marked as erased."""
    found: dict[str, int] = {}
    for name, partition in places.tables.files():
        frame = places.tables.read_as_written(name, partition)
        if name == LEDGER:
            frame = frame.filter(pl.col("status") != "erased")
        count = holds(frame, photo_id)
        if count:
            found[name] = found.get(name, 0) + count
    return found


def is_known(places: Places, photo_id: str) -> bool:
    """Whether anything here knows the photo, be it by its tombstone alone."""
    return bool(
        places.photos.tombstones().get(photo_id)
        or places.photos.stored(photo_id)
        or places.datasets.photos().of(photo_id)
        or rows_with(places, photo_id)
        or places.datasets.holding(photo_id)
    )


def event_texts(photo_id: str, uploads: Sequence[Upload]) -> list[str]:
    """What gives the photo away in Dagster's event log."""
    return [photo_id[:EVENT_DIGITS], *sorted({upload.name for upload in uploads})]


def upload_names(uploads: Sequence[Upload]) -> list[str]:
    """`<enclosure>/<file>` of each upload, as labels name it."""
    return sorted({upload.name.partition("/")[2] for upload in uploads})


def near_duplicates(places: Places, photo_id: str) -> list[str]:
    """photo_ids of the photos that show nearly the same: by the table, and by the distance of perceptual hashes."""
    columns = ["photo_id", "perceptual_hash", "near_duplicate_of"]
    cleaned = places.tables.read_days("clean_photos", CLEAN_PHOTOS, columns=columns)
    own = cleaned.filter(pl.col("photo_id") == photo_id)
    if own.is_empty():
        return []
    target, code = own.row(0, named=True)["near_duplicate_of"], own.row(0, named=True)["perceptual_hash"]
    others = cleaned.filter(pl.col("photo_id") != photo_id)
    named = others.filter((pl.col("near_duplicate_of") == photo_id) | (pl.col("photo_id") == target))["photo_id"]
    near = [
        other
        for other, other_code in others.select("photo_id", "perceptual_hash").drop_nulls().iter_rows()
        if len(other_code) == len(code) and (int(other_code, 16) ^ int(code, 16)).bit_count() <= NEAR_BITS
    ]
    return sorted({*named, *near})


def remaining(places: Places, photo_id: str) -> dict[str, int]:
    """Where something of the photo still is, with how much; empty after a complete erasure."""
    counts = {f"table {name}": count for name, count in rows_with(places, photo_id).items()}
    counts |= {f"database {name}": count for name, count in places.database.rows_with(photo_id, TABLES).items()}
    counts["store"] = len(places.photos.stored(photo_id))
    counts["photos of dataset versions"] = len(places.datasets.photos().of(photo_id))
    counts["landing"] = len(uploads_of(places, photo_id))
    counts["ledger names"] = _named_in_ledger(places, photo_id)
    counts["pages"] = _pages_with(places, photo_id)
    counts["scratch"] = len(list(places.scratch.rglob(f"*{photo_id}*"))) if places.scratch.is_dir() else 0
    counts["dataset versions"] = sum(
        holds(rows, photo_id) for rows in (places.datasets.rows(f) for f in places.datasets.holding(photo_id))
    )
    return {where: count for where, count in counts.items() if count}


def _named_in_ledger(places: Places, photo_id: str) -> int:
    ledger = places.tables.read_days("raw_photos", RAW_PHOTOS).filter(pl.col("photo_id") == photo_id)
    return ledger.filter(~pl.col("landing_uri").str.starts_with("erased:")).height


def _pages_with(places: Places, photo_id: str) -> int:
    if not places.pages.is_dir():
        return 0
    pattern = re.compile(photo_id.encode())
    return sum(bool(pattern.search(page.read_bytes())) for page in places.pages.rglob("*.html"))
