"""The one way from JPEG bytes to pixels: scaled decode, area resampling, letterbox.

Dataset export, evaluation, batch and live inference all come through here, so that a model sees in production what
it saw in training. Quality measures and intake live elsewhere.
"""

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
"""An upright photo, (height, width, 3), BGR as OpenCV has it."""

PAD_GREY = 114
"""Grey of the letterbox margin, as Ultralytics pads in training."""


class UnreadableImageError(ValueError):
    """The bytes are no picture that can be decoded."""


@dataclass(frozen=True)
class Letterbox:
    """How an upright photo was placed on the square network input."""

    scale: float
    left: int
    top: int
    width: int
    height: int

    def to_relative(self, boxes: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Turn (n, 4) corner boxes in input pixels into centre boxes relative to the upright photo, clipped to it."""
        shifted = boxes.astype(np.float64) - np.array([self.left, self.top, self.left, self.top])
        limits = np.array([self.width, self.height, self.width, self.height]) * self.scale
        corners = np.clip(shifted / limits, 0.0, 1.0)
        centres = (corners[:, :2] + corners[:, 2:]) / 2
        return np.concatenate([centres, corners[:, 2:] - corners[:, :2]], axis=1)


def decode_scaled(content: bytes, long_side: int) -> Image:
    """Decode to the smallest size that the codec offers whose long side is still at least `long_side` pixels.

    EXIF orientation is applied. JPEG scales by 1/2, 1/4 or 1/8 while decoding, which is what makes this fast.

    Raises:
        UnreadableImageError: Not a picture, or a broken one.
    """
    import cv2

    flag = {
        1: cv2.IMREAD_COLOR,
        2: cv2.IMREAD_REDUCED_COLOR_2,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        8: cv2.IMREAD_REDUCED_COLOR_8,
    }
    image = cv2.imdecode(np.frombuffer(content, np.uint8), flag[_reduction(content, long_side)])
    if image is None:
        raise UnreadableImageError(f"{len(content)} bytes that OpenCV cannot decode")
    return np.asarray(image, dtype=np.uint8)


def _reduction(content: bytes, long_side: int) -> int:
    from PIL import Image as PillowImage

    try:
        with PillowImage.open(io.BytesIO(content)) as header:
            longest = max(header.size) if header.format in ("JPEG", "MPO") else 0
    except (OSError, SyntaxError, ValueError) as error:
        raise UnreadableImageError(str(error)) from error
    return next((factor for factor in (8, 4, 2) if longest // factor >= long_side), 1)


def fit_long_side(image: Image, long_side: int) -> Image:
    """Shrink so that the long side is at most `long_side` pixels, by area resampling; a smaller image stays."""
    import cv2

    height, width = image.shape[:2]
    scale = long_side / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def letterbox(image: Image, size: int) -> tuple[Image, Letterbox]:
    """Place an image on a grey square of `size` pixels, scaled to fit and centred; enlarges small photos linearly."""
    import cv2

    height, width = image.shape[:2]
    scale = size / max(height, width)
    if scale < 1:
        image = fit_long_side(image, size)
    elif scale > 1:
        target = (round(width * scale), round(height * scale))
        image = np.asarray(cv2.resize(image, target, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    top, left = (size - image.shape[0]) // 2, (size - image.shape[1]) // 2
    canvas = np.full((size, size, 3), PAD_GREY, dtype=np.uint8)
    canvas[top : top + image.shape[0], left : left + image.shape[1]] = image
    return canvas, Letterbox(scale=scale, left=left, top=top, width=width, height=height)


def network_input(content: bytes, size: int) -> tuple[npt.NDArray[np.float32], Letterbox]:
    """Turn photo bytes into one network input, (3, size, size), RGB, 0 to 1, and how to map boxes back.

    Raises:
        UnreadableImageError: Not a picture, or a broken one.
    """
    canvas, placed = letterbox(decode_scaled(content, size), size)
    return np.ascontiguousarray(canvas[:, :, ::-1].transpose(2, 0, 1), dtype=np.float32) / np.float32(255), placed
