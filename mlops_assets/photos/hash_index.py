"""All days' hashes in memory, 8 bytes a photo, and which of them are near to given ones.

Positions count the photos of all days in their order; a day and a row lead from there to what else is known of a
photo, so that no photo_id needs to be in memory. What a hash is, is in `perceptual_hashes`.
"""

import datetime as dt
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlops_assets.photos.parallel import available_cores
from mlops_assets.photos.perceptual_hashes import Hashes

_BLOCK = 65_536
"""Hashes that are compared at once: half a megabyte, which stays in a core's own cache."""


@dataclass(frozen=True)
class Hits:
    """What was found for one hash, nearest first, of equally near ones the earliest."""

    positions: npt.NDArray[np.int64]
    distances: npt.NDArray[np.uint8]


class HashIndex:
    """Hashes of the photos of all days, searched from one end to the other.

    Comparing all is what takes the time, and both cores do it. Indexes by parts of the hash are faster only for
    distances of a few bits (docs/decisions.md).
    """

    def __init__(self, days: Iterable[tuple[str, Hashes]]) -> None:
        """Take in days with the hashes of their photos, earliest first; a day is held no longer than it is read."""
        self._days: list[str] = []
        self._starts: list[int] = []
        self._blocks: list[Hashes] = []
        waiting: list[Hashes] = []
        count = 0
        for day, hashes in days:
            self._days.append(day)
            self._starts.append(count)
            count += len(hashes)
            waiting.append(hashes)
            if sum(map(len, waiting)) >= _BLOCK:
                waiting = self._keep(waiting)
        self._size = count
        self._keep(waiting, rest=True)

    def __len__(self) -> int:
        return self._size

    def _keep(self, waiting: Sequence[Hashes], *, rest: bool = False) -> list[Hashes]:
        """Cut what waits into blocks, and give back what does not fill one, or keep that as well."""
        joined = np.concatenate([np.empty(0, np.uint64), *waiting])
        full = len(joined) if rest else len(joined) // _BLOCK * _BLOCK
        # Copies, or each block would hold on to all that it was cut from.
        self._blocks += [joined[start : min(start + _BLOCK, full)].copy() for start in range(0, full, _BLOCK)]
        return [joined[full:].copy()]

    @property
    def days(self) -> tuple[str, ...]:
        """Days that were taken in, earliest first."""
        return tuple(self._days)

    def hashes_at(self, positions: npt.NDArray[np.int64]) -> Hashes:
        """Hashes at n positions, (n,).

        Raises:
            IndexError: There is no such position.
        """
        found = np.empty(len(positions), np.uint64)
        blocks = positions // _BLOCK
        for number in np.unique(blocks).tolist():
            within = blocks == number
            found[within] = self._blocks[number][positions[within] % _BLOCK]
        return found

    def hashes_of(self, day: str) -> Hashes:
        """Hashes of a day's photos in their order.

        Raises:
            ValueError: The day was not taken in.
        """
        number = self._days.index(day)
        end = self._starts[number + 1] if number + 1 < len(self._starts) else self._size
        return self.hashes_at(np.arange(self._starts[number], end))

    def start_of(self, day: str) -> int:
        """Position of a day's first photo.

        Raises:
            ValueError: The day was not taken in.
        """
        return self._starts[self._days.index(day)]

    def day_numbers(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Days of n positions, counted from 0001-01-01, (n,)."""
        ordinals = np.array([dt.date.fromisoformat(day).toordinal() for day in self._days], np.int64)
        return ordinals[np.searchsorted(self._starts, positions, side="right") - 1]

    def place(self, position: int) -> tuple[str, int]:
        """Day and row in it of a position."""
        number = bisect_right(self._starts, position) - 1
        return self._days[number], position - self._starts[number]

    def near(self, hashes: Hashes, distance: int, *, limit: int, workers: int | None = None) -> list[Hits]:
        """For each hash, those within a distance.

        Args:
            hashes: (n,).
            distance: Largest number of differing bits.
            limit: How many are kept of each, the nearest and then the earliest.
            workers: Threads; as many as there are cores where None.
        """
        workers = workers or available_cores()
        parts = [part for part in np.array_split(hashes, workers) if len(part)]
        with ThreadPoolExecutor(workers, thread_name_prefix="hashes") as pool:
            found = list(pool.map(lambda part: self._search(part, distance, limit), parts))
        return [hits for part in found for hits in part]

    def _search(self, hashes: Hashes, distance: int, limit: int) -> list[Hits]:
        nearest = [_Nearest(limit) for _ in hashes]
        apart = np.empty(_BLOCK, np.uint64)
        bits = np.empty(_BLOCK, np.uint8)
        for number, block in enumerate(self._blocks):
            block_apart, block_bits = apart[: len(block)], bits[: len(block)]
            for value, kept in zip(hashes, nearest, strict=True):
                np.bitwise_xor(block, value, out=block_apart)
                np.bitwise_count(block_apart, out=block_bits)
                if block_bits.min() <= distance:
                    rows = np.flatnonzero(block_bits <= distance)
                    kept.add(rows + number * _BLOCK, block_bits[rows])
        return [kept.hits() for kept in nearest]


class _Nearest:
    """The nearest of what is added in the order of positions, in bounded memory."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._positions: list[npt.NDArray[np.int64]] = []
        self._distances: list[npt.NDArray[np.uint8]] = []
        self._count = 0

    def add(self, positions: npt.NDArray[np.int64], distances: npt.NDArray[np.uint8]) -> None:
        self._positions.append(positions)
        self._distances.append(distances)
        self._count += len(positions)
        if self._count > 2 * self._limit:
            kept = self.hits()
            self._positions, self._distances, self._count = [kept.positions], [kept.distances], len(kept.positions)

    def hits(self) -> Hits:
        positions = np.concatenate([np.empty(0, np.int64), *self._positions])
        distances = np.concatenate([np.empty(0, np.uint8), *self._distances])
        order = np.lexsort((positions, distances))[: self._limit]
        return Hits(positions[order], distances[order])
