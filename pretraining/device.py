"""A device class as a random plan of a face, and the drawing of one device of it."""

from dataclasses import dataclass, replace

import numpy as np

from pretraining.canvas import Area, Color, Picture, any_color, disc, fill, jitter, outline, raised, tint
from pretraining.parts import PARTS, Part

LONG_SIDE = 384
"""Of a drawn device, pixels; scenes show it smaller."""

_SHAPES = (("unit", 0.45), ("module", 0.3), ("slim", 0.15), ("box", 0.1))


@dataclass(frozen=True)
class Field:
    """One part on the face: what, its class's seed, and its share of the row."""

    part: Part
    seed: int
    share: float


@dataclass(frozen=True)
class DeviceClass:
    """What all devices of a class have in common.

    Attributes:
        shape: unit (spans a rack), module, slim or box.
        aspect: Width by height of the face.
        paint: Of the face.
        trim: Of ears, rims and the band on top.
        ears: Mounting ears with screws on both sides.
        rim: Width of the border, share of the height.
        fields: Parts by row, from above.
    """

    shape: str
    aspect: float
    paint: Color
    trim: Color
    ears: bool
    rim: float
    fields: tuple[tuple[Field, ...], ...]


def make_classes(seed: int, count: int) -> list[DeviceClass]:
    """Draw device classes; about one in three differs from an earlier one only in a part, the colour or the format."""
    classes: list[DeviceClass] = []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        if classes and rng.random() < 0.35:
            classes.append(_sibling(classes[int(rng.integers(len(classes)))], rng))
        else:
            classes.append(_new_class(rng))
    return classes


def _new_class(rng: np.random.Generator) -> DeviceClass:
    shape = str(rng.choice([name for name, _ in _SHAPES], p=[share for _, share in _SHAPES]))
    low, high = {"unit": (3.5, 16.0), "module": (0.6, 2.4), "slim": (0.2, 0.6), "box": (0.7, 1.6)}[shape]
    aspect = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    rows = 1 if aspect > 6 else int(rng.integers(1, 3)) if aspect > 2 else int(rng.integers(1, 5))
    widest = max(1, round(min(7.0, 1.6 * aspect)))
    fields = tuple(
        tuple(_field(rng) for _ in range(int(rng.integers(1, 1 + (widest if shape == "unit" else min(3, widest))))))
        for _ in range(rows)
    )
    ears = shape == "unit" and rng.random() < 0.6
    return DeviceClass(
        shape, aspect, any_color(rng, 0.75), any_color(rng, 0.7), ears, float(rng.choice([0, 0.03, 0.08])), fields
    )


def _field(rng: np.random.Generator) -> Field:
    weights = np.array([weight for _, weight in PARTS])
    part = PARTS[int(rng.choice(len(PARTS), p=weights / weights.sum()))][0]
    return Field(part, int(rng.integers(2**31)), float(rng.uniform(0.5, 2.5)))


def _sibling(model: DeviceClass, rng: np.random.Generator) -> DeviceClass:
    """The next type of a maker's series."""
    rows = [list(row) for row in model.fields]
    row = rows[int(rng.integers(len(rows)))]
    row[int(rng.integers(len(row)))] = _field(rng)
    if rng.random() < 0.5:
        row.insert(int(rng.integers(len(row) + 1)), _field(rng))
    changed = replace(model, fields=tuple(tuple(row) for row in rows))
    if rng.random() < 0.4:
        changed = replace(changed, paint=any_color(rng, 0.75))
    if rng.random() < 0.3:
        changed = replace(changed, aspect=model.aspect * float(rng.uniform(0.7, 1.4)))
    return changed


def draw_device(device: DeviceClass, now: np.random.Generator) -> Picture:
    """Draw the face of one device, head on, with `LONG_SIDE` pixels on its long side."""
    width, height = (
        (LONG_SIDE, LONG_SIDE / device.aspect) if device.aspect > 1 else (LONG_SIDE * device.aspect, LONG_SIDE)
    )
    paint = jitter(now, device.paint, 12)
    picture = np.empty((max(12, round(height)), max(12, round(width)), 3), np.uint8)
    picture[:] = _sheen(paint, len(picture), now)[:, None]
    face = Area(0, 0, picture.shape[1], picture.shape[0])
    rim = device.rim * face.height
    if rim >= 1:
        raised(picture, face, jitter(now, device.trim, 5), 1.3)
        raised(picture, face.inset(rim), paint, 0.8)
    inner = face.inset(rim + 0.03 * min(face.width, face.height))
    if device.ears:
        _ears(picture, face, device.trim)
        inner = face.part(0.07, 0.06, 0.86, 0.88)
    for row, area in zip(device.fields, inner.rows([1.0] * len(device.fields)), strict=True):
        for field, place in zip(row, area.columns([field.share for field in row]), strict=True):
            field.part(picture, place.inset(0.06 * place.height), np.random.default_rng(field.seed), now)
    _edges(picture, face, paint)
    return picture


def _sheen(paint: Color, height: int, now: np.random.Generator) -> Picture:
    gain = 1 + now.uniform(-0.15, 0.15) * np.linspace(-1, 1, height)
    return np.asarray(np.clip(gain[:, None] * np.asarray(paint)[None], 0, 255), np.uint8)


def _ears(picture: Picture, face: Area, trim: Color) -> None:
    for x in (0.0, 0.95):
        ear = face.part(x, 0, 0.05, 1)
        raised(picture, ear, trim)
        size = min(ear.width * 0.6, ear.height * 0.3)
        for y in (0.2, 0.8):
            spot = ear.part(0.5, y, 0, 0)
            disc(picture, Area(spot.x - size / 2, spot.y - size / 2, size, size), tint(trim, 0.3))


def _edges(picture: Picture, face: Area, paint: Color) -> None:
    outline(picture, face, tint(paint, 0.5))
    fill(picture, face.part(0, 0, 1, 0.012), tint(paint, 1.4))
