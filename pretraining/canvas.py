"""Drawing primitives on a picture: rectangles, discs and lines with light on one edge and shadow on the other.

Kept apart from the demo's, so that no weights are made from the demo's art.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
"""(height, width, 3)"""

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Area:
    """A rectangle in pixels."""

    x: float
    y: float
    width: float
    height: float

    def part(self, x: float, y: float, width: float, height: float) -> "Area":
        """A part of it, given in shares of its sides."""
        return Area(self.x + x * self.width, self.y + y * self.height, width * self.width, height * self.height)

    def inset(self, margin: float) -> "Area":
        """Smaller by `margin` pixels on each side, as far as there is room."""
        dx, dy = min(margin, self.width * 0.4), min(margin, self.height * 0.4)
        return Area(self.x + dx, self.y + dy, self.width - 2 * dx, self.height - 2 * dy)

    def columns(self, shares: list[float]) -> list["Area"]:
        """Side by side, in these proportions."""
        ends = np.concatenate([[0.0], np.cumsum(shares) / sum(shares)])
        return [self.part(float(a), 0, float(b - a), 1) for a, b in pairwise(ends)]

    def rows(self, shares: list[float]) -> list["Area"]:
        """One below the other, in these proportions."""
        ends = np.concatenate([[0.0], np.cumsum(shares) / sum(shares)])
        return [self.part(0, float(a), 1, float(b - a)) for a, b in pairwise(ends)]


def tint(color: Color, gain: float) -> Color:
    """Brighter or darker."""
    red, green, blue = (int(min(255.0, channel * gain)) for channel in color)
    return red, green, blue


def any_color(rng: np.random.Generator, grey: float = 0.5) -> Color:
    """Greys and metal in a share `grey` of draws, otherwise any colour from dull to strong."""
    level = rng.uniform(12, 245)
    if rng.random() < grey:
        return _color(level + rng.normal(0, 6, 3))
    return _color(level + rng.uniform(0.3, 1.0) * (rng.uniform(10, 250, 3) - level))


def jitter(rng: np.random.Generator, color: Color, spread: float = 8) -> Color:
    """The same paint from another batch."""
    return _color(np.asarray(color) + rng.normal(0, spread) + rng.normal(0, spread / 2, 3))


def _color(channels: npt.NDArray[np.float64]) -> Color:
    red, green, blue = (int(value) for value in np.clip(channels, 0, 255))
    return red, green, blue


def fill(picture: Picture, area: Area, color: Color) -> None:
    """A plain rectangle."""
    import cv2

    cv2.rectangle(picture, *_corners(area), color, -1)


def outline(picture: Picture, area: Area, color: Color, thickness: int = 1) -> None:
    """A frame."""
    import cv2

    cv2.rectangle(picture, *_corners(area), color, thickness)


def raised(picture: Picture, area: Area, color: Color, depth: float = 1.35) -> None:
    """A rectangle lit from above left; with `depth` below 1 one that is sunk."""
    import cv2

    (left, top), (right, bottom) = _corners(area)
    cv2.rectangle(picture, (left, top), (right, bottom), color, -1)
    bright, dark = tint(color, depth), tint(color, 1 / depth)
    cv2.line(picture, (left, top), (right, top), bright, 1)
    cv2.line(picture, (left, top), (left, bottom), bright, 1)
    cv2.line(picture, (left, bottom), (right, bottom), dark, 1)
    cv2.line(picture, (right, top), (right, bottom), dark, 1)


def disc(picture: Picture, area: Area, color: Color, thickness: int = -1) -> None:
    """An ellipse that fills the area."""
    import cv2

    centre = round(area.x + area.width / 2), round(area.y + area.height / 2)
    axes = max(1, round(area.width / 2)), max(1, round(area.height / 2))
    cv2.ellipse(picture, centre, axes, 0, 0, 360, color, thickness, cv2.LINE_AA)


def polygon(picture: Picture, points: npt.NDArray[np.float64], color: Color) -> None:
    """A filled polygon through (n, 2) points."""
    import cv2

    cv2.fillPoly(picture, [np.round(points).astype(np.int32)], color, cv2.LINE_AA)


def polyline(picture: Picture, points: npt.NDArray[np.float64], color: Color, thickness: int) -> None:
    """A line through (n, 2) points."""
    import cv2

    cv2.polylines(picture, [np.round(points).astype(np.int32)], False, color, thickness, cv2.LINE_AA)


def write(picture: Picture, area: Area, text: str, color: Color, font: int) -> None:
    """Text, as large as the area takes; `font` is one of OpenCV's Hershey fonts, 0 to 7."""
    import cv2

    (width, height), base = cv2.getTextSize(text, font, 1.0, 1)
    scale = min(area.width / max(1, width), area.height / (height + base))
    origin = round(area.x + (area.width - width * scale) / 2), round(area.y + (area.height + height * scale) / 2)
    cv2.putText(picture, text, origin, font, scale, color, max(1, round(scale * 1.6)), cv2.LINE_AA)


def _corners(area: Area) -> tuple[tuple[int, int], tuple[int, int]]:
    left, top = round(area.x), round(area.y)
    return (left, top), (max(left, round(area.x + area.width) - 1), max(top, round(area.y + area.height) - 1))
