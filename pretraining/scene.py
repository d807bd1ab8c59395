"""One picture: where devices stand, what hangs before them, how the camera sees it, and the box of each."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from demo.render.exposure import expose, light
from pretraining.canvas import Area, Picture, any_color
from pretraining.device import draw_device, make_classes
from pretraining.surroundings import cabinet, cable, clutter, din_rail, surface

Rng = np.random.Generator

LONG_SIDE = 416
"""Of a finished picture, pixels."""

_SUPERSAMPLING = 2
_LOOKS = 6
"""Devices drawn of each class; scenes choose among them."""

_DISTRACTORS = 96
"""Classes that appear and are not labelled, so that not everything that looks like a device is one."""

_MIN_SHORT_SIDE, _MIN_LONG_SIDE = 4.0, 14.0
"""Smallest labelled box, pixels: a unit of a rack seen from afar is a few pixels high."""

_MIN_SEEN = 0.4
"""Share of a box that must lie inside the picture."""


@dataclass(frozen=True)
class Box:
    """Centre and size as shares of the picture's sides, as YOLO labels have them."""

    class_index: int
    x: float
    y: float
    width: float
    height: float


@dataclass
class _Placed:
    number: int
    area: Area


class Workshop:
    """The device classes of one seed, and scenes made of them."""

    def __init__(self, seed: int, classes: int) -> None:
        self.seed = seed
        self.count = classes
        self.classes = make_classes(seed, classes + _DISTRACTORS)

    @cached_property
    def _looks(self) -> list[list[Picture]]:
        return [
            [draw_device(device, np.random.default_rng([self.seed, 1, number, look])) for look in range(_LOOKS)]
            for number, device in enumerate(self.classes)
        ]

    def scene(self, number: int) -> tuple[Picture, list[Box]]:
        """Compose scene `number`: an RGB picture, `LONG_SIDE` pixels long, and the boxes of labelled classes."""
        rng = np.random.default_rng([self.seed, 2, number])
        width, height = _format(rng)
        picture = surface(rng, width * _SUPERSAMPLING, height * _SUPERSAMPLING)
        placed = self._furnish(picture, rng)
        for _ in range(int(rng.choice([0, 2, 5, 9, 16]))):
            start = rng.uniform(0, 1, 2) * (picture.shape[1], picture.shape[0])
            cable(picture, rng, (float(start[0]), float(start[1])), max(picture.shape))
        seen, matrix = _photograph(picture, rng, width, height)
        boxes = [box for item in placed if item.number < self.count and (box := _box(item, matrix, width, height))]
        return seen, boxes

    def _furnish(self, picture: Picture, rng: Rng) -> list[_Placed]:
        height, width = picture.shape[:2]
        size = rng.uniform(0.45, 1.25, 2) * (width, height)
        corner = (np.array([width, height]) - size) * rng.uniform(0.2, 0.8, 2)
        area = Area(float(corner[0]), float(corner[1]), float(size[0]), float(size[1]))
        kind = str(rng.choice(["rack", "board", "loose"], p=[0.45, 0.4, 0.15]))
        if kind == "loose":
            places = self._loose(Area(0, 0, width, height), rng)
        else:
            room = cabinet(picture, area, rng, railed=kind == "rack")
            places = self._stack(room, rng) if kind == "rack" else self._board(picture, room, rng)
        placed = []
        for number, place in places:
            self._paste(picture, number, place, rng)
            placed.append(_Placed(number, place))
        if rng.random() < 0.3:
            x, y, w, h = rng.uniform(0, 0.9), rng.uniform(0, 0.9), rng.uniform(0.03, 0.25), rng.uniform(0.03, 0.25)
            cover = Area(0, 0, width, height).part(x, y, w, h)
            clutter(picture, cover, rng)
            placed = [item for item in placed if _covered(item.area, cover) < 0.5]
        return placed

    def _pool(self, rng: Rng, shapes: tuple[str, ...], size: int) -> list[int]:
        """A few classes of these shapes, most of them labelled ones."""
        fitting = [n for n, device in enumerate(self.classes) if device.shape in shapes]
        weights = np.array([1.0 if n < self.count else 0.25 for n in fitting])
        return [int(n) for n in rng.choice(fitting, min(size, len(fitting)), replace=False, p=weights / weights.sum())]

    def _stack(self, room: Area, rng: Rng) -> Iterator[tuple[int, Area]]:
        pool = self._pool(rng, ("unit", "box") if rng.random() < 0.2 else ("unit",), int(rng.integers(3, 10)))
        y = room.y + rng.uniform(0, 0.15) * room.height
        gaps = rng.uniform(0, 0.12)
        while True:
            number = pool[int(rng.integers(len(pool)))]
            device = self.classes[number]
            width = room.width if device.shape == "unit" else room.width * rng.uniform(0.3, 0.9)
            place = Area(room.x + (room.width - width) * rng.random(), y, width, width / device.aspect)
            if place.y + place.height > room.y + room.height:
                return
            yield number, place
            y += place.height + (rng.uniform(0, gaps) * room.height if rng.random() < 0.6 else 0)

    def _board(self, picture: Picture, room: Area, rng: Rng) -> Iterator[tuple[int, Area]]:
        pool = self._pool(rng, ("module", "slim", "box", "unit"), int(rng.integers(4, 12)))
        y = room.y
        row = room.height * rng.uniform(0.12, 0.4)
        while y + row < room.y + room.height:
            if rng.random() < 0.5:
                din_rail(picture, Area(room.x, y + row * 0.4, room.width, row * 0.15), rng)
            x = room.x + rng.uniform(0, 0.1) * room.width
            repeat = rng.random() < 0.35
            number = pool[int(rng.integers(len(pool)))]
            while True:
                number = number if repeat else pool[int(rng.integers(len(pool)))]
                high = row * (0.9 if self.classes[number].aspect < 2.5 else 0.5)
                place = Area(x, y + (row - high) / 2, high * self.classes[number].aspect, high)
                if x + place.width > room.x + room.width:
                    break
                yield number, place
                x += place.width + (rng.uniform(0, 0.1) * room.width if rng.random() < 0.4 else 2)
            y += row * rng.uniform(1.0, 1.5)

    def _loose(self, room: Area, rng: Rng) -> Iterator[tuple[int, Area]]:
        taken: list[Area] = []
        for number in self._pool(rng, ("unit", "module", "slim", "box"), int(rng.integers(3, 14))):
            aspect = self.classes[number].aspect
            side = room.width * rng.uniform(0.08, 0.45)
            width, height = (side, side / aspect) if aspect > 1 else (side * aspect, side)
            spot = room.part(rng.uniform(-0.05, 0.85), rng.uniform(-0.05, 0.85), 0, 0)
            place = Area(spot.x, spot.y, width, height)
            if all(_covered(place, other) == 0 for other in taken):
                taken.append(place)
                yield number, place

    def _paste(self, picture: Picture, number: int, place: Area, rng: Rng) -> None:
        import cv2

        size = max(2, round(place.width)), max(2, round(place.height))
        look = self._looks[number][int(rng.integers(_LOOKS))]
        face = cv2.resize(look, size, interpolation=cv2.INTER_AREA)
        gains = np.clip(rng.uniform(0.75, 1.2) * (1 + rng.normal(0, 0.06, 3)), 0.4, 1.6)
        face = cv2.multiply(face, (*gains.tolist(), 1.0))
        _shadow(picture, place, rng)
        left, top = round(place.x), round(place.y)
        x0, y0 = max(0, left), max(0, top)
        x1, y1 = min(picture.shape[1], left + size[0]), min(picture.shape[0], top + size[1])
        if x1 > x0 and y1 > y0:
            picture[y0:y1, x0:x1] = face[y0 - top : y1 - top, x0 - left : x1 - left]


def _format(rng: Rng) -> tuple[int, int]:
    long, short = LONG_SIDE, round(LONG_SIDE * float(rng.choice([0.75, 0.5625, 1.0])))
    return (long, short) if rng.random() < 0.5 else (short, long)


def _shadow(picture: Picture, place: Area, rng: Rng) -> None:
    depth = rng.uniform(1, 7)
    x0, y0 = max(0, round(place.x)), max(0, round(place.y + place.height))
    x1, y1 = round(place.x + place.width + depth / 2), round(place.y + place.height + depth)
    if x1 > x0 and y1 > y0:
        picture[y0:y1, x0:x1] //= 2


def _covered(area: Area, other: Area) -> float:
    across = min(area.x + area.width, other.x + other.width) - max(area.x, other.x)
    down = min(area.y + area.height, other.y + other.height) - max(area.y, other.y)
    return max(0.0, across) * max(0.0, down) / (area.width * area.height)


def _photograph(picture: Picture, rng: Rng, width: int, height: int) -> tuple[Picture, npt.NDArray[np.float64]]:
    """See the scene from somewhere before it: the picture at its final size, and the homography from scene pixels."""
    import cv2

    wide, high = picture.shape[1], picture.shape[0]
    corners = np.array([(0, 0), (wide, 0), (wide, high), (0, high)], np.float32)
    zoom, turn, lean = rng.uniform(0.85, 1.25), rng.normal(0, 0.05), rng.normal(0, 0.05, (4, 2))
    rotation = np.array([(np.cos(turn), -np.sin(turn)), (np.sin(turn), np.cos(turn))])
    centre = np.array([wide, high]) / 2
    moved = (
        ((corners - centre) @ rotation.T) * zoom + centre + lean * (wide, high) + rng.normal(0, 0.03, 2) * (wide, high)
    )
    matrix = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
    beyond = any_color(rng, 0.8)
    seen = cv2.warpPerspective(picture, matrix, (wide, high), borderMode=cv2.BORDER_CONSTANT, borderValue=beyond)
    taken = expose(light(np.asarray(seen, np.uint8), rng), rng)
    scale = np.diag([width / wide, height / high, 1.0])
    return np.asarray(cv2.resize(taken, (width, height), interpolation=cv2.INTER_AREA), np.uint8), scale @ matrix


def _box(item: _Placed, matrix: npt.NDArray[np.float64], width: int, height: int) -> Box | None:
    area = item.area
    right, bottom = area.x + area.width, area.y + area.height
    corners = np.array([(area.x, area.y, 1), (right, area.y, 1), (right, bottom, 1), (area.x, bottom, 1)]) @ matrix.T
    points = corners[:, :2] / corners[:, 2:]
    low, high = points.min(axis=0), points.max(axis=0)
    inside_low, inside_high = np.clip(low, 0, (width, height)), np.clip(high, 0, (width, height))
    sides = inside_high - inside_low
    seen = float(np.prod(sides) / np.prod(high - low))
    if seen < _MIN_SEEN or sides.min() < _MIN_SHORT_SIDE or sides.max() < _MIN_LONG_SIDE:
        return None
    middle = (inside_low + inside_high) / 2 / (width, height)
    return Box(item.number, float(middle[0]), float(middle[1]), float(sides[0] / width), float(sides[1] / height))
