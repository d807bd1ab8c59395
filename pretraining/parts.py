"""What stands on the face of a device: grids of ports and lamps, vents, labels, displays, dials, handles, lettering.

Each part takes two generators: `style` is the class's and gives what all devices of the class share, `now` is this
device's and gives what differs from one to the next. A part must draw from `style` the same way every time.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pretraining.canvas import (
    Area,
    Color,
    Picture,
    any_color,
    disc,
    fill,
    jitter,
    outline,
    polygon,
    raised,
    tint,
    write,
)

Rng = np.random.Generator
Part = Callable[[Picture, Area, Rng, Rng], None]

_LAMPS: tuple[Color, ...] = ((60, 255, 90), (255, 190, 40), (255, 60, 50), (80, 160, 255), (240, 240, 255))
_LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ"


def grid(picture: Picture, area: Area, style: Rng, now: Rng) -> None:
    """Rows and columns of one cell: sockets, adaptors, slots, clamps, toggles; some are plugged."""
    across, down = _cells(area, style)
    group, fill_share = int(style.integers(2, 9)), style.uniform(0.5, 0.92)
    layers = [_layer(style) for _ in range(int(style.integers(1, 4)))]
    numbered, ink = style.random() < 0.3, any_color(style)
    plug, plugged = any_color(now), now.choice([0.0, 0.3, 0.7])
    gap = 0.35 if style.random() < 0.5 else 0.0
    pitch = area.width / (across + gap * ((across - 1) // group))
    for row in range(down):
        for column in range(across):
            left = area.x + (column + gap * (column // group)) * pitch
            cell = Area(left, area.y + row * area.height / down, pitch, area.height / down)
            body = cell.part((1 - fill_share) / 2, (1 - fill_share) / 2, fill_share, fill_share)
            for layer in layers:
                _draw_layer(picture, body, *layer)
            if numbered:
                fill(picture, cell.part(0.3, 0.0, 0.4, 0.07), ink)
            if now.random() < plugged:
                raised(picture, body.part(0.15, 0.2, 0.7, 0.7), jitter(now, plug))


def _cells(area: Area, style: Rng) -> tuple[int, int]:
    down = int(style.choice([1, 1, 1, 2, 2, 3, 4])) if area.height > 18 else 1
    squat = style.uniform(0.6, 2.2)
    most = max(1, int(area.width / max(3.0, area.height / down / squat)))
    return max(1, min(most, int(style.integers(1, 49)))), down


def _layer(style: Rng) -> tuple[str, float, float, float, float, Color]:
    width, height = style.uniform(0.3, 1.0, 2)
    left, top = style.uniform(0, 1 - width), style.uniform(0, 1 - height)
    shape = str(style.choice(["fill", "sunk", "raised", "disc", "ring", "keyed"]))
    return shape, left, top, width, height, any_color(style)


def _draw_layer(
    picture: Picture, cell: Area, shape: str, x: float, y: float, width: float, height: float, color: Color
) -> None:
    area = cell.part(x, y, width, height)
    match shape:
        case "fill":
            fill(picture, area, color)
        case "sunk":
            raised(picture, area, color, 0.6)
        case "raised":
            raised(picture, area, color)
        case "disc":
            disc(picture, area, color)
        case "ring":
            disc(picture, area, color, max(1, round(area.width / 8)))
        case _:
            fill(picture, area, color)
            fill(picture, area.part(0.3, -0.2, 0.4, 0.25), color)


def lamps(picture: Picture, area: Area, style: Rng, now: Rng) -> None:
    """Small lights in a row or column, each on or off."""
    count, color = int(style.integers(1, 9)), _LAMPS[int(style.integers(len(_LAMPS)))]
    round_lamp, upright = style.random() < 0.6, area.height > area.width
    size = min(area.width, area.height) * style.uniform(0.25, 0.6)
    for place in range(count):
        share = (place + 0.5) / count
        middle = (0.5, share) if upright else (share, 0.5)
        spot = Area(area.x + middle[0] * area.width - size / 2, area.y + middle[1] * area.height - size / 2, size, size)
        shown = color if now.random() < 0.6 else tint(color, 0.25)
        (disc if round_lamp else fill)(picture, spot, shown)


def vents(picture: Picture, area: Area, style: Rng, now: Rng) -> None:
    """Slots, louvres or a perforated field."""
    kind, step = str(style.choice(["rows", "columns", "holes", "slant"])), style.uniform(4, 11)
    dark, rim = tint(any_color(style), 0.3), tint(any_color(style), 1.2)
    share = style.uniform(0.3, 0.6)
    step = max(3.0, step * now.uniform(0.97, 1.03))
    across, down = max(1, int(area.width / step)), max(1, int(area.height / step))
    if kind == "rows":
        for strip in area.rows([1.0] * down):
            raised(picture, strip.part(0, 0, 1, share), dark, 0.7)
    elif kind == "columns":
        for strip in area.columns([1.0] * across):
            raised(picture, strip.part(0, 0, share, 1), dark, 0.7)
    elif kind == "slant":
        for strip in area.columns([1.0] * across):
            corners = np.array([(0.0, 1.0), (share, 1.0), (1.0, 0.0), (1 - share, 0.0)])
            polygon(picture, corners * (strip.width, strip.height) + (strip.x, strip.y), dark)
    else:
        for row in area.rows([1.0] * min(down, 12)):
            for cell in row.columns([1.0] * min(across, 60)):
                disc(picture, cell.part(0.2, 0.2, 0.6, 0.6), dark)
    if style.random() < 0.3:
        outline(picture, area, rim)


def sticker(picture: Picture, area: Area, style: Rng, now: Rng) -> None:
    """A paper label with lines of text or a bar code; the text is this device's."""
    paper = any_color(style) if style.random() < 0.4 else (235, 235, 228)
    coded, lines = style.random() < 0.4, int(style.integers(1, 4))
    place = area.part(now.uniform(0, 0.1), now.uniform(0, 0.1), 0.88, 0.88)
    fill(picture, place, jitter(now, paper))
    ink: Color = (20, 20, 25) if sum(paper) > 330 else (235, 235, 235)
    for row in place.inset(2).rows([1.0] * lines):
        if coded:
            for bar in row.columns(list(now.uniform(0.3, 1, 24)))[::2]:
                fill(picture, bar.part(0, 0, 1, 0.8), ink)
        else:
            write(picture, row, _word(now, 3, 9), ink, 0)


def lettering(picture: Picture, area: Area, style: Rng, _now: Rng) -> None:
    """The maker's name or the type, the same on every device of the class."""
    write(picture, area.part(0, 0.15, 1, 0.6), _word(style, 2, 8), any_color(style), int(style.integers(0, 5)))


def emblem(picture: Picture, area: Area, style: Rng, _now: Rng) -> None:
    """A coloured mark of a few shapes."""
    for _ in range(int(style.integers(1, 4))):
        color, (x, y), size = any_color(style), style.uniform(0, 0.5, 2), style.uniform(0.25, 0.5)
        place = area.part(x, y, size, size)
        if style.random() < 0.5:
            disc(picture, place, color)
        else:
            points = style.uniform(0, 1, (int(style.integers(3, 6)), 2))
            polygon(picture, points * (place.width, place.height) + (place.x, place.y), color)


def display(picture: Picture, area: Area, style: Rng, now: Rng) -> None:
    """A screen with digits or rows that differ from day to day."""
    glass, ink = tint(any_color(style), 0.6), _LAMPS[int(style.integers(len(_LAMPS)))]
    digits, rows = style.random() < 0.6, int(style.integers(1, 4))
    raised(picture, area, (25, 25, 28), 0.6)
    screen = area.inset(3)
    fill(picture, screen, glass if now.random() < 0.8 else (14, 16, 18))
    for row in screen.inset(2).rows([1.0] * rows):
        if digits:
            write(picture, row, str(now.integers(10, 9999)), ink, 0)
        else:
            fill(picture, row.part(0.05, 0.3, now.uniform(0.3, 0.9), 0.35), ink)


def dial(picture: Picture, area: Area, style: Rng, now: Rng) -> None:
    """Round things: knobs, gauges, fans, locks, large sockets."""
    size = min(area.width, area.height)
    count = max(1, min(6, int(area.width / size)))
    count = min(count, int(style.integers(1, 5)))
    rings = [(style.uniform(0.25, 1.0), any_color(style)) for _ in range(int(style.integers(2, 5)))]
    spokes, color = int(style.choice([0, 1, 2, 5, 7])), any_color(style)
    for cell in area.columns([1.0] * count):
        centre = np.array([cell.x + cell.width / 2, cell.y + cell.height / 2])
        radius = min(cell.width, cell.height) / 2 * 0.95
        for share, ring in sorted(rings, reverse=True):
            disc(picture, _around(centre, radius * share), ring)
        turn = now.uniform(0, 2 * np.pi)
        for angle in turn + np.arange(spokes) * 2 * np.pi / max(1, spokes):
            ahead, aside = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
            blade = [
                centre,
                centre + radius * (0.8 * ahead + 0.15 * aside),
                centre + radius * (0.8 * ahead - 0.15 * aside),
            ]
            polygon(picture, np.array(blade), color)


def handle(picture: Picture, area: Area, style: Rng, _now: Rng) -> None:
    """A bar that stands off the face and throws a shadow."""
    color, share = any_color(style), style.uniform(0.15, 0.4)
    bar = area.part(0.1, 0.5 - share / 2, 0.8, share)
    if area.height > area.width:
        bar = area.part(0.5 - share / 2, 0.1, share, 0.8)
    fill(picture, Area(bar.x + 2, bar.y + 3, bar.width, bar.height), tint(color, 0.3))
    raised(picture, bar, color, 1.5)


def cover(picture: Picture, area: Area, style: Rng, now: Rng) -> None:
    """A plain inset plate with screws or a lock."""
    color = any_color(style)
    screws, lock = style.random() < 0.6, style.random() < 0.4
    raised(picture, area, jitter(now, color, 4), 1.3 if style.random() < 0.5 else 0.7)
    size = max(2.0, min(area.width, area.height) * 0.14)
    if screws:
        for x, y in ((0.06, 0.1), (0.86, 0.1), (0.06, 0.78), (0.86, 0.78)):
            corner = area.part(x, y, 0, 0)
            disc(picture, Area(corner.x, corner.y, size, size), tint(color, 0.5))
    if lock:
        middle = area.part(0.8, 0.4, 0, 0)
        disc(picture, Area(middle.x, middle.y, 2 * size, 2 * size), (150, 150, 155))
        fill(picture, Area(middle.x + size * 0.8, middle.y + size * 0.4, size * 0.4, size * 1.2), (30, 30, 30))


def stripe(picture: Picture, area: Area, style: Rng, _now: Rng) -> None:
    """A coloured band."""
    share = style.uniform(0.15, 0.6)
    band = area.part(0, style.uniform(0, 1 - share), 1, share)
    fill(picture, band, any_color(style))


def blank(_picture: Picture, _area: Area, _style: Rng, _now: Rng) -> None:
    """Nothing but the face."""


PARTS: tuple[tuple[Part, float], ...] = (
    (grid, 5.0),
    (vents, 2.0),
    (lamps, 1.5),
    (sticker, 1.0),
    (lettering, 1.5),
    (emblem, 0.7),
    (display, 1.0),
    (dial, 1.3),
    (handle, 0.7),
    (cover, 1.0),
    (stripe, 0.8),
    (blank, 1.2),
)
"""Every part and how often it comes."""


def _around(centre: npt.NDArray[np.float64], radius: float) -> Area:
    return Area(float(centre[0] - radius), float(centre[1] - radius), 2 * radius, 2 * radius)


def _word(rng: Rng, shortest: int, longest: int) -> str:
    letters = rng.choice(list(_LETTERS + "0123456789-"), int(rng.integers(shortest, longest + 1)))
    return "".join(letters)
