"""The one way from JPEG bytes to pixels: scaled decode, area resampling, letterbox.

Dataset export, evaluation, batch and live inference all come through here, so that a model sees in production what
it saw in training. Quality measures and intake live elsewhere.
"""

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlops_assets.photos.exif import read_orientation

Image = npt.NDArray[np.uint8]
"""An upright photo, (height, width, 3), BGR as OpenCV has it."""

PAD_GREY = 114
"""Grey of the letterbox margin, as Ultralytics pads in training."""

STRIDE = 32
"""Pixels of the network's input that one cell of its coarsest map covers; its sides are multiples of it."""


class UnreadableImageError(ValueError):
    """The bytes are no picture that can be decoded."""


@dataclass(frozen=True)
class Letterbox:
    """How an upright photo was placed on the network's input."""

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

    header = _read_header(content)
    reduction = next((factor for factor in (8, 4, 2) if max(header.jpeg_size) // factor >= long_side), 1)
    if header.plain_jpeg and (image := _decode_jpeg(content, header.jpeg_size, reduction)) is not None:
        return _upright(image, header.orientation)
    flag = {
        1: cv2.IMREAD_COLOR,
        2: cv2.IMREAD_REDUCED_COLOR_2,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        8: cv2.IMREAD_REDUCED_COLOR_8,
    }
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), flag[reduction])
    if decoded is None:
        raise UnreadableImageError(f"{len(content)} bytes that OpenCV cannot decode")
    return np.asarray(decoded, dtype=np.uint8)


@dataclass(frozen=True)
class _Header:
    """jpeg_size is as stored, 0 x 0 for other formats; plain_jpeg is one in grey or colour, not in the inks of CMYK."""

    jpeg_size: tuple[int, int]
    plain_jpeg: bool
    orientation: int


def _read_header(content: bytes) -> _Header:
    from PIL import Image as PillowImage

    try:
        with PillowImage.open(io.BytesIO(content)) as image:
            if image.format not in ("JPEG", "MPO"):
                return _Header((0, 0), False, 1)
            return _Header(image.size, image.mode in ("L", "RGB"), read_orientation(image))
    except (OSError, SyntaxError, ValueError) as error:
        raise UnreadableImageError(str(error)) from error


def _decode_jpeg(content: bytes, size: tuple[int, int], reduction: int) -> Image | None:
    """Decode in two thirds of OpenCV's time, to the same pixels; None for what is damaged, on which OpenCV decides."""
    import simplejpeg

    width, height = (-(-side // reduction) for side in size)
    try:
        return np.asarray(simplejpeg.decode_jpeg(content, "BGR", min_height=height, min_width=width), dtype=np.uint8)
    except ValueError:
        return None


def _upright(image: Image, orientation: int) -> Image:
    """Apply an EXIF orientation, 1 to 8 (Exif 2.32, tag 274)."""
    import cv2

    if orientation in (5, 6, 7, 8):
        image = np.asarray(cv2.transpose(image), dtype=np.uint8)
    axes: dict[int, int] = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}  # of cv2.flip
    return np.asarray(cv2.flip(image, axes[orientation]), dtype=np.uint8) if orientation in axes else image


def fit_long_side(image: Image, long_side: int) -> Image:
    """Shrink so that the long side is at most `long_side` pixels, by area resampling; a smaller image stays."""
    import cv2

    height, width = image.shape[:2]
    scale = long_side / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def letterbox(image: Image, size: int, *, square: bool = False) -> tuple[Image, Letterbox]:
    """Scale an image to a long side of `size` pixels and centre it on grey; enlarges small photos linearly.

    Args:
        image: Upright.
        size: A multiple of `STRIDE`.
        square: Whether the short side is filled up to `size` as well, else only to the next multiple of `STRIDE`,
            which spares the network a quarter of its work on a photo of 4:3.
    """
    import cv2

    height, width = image.shape[:2]
    scale = size / max(height, width)
    if scale < 1:
        image = fit_long_side(image, size)
    elif scale > 1:
        target = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = np.asarray(cv2.resize(image, target, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    rows, columns = (size if square else -(-side // STRIDE) * STRIDE for side in image.shape[:2])
    top, left = (rows - image.shape[0]) // 2, (columns - image.shape[1]) // 2
    canvas = np.full((rows, columns, 3), PAD_GREY, dtype=np.uint8)
    canvas[top : top + image.shape[0], left : left + image.shape[1]] = image
    return canvas, Letterbox(scale=scale, left=left, top=top, width=width, height=height)


def network_input(content: bytes, size: int, *, square: bool = False) -> tuple[npt.NDArray[np.float32], Letterbox]:
    """Turn photo bytes into one network input, (3, rows, columns), RGB, 0 to 1, and how to map boxes back.

    Args:
        content: Of a photo.
        size: Long side of the input, pixels.
        square: See `letterbox`.

    Raises:
        UnreadableImageError: Not a picture, or a broken one.
    """
    canvas, placed = letterbox(decode_scaled(content, size), size, square=square)
    return np.ascontiguousarray(canvas[:, :, ::-1].transpose(2, 0, 1), dtype=np.float32) / np.float32(255), placed
