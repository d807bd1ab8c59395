"""Which earlier photo a photo repeats: the same shot, sent again smaller, recompressed, brighter or cut a little.

`candidates` proposes by hashes, `same_shot` decides by geometry; here is what is read, in which order, and what is kept
from the last time. Byte-for-byte equal photos are found by photo_id in `intake`.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial

import numpy as np
import polars as pl

from mlops_assets.photos.candidates import Candidates, Earlier, Neighbourhood
from mlops_assets.photos.parallel import map_in_threads
from mlops_assets.photos.perceptual_hashes import VIEWED_LONG_SIDE, hamming_distances, view_hashes
from mlops_assets.photos.same_shot import Shot, grey_photo, is_same_shot, look_at
from mlops_assets.use_case import NearDuplicateRules

ReadPhoto = Callable[[str], bytes]
"""From photo_id to the JPEG bytes of the normalised photo."""

MARKS = pl.Schema({"near_duplicate_of": pl.String(), "reused_from": pl.String(), "compared_with": pl.String()})
"""What is said of a photo, see CLEAN_PHOTOS."""

_SHOTS_KEPT = 64
"""Photos whose key points wait for the next candidate, some 200 kB each."""

Known = Mapping[int, tuple[str, str]]
"""photo_id and enclosure_id by position."""


def mark_near_duplicates(
    day: str,
    photos: pl.DataFrame,
    earlier: Earlier,
    *,
    previous: pl.DataFrame,
    read_photo: ReadPhoto,
    rules: NearDuplicateRules,
    workers: int | None = None,
) -> pl.DataFrame:
    """Say of each photo of a day which photo it repeats.

    It is the earliest by (day, landing_uri) of those that geometry confirms among the likeliest `max_candidates`. A
    photo whose candidates are those of the last time, under the same rules, is not read again.

    Args:
        day: YYYY-MM-DD.
        photos: COMPARED, by landing_uri.
        earlier: What came before that day.
        previous: photo_id and MARKS of the day's last outcome by the same code; empty at first.
        read_photo: Gives photos of this and of earlier days.
        rules: Thresholds of the use case.
        workers: Threads; as many as there are cores where None.

    Returns:
        photo_id and MARKS, in the order of `photos`.

    Raises:
        mlops_assets.photos.candidates.ChangedDayError: An earlier day was written anew meanwhile.
        FileNotFoundError: A photo is not in the store.
        OSError: The store cannot be read.
        mlops_assets.photos.pixels.UnreadableImageError: A stored photo is damaged.
    """
    around = Neighbourhood(day, photos, earlier)
    candidates = around.candidates(rules, workers=workers)
    digests = [around.digest(number, found, rules) for number, found in enumerate(candidates)]
    firsts = _still_true(around, candidates, digests, previous)
    chosen = _likely(
        around,
        {n: found for n, found in enumerate(candidates) if n not in firsts and found.positions.size},
        read_photo,
        rules,
        workers,
    )
    firsts |= _confirmed(around, chosen, read_photo, rules, workers)
    rows = []
    for number, own in enumerate(photos["enclosure_id"]):
        first, enclosure = firsts.get(number) or (None, None)
        rows.append((first, enclosure if enclosure != own else None, digests[number]))
    return photos.select("photo_id").hstack(pl.DataFrame(rows, schema=MARKS, orient="row"))


def _still_true(
    around: Neighbourhood, candidates: list[Candidates], digests: list[str], previous: pl.DataFrame
) -> dict[int, tuple[str, str] | None]:
    """Outcomes of the last time that hold, by number of the photo; None for one that repeats nothing.

    A photo that was named has to be there still, and its enclosure may have become another.
    """
    last = {row["photo_id"]: row for row in previous.select("photo_id", *MARKS.names()).to_dicts()}
    same = {
        number: last[photo_id]["near_duplicate_of"]
        for number, photo_id in enumerate(around.photos["photo_id"])
        if photo_id in last and last[photo_id]["compared_with"] == digests[number]
    }
    named = {number: first for number, first in same.items() if first is not None}
    known = around.known(position for number in named for position in candidates[number].positions.tolist())
    firsts: dict[int, tuple[str, str] | None] = {number: None for number, first in same.items() if first is None}
    for number, first in named.items():
        places = (known.get(position) for position in candidates[number].positions.tolist())
        found = next((place for place in places if place and place[0] == first), None)
        if found is not None:
            firsts[number] = found
    return firsts


def _likely(
    around: Neighbourhood,
    candidates: Mapping[int, Candidates],
    read_photo: ReadPhoto,
    rules: NearDuplicateRules,
    workers: int | None,
) -> dict[int, list[int]]:
    """Positions of the candidates that a view of the photo comes close to, earliest first, by number of the photo."""

    def choose(number: int) -> tuple[int, list[int]]:
        grey = grey_photo(read_photo(around.photos["photo_id"][number]), VIEWED_LONG_SIDE)
        views = np.append(view_hashes(grey), around.hashes[number])
        found = candidates[number]
        distances = hamming_distances(views, found.hashes).min(axis=0)
        allowed = np.where(found.nearby, rules.nearby_view_distance, rules.everywhere_view_distance)
        near = np.flatnonzero(distances <= allowed)
        nearest = near[np.lexsort((found.positions[near], distances[near]))][: rules.max_candidates]
        return number, sorted(found.positions[nearest].tolist())

    return dict(map_in_threads(choose, candidates, workers=workers))


def _confirmed(
    around: Neighbourhood,
    chosen: Mapping[int, list[int]],
    read_photo: ReadPhoto,
    rules: NearDuplicateRules,
    workers: int | None,
) -> dict[int, tuple[str, str] | None]:
    """The earliest of the chosen ones that is the same shot, by number of the photo."""
    known = around.known(position for positions in chosen.values() for position in positions)

    @lru_cache(maxsize=_SHOTS_KEPT)
    def look(photo_id: str) -> Shot:
        return look_at(read_photo(photo_id))

    to_compare = (number for number in sorted(chosen) if chosen[number])
    first_of = partial(_first, around, chosen, known, look, rules)
    return dict(map_in_threads(first_of, to_compare, workers=workers))


def _first(
    around: Neighbourhood,
    chosen: Mapping[int, list[int]],
    known: Known,
    look: Callable[[str], Shot],
    rules: NearDuplicateRules,
    number: int,
) -> tuple[int, tuple[str, str] | None]:
    photo_id = around.photos["photo_id"][number]
    shot = look(photo_id)
    limits = {"min_correlation": rules.min_correlation, "max_difference": rules.max_difference}
    places = (known[position] for position in chosen[number] if position in known and known[position][0] != photo_id)
    return number, next((place for place in places if is_same_shot(look(place[0]), shot, **limits)), None)
