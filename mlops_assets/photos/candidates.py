"""Which earlier photos a photo may repeat, from hashes alone: no photo is read.

Of all days the photos with a near hash, and of the last days' photos of the same enclosure or by the same technician
also those whose hash is further off, as that of a crop is. What decides is `same_shot`.
"""

import datetime as dt
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from mlops_assets.photos.hash_index import HashIndex
from mlops_assets.photos.perceptual_hashes import Hashes, as_integers
from mlops_assets.use_case import NearDuplicateRules

COMPARED = pl.Schema(
    {
        "photo_id": pl.String(),
        "enclosure_id": pl.String(),
        "technician": pl.String(),
        "perceptual_hash": pl.String(),
    }
)
"""What is known of a photo before it is looked at."""

HITS = 512
"""Photos of all days that are kept for one hash, nearest first: what bounds memory where thousands look alike."""

Positions = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]
"""Numbers of enclosures or technicians of the day, -1 for others and where it is not known."""

_UNKNOWN = -1


class ChangedDayError(RuntimeError):
    """An earlier day was written anew while it was being compared with; a retry reads all of it anew."""


@dataclass(frozen=True)
class Earlier:
    """The photos of all earlier days."""

    hashes: Iterable[tuple[str, Sequence[str]]]
    """Days, earliest first, with the perceptual hashes of their photos by landing_uri; gone through once."""
    read_day: Callable[[str], pl.DataFrame]
    """From one of these days to COMPARED in the same order."""


def all_of(days: Mapping[str, pl.DataFrame]) -> Earlier:
    """Earlier photos that are in memory: COMPARED by day, each by landing_uri."""
    ordered = sorted(days.items())
    return Earlier([(day, frame["perceptual_hash"].to_list()) for day, frame in ordered], days.__getitem__)


def comparable(clean: pl.DataFrame, raw: pl.DataFrame) -> pl.DataFrame:
    """COMPARED of a day, in the order of its cleaned photos.

    Args:
        clean: photo_id and perceptual_hash.
        raw: RAW_PHOTOS of the same day.
    """
    accepted = raw.filter(pl.col("status") == "accepted").select("photo_id", "enclosure_id", "technician")
    return clean.join(accepted, on="photo_id", how="left", maintain_order="left").select(COMPARED.names())


@dataclass(frozen=True)
class Candidates:
    """Photos that came before one and may be the same shot, in the order of days and landing_uri."""

    positions: Positions
    hashes: Hashes
    nearby: npt.NDArray[np.bool_]
    """Of the same enclosure or technician, a few days back at the most."""


class Neighbourhood:
    """The photos of a day among all that came before them; positions are those of a HashIndex over both."""

    def __init__(self, day: str, photos: pl.DataFrame, earlier: Earlier) -> None:
        """Read the hashes of all earlier days; `photos` are COMPARED, by landing_uri."""
        self.photos = photos
        self.hashes = as_integers(photos["perceptual_hash"].to_list())
        self._day = day
        self._earlier = earlier
        self.index = HashIndex(self._days())
        self.start = self.index.start_of(day)

    def _days(self) -> Iterator[tuple[str, Hashes]]:
        for day, hashes in self._earlier.hashes:
            yield day, as_integers(hashes)
        yield self._day, self.hashes

    def candidates(self, rules: NearDuplicateRules, *, workers: int | None = None) -> list[Candidates]:
        """Candidates of each photo of the day."""
        everywhere = self.index.near(self.hashes, rules.everywhere_distance, limit=HITS, workers=workers)
        lately = self._lately(rules.nearby_days)
        found = []
        for number, hits in enumerate(everywhere):
            before = self.start + number
            near = lately.near(number - self.photos.height, before, self.hashes[number], rules.nearby_distance)
            positions = np.union1d(hits.positions[hits.positions < before], near)
            found.append(Candidates(positions, self.index.hashes_at(positions), np.isin(positions, near)))
        return found

    def digest(self, number: int, candidates: Candidates, rules: NearDuplicateRules) -> str:
        """What the outcome for a photo follows from, as 16 hexadecimal digits.

        Candidates count by day, hash and order; their photo_ids are on disk. A photo that takes another's place in
        its day under the same hash is therefore not told apart.
        """
        days = self.index.day_numbers(candidates.positions)
        named = [self.photos["photo_id"][number], self.photos["enclosure_id"][number], rules.model_dump_json()]
        parts = [days.tobytes(), candidates.hashes.tobytes(), candidates.nearby.tobytes()]
        return hashlib.sha256(b"\0".join([*(str(value).encode() for value in named), *parts])).hexdigest()[:16]

    def known(self, positions: Iterable[int]) -> dict[int, tuple[str, str]]:
        """photo_id and enclosure_id at positions; each earlier day is read once, and one at a time.

        Photos that are no longer accepted, whose day has yet to be cleaned again, are left out.

        Raises:
            ChangedDayError: An earlier day no longer has the photos that it had when its hashes were read.
        """
        by_day: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for position in sorted(set(positions)):
            day, row = self.index.place(position)
            by_day[day].append((position, row))
        found: dict[int, tuple[str, str]] = {}
        for day, places in by_day.items():
            frame = self._read(day)
            rows = frame.select("photo_id", "enclosure_id")[[row for _, row in places]].rows()
            found |= {position: row for (position, _), row in zip(places, rows, strict=True) if row[1] is not None}
        return found

    def _read(self, day: str) -> pl.DataFrame:
        if day == self._day:
            return self.photos
        frame = self._earlier.read_day(day)
        if not np.array_equal(as_integers(frame["perceptual_hash"].to_list()), self.index.hashes_of(day)):
            raise ChangedDayError(f"The photos of {day} were written anew while {self._day} was compared with them")
        return frame

    def _lately(self, days: int) -> "_Lately":
        first = (dt.date.fromisoformat(self._day) - dt.timedelta(days=days)).isoformat()
        enclosures = {value: code for code, value in enumerate(self.photos["enclosure_id"].unique().to_list())}
        technicians = {value: code for code, value in enumerate(self.photos["technician"].unique().drop_nulls())}
        parts: list[tuple[Positions, Hashes, Codes, Codes]] = []
        for day in self.index.days:
            if day < first:
                continue
            frame = self._read(day)
            enclosure = np.array([enclosures.get(value, _UNKNOWN) for value in frame["enclosure_id"]], np.int32)
            technician = np.array([technicians.get(value, _UNKNOWN) for value in frame["technician"]], np.int32)
            kept = np.flatnonzero((enclosure >= 0) | (technician >= 0))
            positions = kept.astype(np.int64) + self.index.start_of(day)
            parts.append((positions, self.index.hashes_of(day)[kept], enclosure[kept], technician[kept]))
        return _Lately(
            np.concatenate([part[0] for part in parts]),
            np.concatenate([part[1] for part in parts]),
            np.concatenate([part[2] for part in parts]),
            np.concatenate([part[3] for part in parts]),
        )


@dataclass(frozen=True)
class _Lately:
    """Photos of the last days that are of an enclosure or by a technician of the day; the day's own come last."""

    positions: Positions
    hashes: Hashes
    enclosures: Codes
    technicians: Codes

    def near(self, number: int, before: int, value: np.uint64, distance: int) -> Positions:
        """Positions before one of those that share its enclosure or technician and have a hash that is not far off.

        Args:
            number: Which photo from the end, -1 for the last.
            before: Its position.
            value: Its hash.
            distance: Largest number of differing bits.
        """
        related = self.enclosures == self.enclosures[number]
        if self.technicians[number] >= 0:
            related |= self.technicians == self.technicians[number]
        related &= (self.positions < before) & (np.bitwise_count(self.hashes ^ value) <= distance)
        near: Positions = self.positions[related]
        return near
