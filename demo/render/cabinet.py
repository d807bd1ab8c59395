"""The empty cabinet and its surroundings: textures made once an enclosure, and how they are set up in space.

Devices and cables are not drawn here.
"""

import functools
from dataclasses import dataclass

import numpy as np

from demo.render.layout import Layout
from demo.render.painter import Painter, rectangle
from demo.render.texture import (
    Canvas,
    Color,
    barcode,
    bevel,
    box,
    crop_tile,
    grain_tile,
    label_plate,
    line,
    mottle_tile,
    plate,
    recess,
    screw,
    shade,
    text,
    vary,
    wear,
)

FRAME = 34
"""Width of the front frame round the opening, cabinet units."""

RAIL_Z = 54
PLATE_Z = 250
"""Depth of the rack rails and of the mounting plate behind the front, cabinet units."""

_PAINTS: tuple[Color, ...] = ((196, 204, 206), (150, 158, 156), (120, 146, 132), (178, 176, 168), (206, 214, 218))


@dataclass(frozen=True)
class Cabinet:
    """The textures of one cabinet."""

    layout: Layout
    paint: Color
    back: Canvas
    wall: Canvas
    frame: Canvas
    door: Canvas
    rail: Canvas
    ground: int
    scene: int


def build_cabinet(enclosure_id: str, layout: Layout, rng: np.random.Generator) -> Cabinet:
    """Draw the textures of one enclosure, from its own generator."""
    paint = vary(rng, _PAINTS[int(rng.integers(len(_PAINTS)))], 8)
    return Cabinet(
        layout=layout,
        paint=paint,
        back=_back(layout, rng),
        wall=_inner_wall(rng, layout),
        frame=_frame(enclosure_id, layout, paint, rng),
        door=_door(enclosure_id, layout, paint, rng),
        rail=_rail(rng, layout.height),
        ground=int(rng.integers(3)),
        scene=int(rng.integers(4)),
    )


def _back(layout: Layout, rng: np.random.Generator) -> Canvas:
    color = vary(rng, ((146, 152, 154), (124, 130, 130), (104, 132, 144))[int(rng.integers(3))], 8)
    canvas = plate(rng, layout.width, layout.height, color, "brushed")
    for y in range(30, layout.height - 20, 46):
        for x in range(24, layout.width - 20, 46):
            recess(canvas, x, y, 12, 7, (52, 54, 56))
    for level in sorted({slot.y for slot in layout.slots if slot.mount == "din"}):
        row = [slot for slot in layout.slots if slot.mount == "din" and slot.y == level]
        _din_rail(canvas, row[0].x, level, row[-1].x + row[-1].width - row[0].x, row[0].height)
    for slot in layout.slots:
        if rng.random() < 0.5:
            code = f"{slot.mount[0].upper()}{rng.integers(1, 40):02d}"
            label_plate(canvas, rng, slot.x + 12, slot.y + 8, 58, 22, (code,))
    wear(canvas, rng, rng.uniform(0.2, 0.9))
    return canvas


def _din_rail(canvas: Canvas, x: float, y: float, width: float, height: float) -> None:
    middle = y + height / 2
    box(canvas, x, middle - 22, width, 44, (186, 190, 190))
    bevel(canvas, x, middle - 22, width, 12, 2)
    bevel(canvas, x, middle + 10, width, 12, 2)
    for hole in np.arange(x + 20, x + width - 30, 42):
        recess(canvas, hole, middle - 5, 24, 10)
    for top in (y - 6, y + height - 18):
        box(canvas, x, top, width, 24, (170, 166, 160))
        bevel(canvas, x, top, width, 24, 2)
        for slit in np.arange(x + 5, x + width - 5, 11):
            box(canvas, slit, top + 4, 3, 16, (86, 84, 82))


def _inner_wall(rng: np.random.Generator, layout: Layout) -> Canvas:
    canvas = plate(rng, 220, layout.height, vary(rng, (136, 142, 144), 8), "paint")
    for y in range(80, layout.height - 40, 150):
        recess(canvas, 60, y, 90, 6, (70, 72, 74))
    canvas[:] = (canvas * np.linspace(1.0, 0.6, 220)[None, :, None]).astype(np.uint8)
    wear(canvas, rng, 0.6)
    return canvas


def _frame(enclosure_id: str, layout: Layout, paint: Color, rng: np.random.Generator) -> Canvas:
    width, height = layout.width + 2 * FRAME, layout.height + 2 * FRAME
    canvas = plate(rng, width, height, paint, "paint")
    bevel(canvas, 0, 0, width, height, 5)
    box(canvas, FRAME - 10, FRAME - 10, layout.width + 20, layout.height + 20, (30, 30, 32))
    for x in (FRAME / 2 - 4, width - FRAME / 2 + 4):
        for y in np.linspace(40, height - 40, 5):
            screw(canvas, rng, x, float(y), 8)
    label_plate(canvas, rng, width * rng.uniform(0.2, 0.6), 3, 150, 19, (enclosure_id,), (60, 190, 235))
    wear(canvas, rng, rng.uniform(0.3, 0.9))
    return canvas


def _door(enclosure_id: str, layout: Layout, paint: Color, rng: np.random.Generator) -> Canvas:
    width, height = round(layout.width * 0.94), layout.height + FRAME
    canvas = plate(rng, width, height, shade(paint, 0.85), "paint")
    bevel(canvas, 0, 0, width, height, 6)
    box(canvas, 14, 14, width - 28, 7, (34, 34, 36))
    box(canvas, 14, height - 21, width - 28, 7, (34, 34, 36))
    for x in (14, width - 21):
        box(canvas, x, 14, 7, height - 28, (34, 34, 36))
    for rib in (0.3, 0.68):
        box(canvas, 30, height * rib, width - 60, 26, shade(paint, 0.88))
        bevel(canvas, 30, height * rib, width - 60, 26, 4)
    pocket = (width * 0.2, height * 0.36, width * 0.5, height * 0.24)
    box(canvas, *pocket, (196, 206, 210))
    bevel(canvas, *pocket, 4)
    box(canvas, pocket[0] + 20, pocket[1] - 30, pocket[2] - 60, pocket[3] * 0.6, (236, 240, 240))
    for row in range(7):
        y = pocket[1] - 10 + row * pocket[3] * 0.07
        line(canvas, [(pocket[0] + 34, y), (pocket[0] + pocket[2] * rng.uniform(0.4, 0.75), y)], (120, 110, 100), 2)
    label_plate(canvas, rng, width * 0.3, height * 0.1, width * 0.4, 70, (enclosure_id, "KEEP CLOSED"), (60, 200, 240))
    barcode(canvas, rng, width * 0.3, height * 0.2, 120, 34)
    wear(canvas, rng, rng.uniform(0.2, 0.8))
    return canvas


def _rail(rng: np.random.Generator, height: int) -> Canvas:
    canvas = plate(rng, 36, height, (178, 182, 182), "brushed")
    for y in range(12, height - 14, 22):
        recess(canvas, 12, y, 12, 12)
    bevel(canvas, 0, 0, 36, height, 3)
    for unit, y in enumerate(range(40, height - 20, 66)):
        text(canvas, str(unit + 1), 3, y, 10, (40, 40, 40))
    return canvas


@functools.cache
def _surroundings(kind: int) -> Canvas:
    """Walls that cabinets stand before, (900, 1600, 3): brick, render, hedge, fence."""
    rng = np.random.default_rng([11, kind])
    color = ((86, 104, 150), (168, 178, 186), (44, 84, 60), (122, 124, 120))[kind]
    canvas = plate(rng, 1600, 900, color, "rough")
    if kind == 0:
        for row, y in enumerate(range(0, 900, 34)):
            box(canvas, 0, y, 1600, 5, (150, 156, 160))
            for x in range(-50 * (row % 2), 1600, 100):
                box(canvas, max(0, x), y, 5, 34, (150, 156, 160))
    elif kind == 2:
        _leaves(canvas, rng)
    elif kind == 3:
        for x in range(0, 1600, 60):
            box(canvas, x, 0, 8, 900, (60, 62, 60))
            box(canvas, x + 8, 0, 4, 900, (168, 170, 168))
    wear(canvas, rng, 1.0)
    return canvas


def _leaves(canvas: Canvas, rng: np.random.Generator) -> None:
    import cv2

    count = 16000
    places = rng.integers(0, canvas.shape[1::-1], (count, 2))
    turns, lengths = rng.uniform(0, 180, count), rng.integers(4, 11, count)
    # Later leaves lie on top and catch more light.
    gains = np.linspace(0.35, 1.25, count) * rng.uniform(0.7, 1.3, count)
    for place, turn, length, gain in zip(places, turns, lengths, gains, strict=True):
        leaf = shade((58, 112, 84), float(gain))
        cv2.ellipse(canvas, place.tolist(), (int(length), int(length) // 3), float(turn), 0, 360, leaf, -1)


@functools.cache
def _ground(kind: int) -> Canvas:
    """What cabinets stand on, (1600, 1600, 3): asphalt, gravel, grass."""
    rng = np.random.default_rng([12, kind])
    canvas = plate(rng, 1600, 1600, ((92, 92, 90), (140, 150, 156), (60, 104, 80))[kind], "rough")
    speck = crop_tile(grain_tile(), rng, 1600, 1600) * (14 if kind == 0 else 30)
    stain = crop_tile(mottle_tile(), rng, 1600, 1600) * 9
    return np.clip(canvas.astype(np.float32) + (speck + stain)[:, :, None], 0, 255).astype(np.uint8)


def paint_surroundings(painter: Painter, cabinet: Cabinet, shift: float) -> None:
    """Paint the wall behind and the ground below; shift moves them sideways, cabinet units."""
    layout = cabinet.layout
    foot = layout.height + FRAME + 60
    # Only a strip of ground ever shows at the foot of the cabinet: it needs no perspective.
    painter.image[:] = _ground(cabinet.ground)[: painter.image.shape[0], : painter.image.shape[1]]
    painter.quad(_surroundings(cabinet.scene), rectangle(-1900 + shift, foot - 2500, 4600, 2500, layout.depth + 220))


def paint_interior(painter: Painter, cabinet: Cabinet) -> None:
    """Paint plate, inner walls, rails and shelves."""
    layout = cabinet.layout
    width, height, depth = layout.width, layout.height, layout.depth
    x, y, _ = painter.camera.position
    painter.fill(rectangle(0, 0, width, height, 1), (40, 42, 44))
    painter.quad(cabinet.back, rectangle(0, 0, width, height, PLATE_Z))
    for edge, seen in ((0, x > 0), (width, x < width)):
        if seen:
            corners = [[edge, 0, 0], [edge, 0, depth], [edge, height, depth], [edge, height, 0]]
            painter.quad(cabinet.wall, np.array(corners, np.float64))
    for edge, seen, gain in ((0, y > 0, 0.45), (height, y < height, 0.95)):
        if seen:
            corners = [[0, edge, 0], [0, edge, depth], [width, edge, depth], [width, edge, 0]]
            painter.quad(cabinet.wall[:, ::-1], np.array(corners, np.float64), gain=gain)


def paint_racks(painter: Painter, cabinet: Cabinet) -> None:
    """Paint the rails that panels are screwed to, and the shelves under batteries and half-width modules."""
    layout = cabinet.layout
    for pair in layout.rails:
        for x in pair:
            painter.quad(cabinet.rail, rectangle(x - 18, 0, 36, layout.height, RAIL_Z))
    rows = sorted({(slot.y, slot.mount) for slot in layout.slots if slot.mount in ("shelf", "half")})
    for y, mount in rows:
        row = [slot for slot in layout.slots if slot.y == y and slot.mount == mount]
        left, right, level = row[0].x - 8, row[-1].x + row[-1].width + 8, y + row[0].height
        corners = [[left, level, PLATE_Z], [right, level, PLATE_Z], [right, level, 40], [left, level, 40]]
        painter.fill(np.array(corners, np.float64), (146, 150, 152))
        painter.quad(cabinet.rail.transpose(1, 0, 2), rectangle(left, level, right - left, 14, 40))


def paint_front(painter: Painter, cabinet: Cabinet, door_angle: float, *, hinge_left: bool) -> None:
    """Paint the front frame, the outer sides, the plinth and the open door (angle in radians from closed)."""
    layout = cabinet.layout
    width, height = layout.width + 2 * FRAME, layout.height + 2 * FRAME
    front = rectangle(-FRAME, -FRAME, width, height, 0)
    painter.fill(rectangle(-FRAME - 10, height - FRAME, width + 20, 60, 0), (118, 124, 126))
    painter.solid(front, layout.depth, cabinet.paint)
    for x, y, across, down in (
        (0, 0, width, FRAME),
        (0, height - FRAME, width, FRAME),
        (0, FRAME, FRAME, layout.height),
        (width - FRAME, FRAME, FRAME, layout.height),
    ):
        piece = cabinet.frame[y : y + down, x : x + across]
        painter.quad(piece, rectangle(x - FRAME, y - FRAME, across, down, 0))
    hinge = -FRAME if hinge_left else layout.width + FRAME
    reach = cabinet.door.shape[1] * (1 if hinge_left else -1)
    tip = (hinge + np.cos(door_angle) * reach, -np.sin(door_angle) * abs(reach))
    top, bottom = -FRAME / 2, layout.height + FRAME / 2
    door = [[hinge, top, -2], [tip[0], top, tip[1]], [tip[0], bottom, tip[1]], [hinge, bottom, -2]]
    painter.quad(cabinet.door, np.array(door, np.float64))
