"""Which photos are the same shot, and which shots would stand in more than one split.

What makes two photos near-duplicates is decided in the photo stage; here they are only put together.
"""

from collections.abc import Iterable

import polars as pl

from mlops_assets.dataset.schema import SPLITS


def connected(nodes: Iterable[str], pairs: Iterable[tuple[str, ...]]) -> dict[str, str]:
    """Least name of the connected component of each node, and of each name in a pair (union-find)."""
    parent = {node: node for node in nodes}

    def root(node: str) -> str:
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for first, second in pairs:
        low, high = sorted((root(first), root(second)))
        parent[high] = low
    return {node: root(node) for node in list(parent)}


def with_shots(photos: pl.DataFrame) -> pl.DataFrame:
    """Add `shot`: photos that are near-duplicates, also over a third one that is not among them, have the same.

    Args:
        photos: photo_id, near_duplicate_of; all photos, since a rejected or unlabelled one may connect two others.
    """
    pairs = photos.select("photo_id", "near_duplicate_of").drop_nulls()
    roots = connected((), pairs.iter_rows())
    named = pl.DataFrame(
        {"photo_id": list(roots), "shot": list(roots.values())}, {"photo_id": pl.String, "shot": pl.String}
    )
    return photos.join(named, on="photo_id", how="left", maintain_order="left").with_columns(
        pl.coalesce("shot", "photo_id").alias("shot")
    )


def standing_twice(photos: pl.DataFrame) -> pl.DataFrame:
    """Photos to leave out, so that a shot stands in one split only.

    Test photos always stay: what is measured on is frozen. A shot that stands in val and train stays in val.

    Args:
        photos: photo_id, shot, split.

    Returns:
        photo_id, stays_in (the split that keeps the shot).
    """
    order = {split: rank for rank, split in enumerate(reversed(SPLITS))}
    ranked = photos.select(
        "photo_id", "shot", "split", rank=pl.col("split").replace_strict(order, return_dtype=pl.Int8)
    )
    stays_in = pl.col("split").sort_by("rank").first().over("shot")
    return (
        ranked.with_columns(stays_in=stays_in)
        .filter(pl.col("split") != pl.col("stays_in"))
        .select("photo_id", "stays_in")
    )


def splits_by_shot(dataset: pl.DataFrame, clean_photos: pl.DataFrame) -> pl.DataFrame:
    """In how many splits each shot of a dataset stands; one where nothing leaks.

    Args:
        dataset: photo_id, split.
        clean_photos: photo_id, near_duplicate_of of all days.

    Returns:
        shot, photos, splits.
    """
    homes = with_shots(clean_photos.select("photo_id", "near_duplicate_of").unique("photo_id", keep="first"))
    return (
        dataset.select("photo_id", "split")
        .unique()
        .join(homes.select("photo_id", "shot"), on="photo_id", how="left")
        .group_by(shot=pl.coalesce("shot", "photo_id"))
        .agg(photos=pl.col("photo_id").n_unique(), splits=pl.col("split").n_unique())
    )
