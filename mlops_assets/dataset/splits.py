"""Which enclosure trains, validates or tests: append only, frozen, balanced over classes, no near-duplicate apart.

Enclosures, not photos, are split, since photos of one enclosure show the same equipment. Where near-duplicates connect
enclosures that were placed apart before, no enclosure moves: `building` leaves photos out.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from mlops_assets.dataset.schema import SPLIT_ASSIGNMENTS, SPLITS
from mlops_assets.dataset.shots import connected, with_shots
from mlops_assets.dataset.stratify import stratify
from mlops_assets.use_case import SplitRules

ENCLOSURE_CLASS_COUNTS = pl.Schema({"enclosure_id": pl.String(), "class_id": pl.Int32(), "boxes": pl.Int64()})
"""One row a labelled enclosure and class; class_id null for the photos that were labelled as empty."""

ENCLOSURE_PAIRS = pl.Schema({"enclosure_id": pl.String(), "other_enclosure_id": pl.String()})
"""Two enclosures that share near-duplicate photos."""

_COVERAGE_ORDER = ("train", "test", "val")
"""Which split a class needs first while it has few enclosures: unlearnable is worse than unjudgeable."""

_WHOLE = -1
"""Stands for the enclosure itself beside its classes, so that the number of enclosures is balanced too."""


@dataclass(frozen=True, slots=True)
class _Group:
    """Enclosures that stay together: boxes by class, and under _WHOLE the number of enclosures."""

    name: str
    enclosures: tuple[str, ...]
    counts: dict[int, int]


def enclosure_class_counts(annotations: pl.DataFrame, photos: pl.DataFrame) -> pl.DataFrame:
    """Boxes of each class in each labelled enclosure.

    Args:
        annotations: ANNOTATIONS.
        photos: photo_id, enclosure_id of accepted photos; the first row of a photo_id counts.

    Returns:
        ENCLOSURE_CLASS_COUNTS, sorted.
    """
    homes = photos.select("photo_id", "enclosure_id").unique("photo_id", keep="first", maintain_order=True)
    return (
        annotations.join(homes, on="photo_id")
        .group_by("enclosure_id", "class_id")
        .agg(pl.col("box_x").count().cast(pl.Int64).alias("boxes"))
        .sort("enclosure_id", "class_id")
        .match_to_schema(ENCLOSURE_CLASS_COUNTS)
    )


def near_duplicate_enclosures(clean_photos: pl.DataFrame, photos: pl.DataFrame) -> pl.DataFrame:
    """Pairs of different enclosures that have photos of the same shot, each with the first of the shot's enclosures.

    Args:
        clean_photos: photo_id, near_duplicate_of of all photos.
        photos: photo_id, enclosure_id.

    Returns:
        ENCLOSURE_PAIRS, sorted.
    """
    homes = photos.select("photo_id", "enclosure_id").unique("photo_id", keep="first", maintain_order=True)
    shots = with_shots(clean_photos.select("photo_id", "near_duplicate_of"))
    return (
        homes.join(shots.select("photo_id", "shot"), on="photo_id")
        .select("enclosure_id", other_enclosure_id=pl.col("enclosure_id").min().over("shot"))
        .filter(pl.col("enclosure_id") != pl.col("other_enclosure_id"))
        .select(ENCLOSURE_PAIRS.names())
        .unique()
        .sort(ENCLOSURE_PAIRS.names())
    )


def assign_splits(
    labelled_enclosures: pl.DataFrame, near_duplicates: pl.DataFrame, previous: pl.DataFrame, rules: SplitRules
) -> pl.DataFrame:
    """Append new labelled enclosures to the assignments.

    Previous rows stay as they are, in their order. An enclosure that shares near-duplicates with assigned ones joins
    the group and split of the earliest of them; where those lie in different splits, `split_conflicts` tells. Other
    new groups are placed by `stratify`: each split's share of the boxes of every class, and of the enclosures,
    approaches the wanted one. Coverage goes before shares: first train, then test, then val get an enclosure of each
    class, so that a class with a new group is always in train.

    Args:
        labelled_enclosures: ENCLOSURE_CLASS_COUNTS of all labelled enclosures, assigned ones too.
        near_duplicates: ENCLOSURE_PAIRS; a chain may lead over enclosures that are not labelled.
        previous: SPLIT_ASSIGNMENTS as last written; may be empty.
        rules: Shares and seed.

    Returns:
        SPLIT_ASSIGNMENTS, previous rows first, new ones by enclosure_id.

    Raises:
        ValueError: The shares of val and test leave nothing for training.
    """
    shares = _shares(rules)
    assigned = {enclosure: (group, split) for enclosure, group, split in previous.iter_rows()}
    labelled = sorted(set(labelled_enclosures["enclosure_id"]))
    roots = connected([*assigned, *labelled], near_duplicates.select(ENCLOSURE_PAIRS.names()).iter_rows())
    joined: dict[str, tuple[str, str]] = {}
    for enclosure, group_and_split in assigned.items():
        joined.setdefault(roots[enclosure], group_and_split)
    counts = _counts(labelled_enclosures)
    placed: dict[str, dict[int, int]] = {split: defaultdict(int) for split in SPLITS}
    waiting: dict[str, list[str]] = defaultdict(list)
    result: dict[str, tuple[str, str]] = {}
    for enclosure in labelled:
        settled = assigned.get(enclosure) or joined.get(roots[enclosure])
        if settled is None:
            waiting[roots[enclosure]].append(enclosure)
            continue
        _add(placed[settled[1]], counts[enclosure])
        if enclosure not in assigned:
            result[enclosure] = settled
    groups = [_group(members, counts) for members in waiting.values()]
    split_of = _place(groups, placed, shares, rules.seed)
    for group in groups:
        result.update(dict.fromkeys(group.enclosures, (group.name, split_of[group.name])))
    rows = [(enclosure, *result[enclosure]) for enclosure in sorted(result)]
    return pl.concat([previous, pl.DataFrame(rows, schema=SPLIT_ASSIGNMENTS, orient="row")])


def split_conflicts(assignments: pl.DataFrame, near_duplicates: pl.DataFrame) -> pl.DataFrame:
    """Near-duplicate enclosures that lie in different splits, since both were assigned before it was known.

    Returns:
        enclosure_id, split, other_enclosure_id, other_split.
    """
    sides = assignments.select("enclosure_id", "split")
    others = sides.rename({"enclosure_id": "other_enclosure_id", "split": "other_split"})
    return (
        near_duplicates.join(sides, on="enclosure_id")
        .join(others, on="other_enclosure_id")
        .filter(pl.col("split") != pl.col("other_split"))
        .select("enclosure_id", "split", "other_enclosure_id", "other_split")
        .sort("enclosure_id", "other_enclosure_id")
    )


def _shares(rules: SplitRules) -> dict[str, float]:
    train = 1.0 - rules.val - rules.test
    if train <= 0:
        raise ValueError(f"split.val {rules.val} and split.test {rules.test} leave nothing for training; lower them")
    return {"train": train, "val": rules.val, "test": rules.test}


def _counts(labelled_enclosures: pl.DataFrame) -> dict[str, dict[int, int]]:
    counts: dict[str, dict[int, int]] = defaultdict(lambda: {_WHOLE: 1})
    for enclosure, class_id, boxes in labelled_enclosures.select(ENCLOSURE_CLASS_COUNTS.names()).iter_rows():
        own = counts[enclosure]
        if class_id is not None and boxes:
            own[class_id] = own.get(class_id, 0) + boxes
    return counts


def _group(members: Sequence[str], counts: dict[str, dict[int, int]]) -> _Group:
    total: dict[int, int] = defaultdict(int)
    for enclosure in members:
        _add(total, counts[enclosure])
    return _Group(min(members), tuple(sorted(members)), dict(total))


def _add(total: dict[int, int], counts: dict[int, int]) -> None:
    for class_id, boxes in counts.items():
        total[class_id] = total.get(class_id, 0) + boxes


def _place(
    groups: Sequence[_Group], placed: dict[str, dict[int, int]], shares: dict[str, float], seed: int
) -> dict[str, str]:
    """Split of each group by its name."""
    wanted = [split for split in _COVERAGE_ORDER if shares[split] > 0]
    ordered = sorted(groups, key=lambda group: hashlib.sha256(f"{seed}:{group.name}".encode()).hexdigest())
    everything = [*(placed[split] for split in wanted), *(group.counts for group in ordered)]
    classes = [*sorted({class_id for counts in everything for class_id in counts} - {_WHOLE}), _WHOLE]
    table = np.array([[counts.get(class_id, 0) for class_id in classes] for counts in everything], dtype=np.float64)
    chosen = stratify(table[len(wanted) :], table[: len(wanted)], [shares[split] for split in wanted])
    return {group.name: wanted[split] for group, split in zip(ordered, chosen, strict=True)}
