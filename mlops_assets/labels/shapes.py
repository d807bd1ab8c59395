"""Geometry of labels: how a drawn shape becomes the box that encloses it, and which boxes are none."""

import math
from collections.abc import Sequence

from mlops_assets.labels.items import OUTSIDE_TOLERANCE, Box, BoxError, Corners

_DRAW_AGAIN = "draw the box again"
_ALMOST = 1e-3
"""Share of a shape's extent within which two of its points count as one: exports round coordinates."""


def relative_box(
    name: str,
    corners: Corners,
    size: tuple[float, float] = (1.0, 1.0),
    *,
    tolerance: float = OUTSIDE_TOLERANCE,
    drawn_as: str = "box",
) -> Box:
    """Check corners in units of `size` and make them centre and size, relative and clipped to the photo.

    Raises:
        BoxError: Not finite, swapped, without area, or outside by more than `tolerance`, a share of the photo.
    """
    left, right = corners[0] / size[0], corners[2] / size[0]
    top, bottom = corners[1] / size[1], corners[3] / size[1]
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        left, top, right, bottom = _clipped(left, top, right, bottom, tolerance)
    return Box(name, (left + right) / 2, (top + bottom) / 2, right - left, bottom - top, drawn_as)


def pixel_box(name: str, corners: Corners, *, drawn_as: str = "box") -> Box:
    """As `relative_box` where the size is not known yet: centre and size in pixels, not clipped.

    Raises:
        BoxError: Not finite, swapped, or without area.
    """
    left, top, right, bottom = corners
    if not (math.isfinite(left + top + right + bottom) and left < right and top < bottom):
        _clipped(left, top, right, bottom, math.inf)
        raise BoxError("it has no area", "delete the box or draw it again")
    return Box(name, (left + right) / 2, (top + bottom) / 2, right - left, bottom - top, drawn_as)


def outside_reason(tolerance: float) -> tuple[str, str]:
    """Why a box outside is refused, and what to do."""
    return (
        f"it reaches outside the photo by more than {tolerance:.1%}",
        "draw the box within the photo, and check that the label is of this photo",
    )


def _clipped(left: float, top: float, right: float, bottom: float, tolerance: float) -> Corners:
    if not all(map(math.isfinite, (left, top, right, bottom))):
        raise BoxError("a coordinate is not finite", _DRAW_AGAIN)
    if right < left or bottom < top:
        raise BoxError("its corners are swapped", "give left before right and top before bottom")
    if min(left, top) < -tolerance or max(right, bottom) > 1 + tolerance:
        raise BoxError(*outside_reason(tolerance))
    left, top, right, bottom = max(left, 0.0), max(top, 0.0), min(right, 1.0), min(bottom, 1.0)
    if right - left <= 0 or bottom - top <= 0:
        raise BoxError("it has no area", "delete the box or draw it again")
    return left, top, right, bottom


def rotated_bounds(left: float, top: float, width: float, height: float, degrees: float, *, centre: bool) -> Corners:
    """Upright bounds of a rectangle turned clockwise about its centre, or else about its top left corner.

    Raises:
        BoxError: The rotation is not finite, or a side is negative.
    """
    if not math.isfinite(degrees):
        raise BoxError("its rotation is not finite", _DRAW_AGAIN)
    if width < 0 or height < 0:
        raise BoxError("its corners are swapped", "give left before right and top before bottom")
    pivot = (left + width / 2, top + height / 2) if centre else (left, top)
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turned = [
        (
            pivot[0] + (x - pivot[0]) * cosine - (y - pivot[1]) * sine,
            pivot[1] + (x - pivot[0]) * sine + (y - pivot[1]) * cosine,
        )
        for x in (left, left + width)
        for y in (top, top + height)
    ]
    return polygon_bounds(turned)


def ellipse_bounds(x: float, y: float, radius_x: float, radius_y: float, degrees: float) -> Corners:
    """Upright bounds of an ellipse about (x, y), turned clockwise: half its width is √((rx cos)² + (ry sin)²).

    Raises:
        BoxError: A value is not finite, or a radius not positive.
    """
    if not all(map(math.isfinite, (x, y, radius_x, radius_y, degrees))):
        raise BoxError("a coordinate is not finite", _DRAW_AGAIN)
    if radius_x <= 0 or radius_y <= 0:
        raise BoxError("it has no area", "delete the ellipse or draw it again")
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    across = math.hypot(radius_x * cosine, radius_y * sine)
    down = math.hypot(radius_x * sine, radius_y * cosine)
    return x - across, y - down, x + across, y + down


def polygon_bounds(points: Sequence[tuple[float, float]]) -> Corners:
    """Upright bounds of a polygon.

    Raises:
        BoxError: Fewer than three points, or one that is not finite.
    """
    if len(points) < 3:
        raise BoxError(f"a polygon of {len(points)} points", _DRAW_AGAIN)
    xs, ys = [point[0] for point in points], [point[1] for point in points]
    if not all(map(math.isfinite, (*xs, *ys))):
        raise BoxError("a coordinate is not finite", _DRAW_AGAIN)
    return min(xs), min(ys), max(xs), max(ys)


def shape_of(points: Sequence[tuple[float, float]]) -> str:
    """What a polygon is in DRAWN_AS: a `box` along the axes, a `rotated_box`, or a `polygon`.

    A turned rectangle is told by being a parallelogram, which it stays in coordinates relative to width and height,
    where its angles are no longer right ones.
    """
    corners = list(points[:-1] if len(points) == 5 and points[0] == points[-1] else points)
    if len(corners) != 4:
        return "polygon"
    left, top, right, bottom = polygon_bounds(corners)
    slack_x, slack_y = _ALMOST * (right - left), _ALMOST * (bottom - top)
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = corners
    if abs(ax + cx - bx - dx) > slack_x or abs(ay + cy - by - dy) > slack_y:
        return "polygon"
    upright = all(min(x - left, right - x) <= slack_x and min(y - top, bottom - y) <= slack_y for x, y in corners)
    return "box" if upright else "rotated_box"
