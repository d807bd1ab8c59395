"""Decides everything about a demo before a pixel is drawn: cabinets, contents over the days, visits, photos, labels.

Pure and cheap; the same seed gives the same plan. Each enclosure draws from its own generator, so that its contents do
not depend on how many workers render it.
"""

import datetime as dt
from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np

from demo.render.equipment import BASE_EQUIPMENT, EQUIPMENT, NEW_EQUIPMENT
from demo.render.layout import Layout, make_layout

DAYS = (dt.date(2026, 10, 5), dt.date(2026, 10, 6), dt.date(2026, 10, 7))

NEVER_LABELLED = 0.15
"""Share of enclosures of which no photo is labelled."""

LABELLED = 0.72
"""Share of labelled photos in the other enclosures; about 60 % over all."""

CHANGED_VISITS = 0.25
SIDEWAYS = 1 / 3
"""Share of photos stored rotated or mirrored."""

BadKind = Literal[
    "truncated", "zero_bytes", "not_an_image", "exact_duplicate", "dark", "blurred", "no_enclosure_folder"
]
BAD_KINDS: tuple[BadKind, ...] = (
    "truncated",
    "zero_bytes",
    "not_an_image",
    "exact_duplicate",
    "dark",
    "blurred",
    "no_enclosure_folder",
)
Phase = Literal["base", "new_equipment"]


@dataclass(frozen=True)
class Item:
    """One device: its class, the slot it sits in, and the number that fixes its looks for life."""

    equipment: str
    slot: int
    serial: int


@dataclass(frozen=True)
class Photo:
    """One shot; width and height upright, orientation as in EXIF, close for a detail instead of the whole cabinet."""

    file: str
    number: int
    width: int
    height: int
    orientation: int
    close: bool
    captured_at: dt.datetime
    labelled: bool = False
    bad: BadKind | None = None


@dataclass(frozen=True)
class Visit:
    """What is in the enclosure on a day, and what is shot of it; visit_id None: the technician's app sends none."""

    day: dt.date
    items: tuple[Item, ...]
    photos: tuple[Photo, ...]
    bad: tuple[Photo, ...]
    technician: int
    visit_id: str | None


@dataclass(frozen=True)
class Enclosure:
    """One cabinet and its visits; seed parts name its random generators."""

    enclosure_id: str
    seed: tuple[int, int]
    layout: Layout
    latitude: float
    longitude: float
    visits: tuple[Visit, ...]


def phase_of(day: dt.date) -> Phase:
    """Which label delivery a labelled photo belongs to: the last day shows the new class."""
    return "new_equipment" if day == DAYS[-1] else "base"


def plan_demo(seed: int, enclosures: int) -> list[Enclosure]:
    """Plan all enclosures.

    Args:
        seed: Anything; the same seed gives the same demo.
        enclosures: How many, at least 2.

    Raises:
        ValueError: Fewer than 2 enclosures, or a negative seed.
    """
    if enclosures < 2 or seed < 0:
        raise ValueError(f"A demo takes at least 2 enclosures and a seed from 0, got {enclosures} and {seed}")
    rng = np.random.default_rng([seed, 0])
    order = rng.permutation(enclosures)
    unlabelled = {int(n) for n in order[: max(1, round(enclosures * NEVER_LABELLED))]}
    upgraded = {int(n) for n in rng.permutation(enclosures)[: (enclosures + 1) // 2]}
    bad = {(day, number): kinds for day in DAYS for number, kinds in _spread_bad(rng, enclosures).items()}
    drafts = [
        _Draft(seed, number, labelled=number not in unlabelled, upgraded=number in upgraded)
        for number in range(enclosures)
    ]
    visits: dict[int, list[Visit]] = {number: [] for number in range(enclosures)}
    next_file = 1
    for day in DAYS:
        for draft in drafts:
            visit = draft.visit(day, next_file, bad.get((day, draft.number), ()))
            next_file += len(visit.photos) + len(visit.bad)
            visits[draft.number].append(visit)
    return [draft.enclosure(tuple(visits[draft.number])) for draft in drafts]


def _spread_bad(rng: np.random.Generator, enclosures: int) -> dict[int, tuple[BadKind, ...]]:
    """Give every kind of bad upload to a few enclosures of one day."""
    spread: dict[int, tuple[BadKind, ...]] = {}
    for kind in BAD_KINDS:
        for number in rng.integers(0, enclosures, max(1, round(enclosures / 32))):
            spread[int(number)] = (*spread.get(int(number), ()), kind)
    return spread


class _Draft:
    """An enclosure on its way through the days."""

    def __init__(self, seed: int, number: int, *, labelled: bool, upgraded: bool) -> None:
        self.number = number
        self.seed = (seed, number + 1)
        self.rng = np.random.default_rng([*self.seed, 0])
        self.layout = make_layout(self.rng)
        self.labelled = labelled
        self.upgraded = upgraded
        self.enclosure_id = f"CAB-{1000 + number}"
        self.place = (47.4979 + self.rng.normal(0, 0.05), 19.0402 + self.rng.normal(0, 0.07))
        self.reserved = int(self.rng.choice(self.layout.slots_for("din")))
        self.serial = 0
        self.items: list[Item] = []
        for _ in range(int(self.rng.integers(3, 8))):
            self._add()

    def enclosure(self, visits: tuple[Visit, ...]) -> Enclosure:
        return Enclosure(self.enclosure_id, self.seed, self.layout, *self.place, visits)

    def visit(self, day: dt.date, first_file: int, bad: tuple[BadKind, ...]) -> Visit:
        if day != DAYS[0] and self.rng.random() < CHANGED_VISITS:
            self._change()
        if day == DAYS[-1] and self.upgraded:
            self._install(NEW_EQUIPMENT.name, self.reserved)
        minutes = int(self.rng.integers(0, 480))
        at = dt.datetime.combine(day, dt.time(7, 30)) + dt.timedelta(minutes=minutes)
        count = int(self.rng.choice((1, 2, 3), p=(0.15, 0.55, 0.30)))
        # Annotators are asked to label the new class first: where it is, they label at least the overview.
        asked = day == DAYS[-1] and self.upgraded
        photos = tuple(
            self._photo(first_file + shot, at, overview=shot == 0, asked=asked and shot == 0) for shot in range(count)
        )
        faulty = tuple(self._photo(first_file + count + n, at, overview=True, bad=kind) for n, kind in enumerate(bad))
        named = self.rng.random() < 0.45
        visit_id = f"V-{day:%Y%m%d}-{self.enclosure_id}" if named else None
        return Visit(day, tuple(self.items), photos, faulty, int(self.rng.integers(1, 9)), visit_id)

    def _photo(
        self, number: int, start: dt.datetime, *, overview: bool, asked: bool = False, bad: BadKind | None = None
    ) -> Photo:
        portrait = self.layout.tall if overview or self.rng.random() < 0.7 else not self.layout.tall
        close = not overview and (portrait != self.layout.tall or self.rng.random() < 0.35)
        long, short = ((1600, 1200), (1280, 960))[int(self.rng.random() < 0.9)]
        sideways = self.rng.random() < SIDEWAYS
        taken = start + dt.timedelta(seconds=25 * (number % 7) + int(self.rng.integers(0, 20)))
        return Photo(
            file=f"IMG_{number:04d}.jpg",
            number=number,
            width=short if portrait else long,
            height=long if portrait else short,
            orientation=int(self.rng.integers(2, 9)) if sideways else 1,
            close=close,
            captured_at=taken,
            labelled=(asked or bool(self.rng.random() < LABELLED)) and self.labelled and bad is None,
            bad=bad,
        )

    def _change(self) -> None:
        if len(self.items) > 3 and (len(self.items) >= 7 or self.rng.random() < 0.5):
            self.items.pop(int(self.rng.integers(len(self.items))))
        else:
            self._add()

    def _add(self) -> None:
        """Install one more item of a class that has room, if any has."""
        counts = Counter(item.equipment for item in self.items)
        options = [(kind, self._free(kind.name)) for kind in BASE_EQUIPMENT if counts[kind.name] < kind.most]
        options = [(kind, slots) for kind, slots in options if slots]
        if not options:
            return
        # A class that is already there is likelier to grow than another is to come, so that quantities differ.
        weights = np.array([kind.weight * (1.2 if counts[kind.name] else 1.0) for kind, _ in options])
        kind, slots = options[int(self.rng.choice(len(options), p=weights / weights.sum()))]
        self._install(kind.name, int(self.rng.choice(slots)))

    def _free(self, equipment: str) -> list[int]:
        taken = {item.slot for item in self.items} | {self.reserved}
        return [slot for slot in self.layout.slots_for(EQUIPMENT[equipment].mount) if slot not in taken]

    def _install(self, equipment: str, slot: int) -> None:
        self.serial += 1
        self.items.append(Item(equipment, slot, self.serial))
