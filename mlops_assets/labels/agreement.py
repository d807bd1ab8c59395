"""How far several annotators agree on a photo, and on what they do not.

The latest labelling of each named annotator counts. Boxes of two are matched one to one, the largest overlap first, at
an intersection over union of 0.5 or more. Their agreement is 2 x matched boxes of one class / all boxes of both, the
F1 measure with one as the truth of the other; of more than two, the mean over pairs.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import polars as pl

from mlops_assets.boxes import BOX_COLUMNS
from mlops_assets.labels.schema import LABEL_CONFLICTS

MIN_OVERLAP = 0.5
"""Intersection over union from which two boxes are of one object."""

_NAMED = 5
"""Disagreements of a photo that are named; more are counted."""

NamedBox = tuple[str, float, float, float, float]
"""Class name, centre x and y, width and height relative to the photo."""


def label_conflicts(labellings: pl.DataFrame, boxes: pl.DataFrame) -> pl.DataFrame:
    """Agreement on each photo that two or more named annotators have labelled.

    Args:
        labellings: photo, photo_id, annotator, annotated_at, in the order in which they count.
        boxes: photo, class_name, box.

    Returns:
        LABEL_CONFLICTS, the least agreement first.
    """
    of_each = (
        labellings.drop_nulls("annotator")
        .with_row_index("order")
        .sort("annotated_at", "order")
        .unique(["photo_id", "annotator"], keep="last", maintain_order=True)
        .filter(pl.len().over("photo_id") > 1)
    )
    drawn: dict[int, list[NamedBox]] = {photo: [] for photo in of_each["photo"]}
    wanted = boxes.join(of_each.select("photo"), on="photo", how="semi", maintain_order="left")
    for photo, *box in wanted.select("photo", "class_name", *BOX_COLUMNS).iter_rows():
        drawn[photo].append(tuple(box))
    rows = []
    for (photo_id,), group in of_each.sort("photo_id", "annotator").group_by("photo_id", maintain_order=True):
        by_annotator = {name: drawn[photo] for photo, name in group.select("photo", "annotator").iter_rows()}
        agreement, differences = compare(by_annotator)
        rows.append((photo_id, list(by_annotator), agreement, _in_words(differences)))
    return pl.DataFrame(rows, schema=LABEL_CONFLICTS, orient="row").sort("agreement", "photo_id")


def compare(by_annotator: Mapping[str, Sequence[NamedBox]]) -> tuple[float, list[str]]:
    """Agreement of two or more annotators on one photo, and each difference in words."""
    shares, differences = [], []
    for (one, ones), (other, others) in combinations(by_annotator.items(), 2):
        pairs = match(ones, others)
        agreed = sum(ones[i][0] == others[j][0] for i, j in pairs)
        total = len(ones) + len(others)
        shares.append(2 * agreed / total if total else 1.0)
        differences += [
            f"{_at(ones[i])} is {ones[i][0]} to {one} and {others[j][0]} to {other}"
            for i, j in pairs
            if ones[i][0] != others[j][0]
        ]
        taken, taken_others = {i for i, _ in pairs}, {j for _, j in pairs}
        differences += [f"only {one}: {b[0]} {_at(b)}" for i, b in enumerate(ones) if i not in taken]
        differences += [f"only {other}: {b[0]} {_at(b)}" for j, b in enumerate(others) if j not in taken_others]
    return sum(shares) / len(shares), differences


def match(ones: Sequence[NamedBox], others: Sequence[NamedBox]) -> list[tuple[int, int]]:
    """Pairs of indices of boxes that overlap by MIN_OVERLAP, whatever their class, the largest overlap first."""
    overlaps = sorted(
        ((overlap(a, b), a[0] == b[0], -i, -j) for i, a in enumerate(ones) for j, b in enumerate(others)), reverse=True
    )
    pairs: list[tuple[int, int]] = []
    taken: set[int] = set()
    taken_others: set[int] = set()
    for share, _, i, j in overlaps:
        if share >= MIN_OVERLAP and -i not in taken and -j not in taken_others:
            pairs.append((-i, -j))
            taken.add(-i)
            taken_others.add(-j)
    return sorted(pairs)


def overlap(one: NamedBox, other: NamedBox) -> float:
    """Intersection over union."""
    across = min(one[1] + one[3] / 2, other[1] + other[3] / 2) - max(one[1] - one[3] / 2, other[1] - other[3] / 2)
    down = min(one[2] + one[4] / 2, other[2] + other[4] / 2) - max(one[2] - one[4] / 2, other[2] - other[4] / 2)
    shared = max(across, 0.0) * max(down, 0.0)
    whole = one[3] * one[4] + other[3] * other[4] - shared
    return shared / whole if whole > 0 else 0.0


def _at(box: NamedBox) -> str:
    return f"at ({box[1]:.2f}, {box[2]:.2f})"


def _in_words(differences: Sequence[str]) -> str | None:
    more = len(differences) - _NAMED
    named = "; ".join(differences[:_NAMED])
    return (named + (f"; and {more} more" if more > 0 else "")) or None
