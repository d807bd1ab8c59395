"""Keeping the bytes of a dataset's photos, only those that are new or were normalised anew."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import polars as pl

from mlops_assets.dataset.schema import DATASET_PHOTOS

TABLE = "dataset_photos"

CHUNK = 20_000
"""Photos after which the table is saved: a run that is cut off goes on from there."""


def keep_photos(
    wanted: pl.DataFrame,
    kept: pl.DataFrame,
    keep: Callable[[str], str],
    *,
    workers: int,
    save: Callable[[pl.DataFrame], object],
    report: Callable[[int, int], None] = lambda _done, _total: None,
) -> pl.DataFrame:
    """Keep the photos of which no bytes of the same examination are kept.

    A photo's normalised bytes change only with `examined_by`, so that what is unchanged costs no look at the store.

    Args:
        wanted: photo_id, examined_by; unique by photo_id.
        kept: DATASET_PHOTOS as last saved.
        keep: Keeps the bytes of a photo_id and gives their SHA-256, hex; called from several threads.
        workers: Threads.
        save: Called with DATASET_PHOTOS after each chunk; not at all where nothing is new.
        report: Called with the photos done and all that are new.

    Returns:
        DATASET_PHOTOS, also of photos that are not wanted now.

    Raises:
        Exception: What `keep` raises.
    """
    new = wanted.join(kept, on=["photo_id", "examined_by"], how="anti", nulls_equal=True).sort("photo_id")
    with ThreadPoolExecutor(workers) as pool:
        for done, chunk in enumerate(new.iter_slices(CHUNK)):
            hashes = list(pool.map(keep, chunk["photo_id"]))
            rows = chunk.with_columns(photo_sha256=pl.Series(hashes, dtype=pl.String)).select(DATASET_PHOTOS.names())
            kept = pl.concat([kept.join(rows, on="photo_id", how="anti"), rows])
            save(kept)
            report(min((done + 1) * CHUNK, new.height), new.height)
    return kept
