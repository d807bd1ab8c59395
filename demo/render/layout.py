"""Where things can be mounted in a cabinet: its inner size and its slots.

Pure geometry in cabinet units, seen from the front: x to the right, y down from the upper left inner corner. What is
in the slots is the plan's.
"""

from dataclasses import dataclass

import numpy as np

from demo.render.equipment import Mount

GAP = 14
"""Free space between rows."""

_ROW_HEIGHT = {"rack": 136, "half": 128, "din": 236, "shelf": 252}


@dataclass(frozen=True)
class Slot:
    """One place for one item of its mount: upper left corner and size."""

    mount: Mount
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Layout:
    """An empty cabinet: inner width, height and depth, its slots, and the x of its pairs of rack rails."""

    width: int
    height: int
    depth: int
    slots: tuple[Slot, ...]
    rails: tuple[tuple[float, float], ...]

    @property
    def tall(self) -> bool:
        """Whether a portrait photo fits it."""
        return self.height > self.width

    def slots_for(self, mount: Mount) -> list[int]:
        """Numbers of the slots that take this mount."""
        return [number for number, slot in enumerate(self.slots) if slot.mount == mount]


def make_layout(rng: np.random.Generator) -> Layout:
    """Draw one cabinet: tall with one column, or wide with a rack column beside a power column."""
    return _tall(rng) if rng.random() < 0.6 else _wide(rng)


def _tall(rng: np.random.Generator) -> Layout:
    width = 760
    rows: list[Mount] = ["rack", "rack", "rack", "half", "din"]
    rng.shuffle(rows)
    slots, bottom = _column([*rows, "shelf"], 50, width - 100, {"half": 2, "din": 4, "shelf": 3})
    return Layout(width, bottom + GAP, 300, tuple(slots), ((38, width - 38),))


def _wide(rng: np.random.Generator) -> Layout:
    left: list[Mount] = ["rack", "rack", "rack", "rack", "half"]
    rng.shuffle(left)
    rack, rack_bottom = _column(left, 48, 600, {"half": 2})
    power, power_bottom = _column(["din", "din", "shelf"], 700, 430, {"din": 2, "shelf": 2})
    height = max(rack_bottom, power_bottom) + GAP
    return Layout(1160, height, 300, (*rack, *power), ((36, 660),))


def _column(rows: list[Mount], x: float, width: float, across: dict[str, int]) -> tuple[list[Slot], int]:
    slots: list[Slot] = []
    y = GAP
    for mount in rows:
        count = across.get(mount, 1)
        each, height = width / count, _ROW_HEIGHT[mount]
        slots += [Slot(mount, x + each * number, y, each, height) for number in range(count)]
        y += height + GAP
    return slots, y
