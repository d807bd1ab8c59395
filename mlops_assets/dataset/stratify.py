"""Placing groups that carry several classes each so that every split gets its share of every class.

Iterative stratification (Sechidis, Tsoumakas, Vlahavas, On the Stratification of Multi-Label Data, 2011): the class
with the fewest groups left is placed first; then single moves and exchanges improve the result. Coverage goes before
shares. What a group or a class is belongs in `splits`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.float64]

MAX_ROUNDS = 10
"""Rounds of improvement; small sets settle within three."""

MAX_EXCHANGES = 100
"""Groups up to which pairs are tried for exchange, which costs their square; larger sets balance without it."""

CLOSE_ENOUGH = 1e-3
"""Deviation from the wanted share of a class, of all its boxes, that is not improved on where there are many groups."""


@dataclass(frozen=True)
class Target:
    """What is aimed at.

    Attributes:
        shares: Wanted share of each split, (splits,), positive, sum 1, the splits in the order in which a class needs
            them while it has few groups.
        totals: Boxes of each class over everything placed and to be placed, (classes,), positive.
    """

    shares: Counts
    totals: Counts

    def score(self, placed: Counts) -> tuple[float, ...]:
        """How far (splits, classes) is from the target; less is better, compared from the left.

        The number of classes that each split lacks, then the squared deviations relative to the share. The last
        column, the enclosures themselves, counts for the deviation only.
        """
        lacking = (placed[:, :-1] == 0).sum(axis=1)
        deviation = (((placed / self.totals - self.shares[:, None]) ** 2) / self.shares[:, None]).sum()
        return (*map(float, lacking), round(float(deviation), 9))

    def nearest(self, placed: Counts, added: Counts) -> int:
        """The split in which a group, (classes,), brings the deviation down most; ties go to the first."""
        off, more = placed / self.totals - self.shares[:, None], added / self.totals
        return int(np.argmin((((2 * off + more) * more).sum(axis=1) / self.shares).round(12)))


def stratify(counts: Counts, placed: Counts, shares: Sequence[float]) -> list[int]:
    """Choose a split for each group.

    Each class of a group ends in the first split, if no group of it is there yet.

    Args:
        counts: Boxes, (groups, classes + 1); the last column is the number of enclosures, at least 1.
        placed: The same summed over what each split already holds, (splits, classes + 1).
        shares: As in `Target`.

    Returns:
        Index of the split of each group; ties go to the group and split named first.
    """
    totals = placed.sum(axis=0) + counts.sum(axis=0)
    present = totals > 0
    counts, placed = counts[:, present], placed[:, present].copy()
    target = Target(np.asarray(shares, dtype=np.float64), totals[present])
    chosen = np.full(len(counts), -1)
    for group in _first_placement(counts, placed, target, chosen):
        placed[chosen[group]] += counts[group]
    _improve(counts, placed, target, chosen)
    return [int(split) for split in chosen]


def _first_placement(counts: Counts, placed: Counts, target: Target, chosen: npt.NDArray[np.int_]) -> list[int]:
    """Fill `chosen` group by group; `placed` is left as it was."""
    placed = placed.copy()
    carries = counts > 0
    groups_left = carries.sum(axis=0)
    waiting = np.ones(len(counts), dtype=np.bool_)
    by_class = np.asfortranarray(counts)
    order: list[int] = []
    for _ in range(len(counts)):
        rarest = _rarest(groups_left)
        group = int(np.argmax(np.where(waiting, by_class[:, rarest], -1)))
        split = _needed(carries[group], groups_left, placed)
        if split is None:
            split = target.nearest(placed, counts[group])
        chosen[group] = split
        placed[split] += counts[group]
        groups_left -= carries[group]
        waiting[group] = False
        order.append(group)
    return order


def _rarest(groups_left: npt.NDArray[np.int_]) -> int:
    """Class with the fewest groups left; the last column, the enclosures, only when no class is left."""
    classes = np.where(groups_left[:-1] > 0, groups_left[:-1], np.iinfo(np.int64).max)
    return int(np.argmin(classes)) if (groups_left[:-1] > 0).any() else len(groups_left) - 1


def _needed(carried: npt.NDArray[np.bool_], groups_left: npt.NDArray[np.int_], placed: Counts) -> int | None:
    """First split that a class of the group lacks while no more groups of it are left than splits lack it."""
    lacks = placed[:, :-1] == 0
    urgent = carried[:-1] & (groups_left[:-1] <= lacks.sum(axis=0))
    first_lacking = np.argmax(lacks[:, urgent & lacks.any(axis=0)], axis=0)
    return int(first_lacking.min()) if first_lacking.size else None


def _improve(counts: Counts, placed: Counts, target: Target, chosen: npt.NDArray[np.int_]) -> None:
    """Move single groups and exchange pairs as long as the score falls; changes `placed` and `chosen`."""
    groups = range(len(counts))
    many = len(counts) > MAX_EXCHANGES
    pairs = [] if many else [(a, b) for a in groups for b in groups if a < b]
    for _ in range(MAX_ROUNDS):
        before = target.score(placed)
        if many and not any(before[:-1]) and before[-1] < CLOSE_ENOUGH**2 * placed.shape[1]:
            return
        for group in groups:
            for split in range(len(placed)):
                _try(counts, placed, target, chosen, {group: split})
        for a, b in pairs:
            _try(counts, placed, target, chosen, {a: int(chosen[b]), b: int(chosen[a])})
        if target.score(placed) >= before:
            return


def _try(counts: Counts, placed: Counts, target: Target, chosen: npt.NDArray[np.int_], moves: dict[int, int]) -> None:
    """Make the moves {group: split} if that lowers the score."""
    if all(chosen[group] == split for group, split in moves.items()):
        return
    trial = placed.copy()
    for group, split in moves.items():
        trial[chosen[group]] -= counts[group]
        trial[split] += counts[group]
    if target.score(trial) < target.score(placed):
        placed[:] = trial
        for group, split in moves.items():
            chosen[group] = split
