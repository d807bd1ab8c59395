"""Surfaces and small parts that every drawn thing is made of: paint, brushed steel, dirt, screws, plates, text.

Nothing here knows an equipment class or the cabinet. Canvases are BGR, uint8, (height, width, 3), and are drawn on
in place; colours are BGR, 0 to 255.
"""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Canvas = npt.NDArray[np.uint8]
Color = tuple[int, int, int]

TILE = 2048
"""Side of the cached noise tiles, pixels; no canvas is larger."""

_TILE_SEED = 20261005


@functools.cache
def mottle_tile() -> npt.NDArray[np.float32]:
    """Cloudy noise around 0 with standard deviation 1, (TILE, TILE): dirt, stains, uneven paint."""
    import cv2

    rng = np.random.default_rng(_TILE_SEED)
    total = np.zeros((TILE, TILE), np.float32)
    for octave, cells in enumerate((12, 28, 68, 180)):
        grid = rng.normal(size=(cells, cells)).astype(np.float32)
        total += cv2.resize(grid, (TILE, TILE), interpolation=cv2.INTER_CUBIC) * 0.6**octave
    return np.asarray((total - total.mean()) / total.std(), np.float32)


@functools.cache
def brushed_tile() -> npt.NDArray[np.float32]:
    """Horizontal brush marks around 0 with standard deviation 1, (TILE, TILE)."""
    import cv2

    noise = np.random.default_rng(_TILE_SEED + 1).standard_normal((TILE, TILE), np.float32)
    marks = cv2.GaussianBlur(noise, (121, 1), 30, sigmaY=0.01)
    return np.asarray(marks / marks.std(), np.float32)


@functools.cache
def grain_tile() -> npt.NDArray[np.float32]:
    """Fine grain around 0 with standard deviation 1, (TILE, TILE): powder coat, concrete, moulded plastic."""
    import cv2

    noise = np.random.default_rng(_TILE_SEED + 2).standard_normal((TILE, TILE), np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 1.1)
    return np.asarray(soft / soft.std(), np.float32)


def crop_tile(
    tile: npt.NDArray[np.float32], rng: np.random.Generator, width: int, height: int
) -> npt.NDArray[np.float32]:
    """Cut a random (height, width) piece out of a tile."""
    top, left = int(rng.integers(TILE - height + 1)), int(rng.integers(TILE - width + 1))
    return tile[top : top + height, left : left + width]


def plate(rng: np.random.Generator, width: int, height: int, color: Color, finish: str = "paint") -> Canvas:
    """Make a (height, width, 3) surface of one material with its grain, slight stains and a top-to-bottom shade.

    Args:
        rng: Where the piece of grain is cut from.
        width: Pixels.
        height: Pixels.
        color: Base colour.
        finish: paint, brushed (metal) or rough (concrete, old plastic).

    Raises:
        KeyError: Another finish.
    """
    import cv2

    tile, strength = {
        "paint": (grain_tile, 0.025),
        "brushed": (brushed_tile, 0.06),
        "rough": (grain_tile, 0.09),
    }[finish]
    gain = 1 + strength * crop_tile(tile(), rng, width, height) + 0.025 * crop_tile(mottle_tile(), rng, width, height)
    gain *= np.linspace(1.06, 0.93, height, dtype=np.float32)[:, None]
    gains = cv2.cvtColor(cv2.convertScaleAbs(gain, alpha=180), cv2.COLOR_GRAY2BGR)
    return np.asarray(cv2.multiply(gains, (*color, 0.0), scale=1 / 180), np.uint8)


def shade(color: Color, gain: float) -> Color:
    """Lighten (gain above 1) or darken a colour."""
    blue, green, red = (int(min(255.0, max(0.0, part * gain))) for part in color)
    return blue, green, red


def vary(rng: np.random.Generator, color: Color, spread: float = 10) -> Color:
    """Shift a colour a little, all parts together and each by itself."""
    shift = rng.normal(0, spread) + rng.normal(0, spread / 2, 3)
    blue, green, red = (int(np.clip(part + step, 2, 253)) for part, step in zip(color, shift, strict=True))
    return blue, green, red


def box(canvas: Canvas, x: float, y: float, width: float, height: float, color: Color) -> None:
    """Fill a rectangle given by its top left corner and size, pixels."""
    import cv2

    cv2.rectangle(canvas, (round(x), round(y)), (round(x + width) - 1, round(y + height) - 1), color, -1)


def bevel(
    canvas: Canvas, x: float, y: float, width: float, height: float, depth: int = 2, *, raised: bool = True
) -> None:
    """Give a rectangle a lit and a shaded edge, `depth` pixels wide, as if raised above or sunk into its surface."""
    left, top, right, bottom = round(x), round(y), round(x + width), round(y + height)
    lit, dark = (1.35, 0.6) if raised else (0.5, 1.25)
    for area, gain in (
        (np.s_[top : top + depth, left:right], lit),
        (np.s_[top:bottom, left : left + depth], (lit + 1) / 2),
        (np.s_[bottom - depth : bottom, left:right], dark),
        (np.s_[top:bottom, right - depth : right], (dark + 1) / 2),
    ):
        canvas[area] = np.clip(canvas[area].astype(np.float32) * gain + (6 if gain > 1 else 0), 0, 255).astype(np.uint8)


def recess(canvas: Canvas, x: float, y: float, width: float, height: float, color: Color = (18, 18, 20)) -> None:
    """Cut a dark opening with a lit lower edge."""
    box(canvas, x, y, width, height, color)
    bevel(canvas, x, y, width, height, 1, raised=False)


def disc(canvas: Canvas, x: float, y: float, radius: float, color: Color, thickness: int = -1) -> None:
    """Draw a circle, filled unless a line thickness is given."""
    import cv2

    cv2.circle(canvas, (round(x * 8), round(y * 8)), round(radius * 8), color, thickness, cv2.LINE_AA, 3)


def line(canvas: Canvas, points: Sequence[tuple[float, float]], color: Color, thickness: int = 1) -> None:
    """Draw an open polyline through (x, y) points."""
    import cv2

    path = np.round(np.array(points) * 8).astype(np.int32)
    cv2.polylines(canvas, [path], False, color, thickness, cv2.LINE_AA, 3)


def screw(canvas: Canvas, rng: np.random.Generator, x: float, y: float, radius: float = 7) -> None:
    """Draw a cross-head screw with its own turn, rim and highlight."""
    steel = vary(rng, (168, 172, 174), 14)
    disc(canvas, x + 1, y + 2, radius + 1, (38, 38, 40))
    disc(canvas, x, y, radius, steel)
    disc(canvas, x - radius * 0.25, y - radius * 0.3, radius * 0.55, shade(steel, 1.2))
    turn = rng.uniform(0, np.pi)
    for angle in (turn, turn + np.pi / 2):
        dx, dy = np.cos(angle) * radius * 0.65, np.sin(angle) * radius * 0.65
        line(canvas, [(x - dx, y - dy), (x + dx, y + dy)], (45, 45, 48), max(1, round(radius / 3.5)))


def led(canvas: Canvas, x: float, y: float, radius: float, color: Color, *, lit: bool = True) -> None:
    """Draw an indicator lamp; a lit one glows onto its surroundings."""
    import cv2

    disc(canvas, x, y, radius + 1.5, (25, 25, 28))
    disc(canvas, x, y, radius, color if lit else shade(color, 0.3))
    if not lit:
        return
    disc(canvas, x, y, radius * 0.5, shade(color, 1.7))
    reach = round(radius * 3)
    top, left = max(0, round(y) - reach), max(0, round(x) - reach)
    area = canvas[top : round(y) + reach, left : round(x) + reach]
    glow = np.zeros_like(area)
    cv2.circle(glow, (round(x) - left, round(y) - top), round(radius * 1.6), shade(color, 0.5), -1)
    cv2.add(area, cv2.GaussianBlur(glow, (0, 0), radius), dst=area)


@functools.cache
def _font(name: str) -> Any:
    import cv2

    return cv2.FontFace(name)


def text(
    canvas: Canvas,
    words: str,
    x: float,
    y: float,
    size: float,
    color: Color,
    weight: int = 500,
    room: float = float("inf"),
) -> None:
    """Print words with their baseline starting at (x, y); size in pixels, shrunk to fit `room`; weight 100 to 900."""
    import cv2

    size = min(size, 1.45 * room / max(1, len(words)))
    cv2.putText(canvas, words, (round(x), round(y)), color, _font("sans"), max(6, round(size)), weight)


def barcode(canvas: Canvas, rng: np.random.Generator, x: float, y: float, width: float, height: float) -> None:
    """Draw a white sticker with bars."""
    box(canvas, x, y, width, height, (238, 240, 240))
    position = x + 4
    while position < x + width - 6:
        bar = int(rng.integers(1, 4))
        box(canvas, position, y + 3, bar, height - 6, (25, 25, 25))
        position += bar + int(rng.integers(1, 4))


def label_plate(
    canvas: Canvas,
    rng: np.random.Generator,
    x: float,
    y: float,
    width: float,
    height: float,
    words: Sequence[str],
    color: Color = (232, 236, 236),
) -> None:
    """Stick a label with lines of text on, slightly raised."""
    box(canvas, x + 2, y + 2, width, height, (45, 45, 45))
    box(canvas, x, y, width, height, vary(rng, color, 5))
    step = height / len(words)
    ink = (30, 28, 26) if sum(color) > 330 else (240, 240, 240)
    for number, entry in enumerate(words):
        text(canvas, entry, x + width * 0.06, y + step * (number + 0.8), step * 0.78, ink, 600, width * 0.9)


def vents(
    canvas: Canvas, x: float, y: float, width: float, height: float, pitch: float = 9, *, upright: bool = True
) -> None:
    """Cut a row of slots, upright or lying."""
    import cv2

    span = width if upright else height
    for offset in np.arange(pitch / 2, span - pitch / 3, pitch):
        start = (x + offset, y) if upright else (x, y + offset)
        end = (x + offset, y + height) if upright else (x + width, y + offset)
        first, last = (round(start[0]), round(start[1])), (round(end[0]), round(end[1]))
        cv2.line(canvas, first, last, (22, 22, 24), max(2, round(pitch * 0.45)))


def wear(canvas: Canvas, rng: np.random.Generator, amount: float) -> None:
    """Age a surface: stains, dust settled towards the bottom, a few scratches. Amount 0 (new) to 1 (neglected)."""
    import cv2

    height, width = canvas.shape[:2]
    stain = np.clip(crop_tile(mottle_tile(), rng, width, height) - 0.5, 0, 2) * (0.16 * amount)
    dust = np.linspace(0, 0.22 * amount, height, dtype=np.float32)[:, None] + stain * 0.5
    keep = cv2.cvtColor(cv2.convertScaleAbs((1 - stain) * (1 - dust), alpha=255), cv2.COLOR_GRAY2BGR)
    settled = cv2.merge([cv2.convertScaleAbs(dust, alpha=part) for part in (120, 140, 150)])
    canvas[:] = cv2.add(cv2.multiply(canvas, keep, scale=1 / 255), settled)
    for _ in range(int(rng.poisson(5 * amount))):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        dx, dy = rng.normal(0, 30), rng.normal(0, 9)
        line(canvas, [(x, y), (x + dx, y + dy)], vary(rng, (150, 155, 158), 25), 1)
