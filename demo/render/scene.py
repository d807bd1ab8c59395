"""Composes one photo of one cabinet: camera, painting order, and the boxes of what can be seen.

What is in the cabinet and which photos are taken is the plan's; how pieces are drawn is theirs.
"""

from dataclasses import dataclass

import numpy as np

from demo.render.cabinet import (
    FRAME,
    PLATE_Z,
    Cabinet,
    build_cabinet,
    paint_front,
    paint_interior,
    paint_racks,
    paint_surroundings,
)
from demo.render.cables import device_cables, loose_bundle, side_bundles
from demo.render.camera import Camera, Points3, aim
from demo.render.equipment import EQUIPMENT, FILLERS, Equipment
from demo.render.layout import Layout, Slot
from demo.render.painter import NEAR, Line, Painter, rectangle
from demo.render.plan import Enclosure, Item, Photo, Visit
from demo.render.texture import Canvas, Color

TEXTURE_SCALE = 1.3
"""Texture pixels a cabinet unit of device fronts."""

MIN_VISIBLE = 0.35
"""Share of an item's front that must show for it to get a box."""

FILLED = 0.4
"""Share of empty slots that hold a cover or a terminal strip."""

_FRONT_Z = {"rack": 50.0, "half": 50.0, "shelf": 70.0}


@dataclass(frozen=True)
class Box:
    """One visible item: class, upper left corner and size, upright pixels."""

    equipment: str
    x: float
    y: float
    width: float
    height: float
    item: Item


@dataclass(frozen=True)
class _Placed:
    item: Item
    kind: Equipment
    front: Points3
    texture: Canvas
    cables: list[Line]

    @property
    def color(self) -> Color:
        blue, green, red = (int(v) for v in np.median(self.texture[::4, ::4].reshape(-1, 3), axis=0))
        return blue, green, red


class Studio:
    """One enclosure ready for photos; keeps its textures and devices between them."""

    def __init__(self, enclosure: Enclosure) -> None:
        self.enclosure = enclosure
        self.cabinet: Cabinet = build_cabinet(enclosure.enclosure_id, enclosure.layout, self._rng(1, 0))
        self.bundles = side_bundles(enclosure.layout, self._rng(2, 0))
        self._placed: dict[int, _Placed] = {}

    def shoot(self, visit: Visit, photo: Photo, *, clear: bool = False) -> tuple[Canvas, list[Box]]:
        """Paint one photo, still without light and noise.

        Args:
            visit: What is in the enclosure.
            photo: Which shot.
            clear: Take it from straight ahead, with nothing hanging in front.

        Returns:
            The picture (height, width, 3) upright, and the boxes of items that show enough.
        """
        rng = self._rng(3, photo.number)
        layout = self.enclosure.layout
        painter = Painter(_camera(layout, photo, rng, clear=clear))
        placed = [self._place(item) for item in visit.items]
        paint_surroundings(painter, self.cabinet, rng.uniform(-250, 250))
        paint_interior(painter, self.cabinet)
        self._paint_devices(painter, [*placed, *self._fillers(visit)], rng)
        angle = rng.uniform(1.75, 2.4) if layout.tall else rng.uniform(2.1, 2.7)
        paint_front(painter, self.cabinet, angle, hinge_left=self.enclosure.seed[1] % 2 == 0)
        if not clear and rng.random() < (0.45 if photo.number % 2 else 0.2):
            painter.lines(loose_bundle(layout, rng))
        return painter.image, _boxes(painter, placed)

    def _rng(self, purpose: int, number: int) -> np.random.Generator:
        return np.random.default_rng([*self.enclosure.seed, purpose, number])

    def _place(self, item: Item) -> _Placed:
        if item.serial not in self._placed:
            rng = self._rng(4, item.serial) if item.serial > 0 else self._rng(6, item.slot)
            kind = EQUIPMENT[item.equipment]
            front = _front(kind, self.enclosure.layout.slots[item.slot], rng)
            width, height = front[2, :2] - front[0, :2]
            texture = kind.draw(rng, round(width * TEXTURE_SCALE), round(height * TEXTURE_SCALE))
            cables = device_cables(kind, front, self.enclosure.layout, rng)
            self._placed[item.serial] = _Placed(item, kind, front, texture, cables)
        return self._placed[item.serial]

    def _fillers(self, visit: Visit) -> list[_Placed]:
        """Covers and terminal strips in some of the slots that are empty on this visit."""
        taken = {item.slot for item in visit.items}
        chosen = self._rng(5, 0).random(len(self.enclosure.layout.slots)) < FILLED
        return [
            self._place(Item(FILLERS[slot.mount].name, number, -1 - number))
            for number, slot in enumerate(self.enclosure.layout.slots)
            if chosen[number] and number not in taken and slot.mount in FILLERS
        ]

    def _paint_devices(self, painter: Painter, placed: list[_Placed], rng: np.random.Generator) -> None:
        cast = np.array([rng.uniform(-45, 45), rng.uniform(15, 60), 0.0])
        shadows = []
        for device in placed:
            shadow = device.front + cast
            shadow[:, 2] = PLATE_Z - 1
            shadow[:, 0] = np.clip(shadow[:, 0], 0, self.enclosure.layout.width)
            shadow[:, 1] = np.clip(shadow[:, 1], 0, self.enclosure.layout.height)
            shadows.append(shadow)
        painter.shadows(shadows, 0.6, 7.0)
        painter.lines(self.bundles)
        paint_racks(painter, self.cabinet)
        # Far ones first: what leaves the DIN rail or a battery runs back behind the panels on the rails.
        for mounts in (("din",), ("shelf",), ("half", "rack")):
            group = [(number, device) for number, device in enumerate(placed, 1) if device.kind.mount in mounts]
            for number, device in group:
                painter.solid(device.front, device.kind.depth, device.color)
                painter.quad(device.texture, device.front, item=number)
            painter.lines([run for _, device in group for run in device.cables])


def _front(kind: Equipment, slot: Slot, rng: np.random.Generator) -> Points3:
    width = slot.width if kind.mount == "rack" else min(kind.width, slot.width - 10)
    x = slot.x + (slot.width - width) / 2 + (0 if kind.mount == "rack" else rng.uniform(-4, 4))
    standing = kind.mount in ("shelf", "half")
    y = slot.y + (slot.height - kind.height) * (1.0 if standing else 0.5)
    z = _FRONT_Z.get(kind.mount, PLATE_Z - kind.depth - 12)
    return rectangle(x, y, width, kind.height, z + rng.uniform(-4, 4))


def _camera(layout: Layout, photo: Photo, rng: np.random.Generator, *, clear: bool) -> Camera:
    calm = 0.35 if clear else 1.0
    angles = (rng.uniform(-0.42, 0.42) * calm, rng.uniform(-0.08, 0.28) * calm, rng.normal(0, 0.035) * calm)
    focal = rng.uniform(0.95, 1.3) * max(photo.width, photo.height)
    outer = np.array([layout.width, layout.height]) + 2 * FRAME
    middle = np.array([layout.width / 2, layout.height / 2, 30.0])
    fit = float((outer / [photo.width, photo.height]).max()) * focal
    if not photo.close:
        target = middle + np.append(rng.normal(0, 12, 2), 0.0)
        return aim(target, fit / rng.uniform(0.9, 0.98), angles, focal, (photo.width, photo.height))
    cover = float((outer / [photo.width, photo.height]).min()) * focal
    distance = max(min(cover, fit / 1.2), fit / 1.7, NEAR * 8)
    target = middle + np.append(rng.uniform(-0.18, 0.18, 2) * outer, 0.0)
    return aim(target, distance, angles, focal, (photo.width, photo.height))


def _boxes(painter: Painter, placed: list[_Placed]) -> list[Box]:
    limits = np.array([painter.camera.width, painter.camera.height], np.float64)
    boxes = []
    for number, device in enumerate(placed, start=1):
        if painter.visible(number, device.front) < MIN_VISIBLE:
            continue
        corners = painter.camera.project(device.front)
        low, high = np.clip(corners.min(axis=0), 0, limits), np.clip(corners.max(axis=0), 0, limits)
        x, y, right, bottom = (round(float(v), 1) for v in (*low, *high))
        boxes.append(Box(device.kind.name, x, y, round(right - x, 1), round(bottom - y, 1), device.item))
    return boxes
