"""Everything in a scene that is no device: walls, cabinets, rails, backplates, cables, covers."""

import numpy as np

from pretraining.canvas import Area, Color, Picture, any_color, disc, fill, jitter, outline, polyline, raised, tint

Rng = np.random.Generator

_JACKETS: tuple[Color, ...] = (
    (25, 25, 28), (235, 205, 40), (40, 120, 205), (200, 45, 40), (225, 225, 220), (60, 150, 70), (235, 130, 30),
    (120, 120, 125), (110, 60, 140), (60, 200, 210),
)  # fmt: skip


def surface(rng: Rng, width: int, height: int) -> Picture:
    """A wall, floor or plate: paint, blotches, bricks, ribs, holes or gravel."""
    color = np.asarray(any_color(rng, 0.6), np.float32)
    gain = 1 + rng.uniform(0.03, 0.3) * _noise(rng, width, height, int(rng.choice([4, 12, 40])))
    kind = str(rng.choice(["plain", "plain", "bricks", "ribs", "holes", "gravel"]))
    if kind == "ribs":
        along = np.arange(width if rng.random() < 0.5 else height)
        wave = 1 + rng.uniform(0.05, 0.3) * np.sign(np.sin(along * 2 * np.pi / rng.uniform(12, 60)))
        gain *= wave[None, :] if len(along) == width else wave[:, None]
    elif kind == "gravel":
        gain *= 1 + 0.5 * _noise(rng, width, height, 160)
    picture: Picture = np.clip(gain[:, :, None] * color, 0, 255).astype(np.uint8)
    if kind == "bricks":
        _bricks(picture, rng)
    elif kind == "holes":
        _perforation(picture, rng)
    return picture


def _noise(rng: Rng, width: int, height: int, cells: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Smooth noise of standard deviation 1 with about `cells` blotches across."""
    import cv2

    coarse = rng.standard_normal((max(2, cells * height // width), cells), dtype=np.float32)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _bricks(picture: Picture, rng: Rng) -> None:
    height, width = picture.shape[:2]
    mortar, high, wide = any_color(rng, 0.8), rng.uniform(18, 50), rng.uniform(40, 120)
    for row, y in enumerate(np.arange(0, height, high)):
        fill(picture, Area(0, float(y), width, 3), mortar)
        for x in np.arange((row % 2) * wide / 2, width, wide):
            fill(picture, Area(float(x), float(y), 3, high), mortar)


def _perforation(picture: Picture, rng: Rng) -> None:
    height, width = picture.shape[:2]
    step, dark = int(rng.integers(14, 40)), tint(any_color(rng), 0.3)
    size = step * rng.uniform(0.2, 0.5)
    for y in range(0, height, step):
        for x in range(0, width, step):
            disc(picture, Area(x, y, size, size), dark)


def cabinet(picture: Picture, area: Area, rng: Rng, *, railed: bool) -> Area:
    """An open cabinet with an interior and, if railed, two rails; the width between the rails is returned."""
    frame, inside = any_color(rng, 0.8), tint(any_color(rng, 0.85), float(rng.choice([0.15, 0.4, 0.9])))
    raised(picture, area, frame, 1.3)
    room = area.inset(rng.uniform(4, 26))
    fill(picture, room, inside)
    fill(picture, room.part(0, 0, 1, 0.03), tint(inside, 0.5))
    if not railed:
        return room.inset(6)
    share, rail = rng.uniform(0.03, 0.09), any_color(rng, 0.9)
    for x in (0.0, 1 - share):
        strip = room.part(x, 0, share, 1)
        raised(picture, strip, rail)
        count = int(room.height / rng.uniform(7, 16))
        for hole in strip.part(0.35, 0, 0.3, 1).rows([1.0] * count):
            fill(picture, hole.part(0, 0.25, 1, 0.5), tint(rail, 0.2))
    overlap = share * rng.uniform(0.0, 0.9)
    return room.part(share - overlap, 0.01, 1 - 2 * (share - overlap), 0.98)


def din_rail(picture: Picture, area: Area, rng: Rng) -> None:
    """A mounting rail with slots behind a row of modules."""
    metal = jitter(rng, (165, 165, 160), 20)
    raised(picture, area, metal)
    for slot in area.columns([1.0] * max(1, int(area.width / 22))):
        fill(picture, slot.part(0.2, 0.35, 0.6, 0.3), tint(metal, 0.4))


def cable(picture: Picture, rng: Rng, start: tuple[float, float], scale: float) -> None:
    """One to six cables that hang together, from `start` across the scene; `scale` is the picture's long side."""
    color, thick = _JACKETS[int(rng.integers(len(_JACKETS)))], max(1, round(scale * rng.uniform(0.002, 0.009)))
    strands = int(rng.choice([1, 1, 1, 2, 4, 6]))
    knots = np.array(start) + np.cumsum(rng.normal(0, scale * rng.uniform(0.05, 0.25), (4, 2)), axis=0)
    knots[0] = start
    t = np.linspace(0, 1, 26)[:, None]
    curve = (1 - t) ** 3 * knots[0] + 3 * t * (1 - t) ** 2 * knots[1] + 3 * t**2 * (1 - t) * knots[2] + t**3 * knots[3]
    aside = rng.normal(0, 1, 2)
    for strand in range(strands):
        line = curve + strand * thick * 1.3 * aside / max(1e-6, float(np.abs(aside).max()))
        shade = jitter(rng, color, 10)
        polyline(picture, line + thick * 0.6, tint(shade, 0.25), thick + 1)
        polyline(picture, line, shade, thick)
        if thick > 2:
            polyline(picture, line - thick * 0.2, tint(shade, 1.5), max(1, thick // 3))


def clutter(picture: Picture, area: Area, rng: Rng) -> None:
    """Something that is no device: a pipe, a paper, a box, a bar."""
    color = any_color(rng)
    match int(rng.integers(4)):
        case 0:
            raised(picture, area, color)
        case 1:
            fill(picture, area, (232, 230, 222))
            for row in area.inset(4).rows([1.0] * 6)[::2]:
                fill(picture, row.part(0, 0, rng.uniform(0.4, 1), 0.6), (90, 90, 95))
        case 2:
            disc(picture, area, color)
            outline(picture, area, tint(color, 0.6))
        case _:
            for strip in area.columns([1, 2, 1]):
                fill(picture, strip, jitter(rng, color, 25))
