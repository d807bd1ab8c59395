"""Paints three-dimensional pieces onto a photo, far ones first, and keeps count of what still shows of each item.

Knows quads, lines and shadows, not cabinets. Beside the photo it holds a map of item numbers at half the photo's size
(0: no item), so that what is hidden, and by how much, is measured rather than guessed.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from demo.render.camera import Camera, Points2, Points3
from demo.render.texture import Canvas, Color, shade

NEAR = 60.0
"""Nothing closer to the phone than this, cabinet units, is drawn."""

MAP_SCALE = 0.5
"""Of the item map and the shadow masks; photos have even sides."""

_SUBPIXEL_BITS = 4


@dataclass(frozen=True)
class Line:
    """A cable or wire through 3-D points; width in cabinet units."""

    points: Points3
    color: Color
    width: float


def rectangle(x: float, y: float, width: float, height: float, z: float) -> Points3:
    """Corners of an upright rectangle facing the photographer, (4, 3), from the upper left, clockwise."""
    return np.array([[x, y, z], [x + width, y, z], [x + width, y + height, z], [x, y + height, z]], np.float64)


class Painter:
    """One photo in the making.

    Attributes:
        image: (height, width, 3) BGR.
        items: (height / 2, width / 2) number of the item that shows there, 0 for none.
    """

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        self.image: Canvas = np.zeros((camera.height, camera.width, 3), np.uint8)
        self.items = np.zeros((round(camera.height * MAP_SCALE), round(camera.width * MAP_SCALE)), np.uint8)

    def quad(self, texture: Canvas, corners: Points3, item: int = 0, gain: float = 1.0) -> None:
        """Map a texture onto four 3-D corners (from its upper left, clockwise), hiding what is behind."""
        import cv2

        if (self.camera.depth(corners) < NEAR).any():
            return
        target = self.camera.project(corners)
        left, top = np.maximum(np.floor(target.min(axis=0)).astype(int), 0)
        right, bottom = np.minimum(np.ceil(target.max(axis=0)).astype(int) + 1, [self.camera.width, self.camera.height])
        if right <= left or bottom <= top:
            return
        height, width = texture.shape[:2]
        source = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
        shifted = (target - [left, top]).astype(np.float32)
        size = (int(right - left), int(bottom - top))
        if gain != 1.0:
            texture = cv2.convertScaleAbs(texture, alpha=gain)
        warped = cv2.warpPerspective(
            texture, cv2.getPerspectiveTransform(source, shifted), size, borderMode=cv2.BORDER_REPLICATE
        )
        mask = np.zeros((size[1], size[0]), np.uint8)
        cv2.fillConvexPoly(mask, _fixed(shifted), 255, shift=_SUBPIXEL_BITS)
        area = self.image[top:bottom, left:right]
        self.image[top:bottom, left:right] = cv2.copyTo(warped, mask, area)
        self._mark(target, item)

    def fill(self, corners: Points3, color: Color) -> None:
        """Fill a flat convex piece of one colour, hiding what is behind."""
        import cv2

        if (self.camera.depth(corners) < NEAR).any():
            return
        target = self.camera.project(corners)
        cv2.fillConvexPoly(self.image, _fixed(target), color, cv2.LINE_AA, _SUBPIXEL_BITS)
        self._mark(target, 0)

    def solid(self, front: Points3, depth: float, color: Color) -> None:
        """Draw the sides of a block behind its front rectangle that face the phone; the front is a quad of its own."""
        back = front + np.array([0.0, 0.0, depth])
        x, y, _ = self.camera.position
        for shown, (one, two), gain in (
            (x < front[0, 0], (0, 3), 0.62),
            (x > front[1, 0], (1, 2), 0.62),
            (y < front[0, 1], (0, 1), 1.1),
            (y > front[3, 1], (3, 2), 0.4),
        ):
            if shown:
                self.fill(np.stack([front[one], front[two], back[two], back[one]]), shade(color, gain))

    def lines(self, runs: list[Line]) -> None:
        """Draw cables: each with its shadow on what is behind, a dark rim, its colour and a lit upper edge."""
        import cv2

        paths = [(run, self._path(run.points)) for run in runs]
        drawn = [(run, path, self._pixels(run)) for run, path in paths if path is not None]
        shadow = np.zeros(self.items.shape, np.uint8)
        for _, path, width in drawn:
            offset = np.array([width * 0.5, width * 0.8])
            cv2.polylines(shadow, [_fixed((path + offset) * MAP_SCALE)], False, 130, max(1, round(width * 0.6)), 8, 4)
        self.darken(shadow, 2.0)
        for run, path, width in drawn:
            cv2.polylines(self.image, [_fixed(path)], False, shade(run.color, 0.45), round(width) + 1, 16, 4)
            cv2.polylines(self.image, [_fixed(path)], False, run.color, max(1, round(width * 0.75)), 16, 4)
            lit = _fixed(path - [width * 0.14, width * 0.2])
            cv2.polylines(self.image, [lit], False, shade(run.color, 1.45), max(1, round(width * 0.22)), 16, 4)
            cv2.polylines(self.items, [_fixed(path * MAP_SCALE)], False, 0, max(1, round(width * MAP_SCALE)), 8, 4)

    def shadows(self, blocks: list[Points3], strength: float, softness: float) -> None:
        """Darken where convex 3-D pieces lie, softly: cast shadows, drawn before what casts them."""
        import cv2

        mask = np.zeros(self.items.shape, np.uint8)
        for block in blocks:
            if (self.camera.depth(block) >= NEAR).all():
                pieces = _fixed(self.camera.project(block) * MAP_SCALE)
                cv2.fillConvexPoly(mask, pieces, round(255 * strength), shift=_SUBPIXEL_BITS)
        self.darken(mask, softness)

    def darken(self, mask: npt.NDArray[np.uint8], softness: float) -> None:
        """Multiply the photo by 1 - mask / 255, the half-size mask blurred by `softness` pixels first."""
        import cv2

        left, top, width, height = cv2.boundingRect(mask)
        if not width:
            return
        # Only the darkened part is worked on, with room for the blur to fade out.
        room, step = round(3 * softness), round(1 / MAP_SCALE)
        left, right = max(0, left - room), min(mask.shape[1], left + width + room)
        top, bottom = max(0, top - room), min(mask.shape[0], top + height + room)
        area = self.image[top * step : bottom * step, left * step : right * step]
        soft = cv2.GaussianBlur(mask[top:bottom, left:right], (0, 0), softness)
        keep = cv2.cvtColor(cv2.resize(255 - soft, area.shape[1::-1]), cv2.COLOR_GRAY2BGR)
        area[:] = cv2.multiply(area, keep, scale=1 / 255)

    def visible(self, item: int, corners: Points3) -> float:
        """Share of an item's front that shows in the photo, 0 to 1, out of frame counted as hidden."""
        import cv2

        whole = cv2.contourArea(self.camera.project(corners).astype(np.float32)) * MAP_SCALE**2
        return float(min(1.0, np.count_nonzero(self.items == item) / max(whole, 1.0)))

    def _mark(self, target: Points2, item: int) -> None:
        import cv2

        cv2.fillConvexPoly(self.items, _fixed(target * MAP_SCALE), item, shift=_SUBPIXEL_BITS)

    def _path(self, points: Points3) -> Points2 | None:
        return None if (self.camera.depth(points) < NEAR).any() else self.camera.project(points)

    def _pixels(self, run: Line) -> float:
        return float(max(1.0, run.width * self.camera.focal / self.camera.depth(run.points).mean()))


def _fixed(points: Points2 | npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
    """Fixed-point pixels as OpenCV takes them; bounded, since it overflows far outside the photo."""
    return np.asarray(np.round(np.clip(points, -8000, 16000) * 2**_SUBPIXEL_BITS), np.int32)
