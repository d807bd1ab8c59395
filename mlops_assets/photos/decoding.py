"""From an opened upload to upright sRGB pixels of a bounded size: every colour mode, and the fast way for JPEG.

Whether a file is a picture that is taken, and what its header tells, is for `pictures`; decoding of normalised photos
for the detector is in `pixels`.
"""

import io
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mlops_assets.photos.pixels import Image, fit_long_side
from mlops_assets.photos.quarantine import QuarantineError, in_words

if TYPE_CHECKING:
    from PIL import Image as PillowImage

# What Pillow and its plugins raise on broken files, the fuzzers' among them.
_CODEC_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
)

# Orientation to Pillow's transposition (Exif 2.32, tag 274), by name since Pillow is imported late.
_UPRIGHT = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}

LARGE_PIXELS = 40_000_000
_large_decode = threading.Lock()
"""Held while more than LARGE_PIXELS are decoded, so that memory does not grow with the number of threads."""

_SCALES = (8, 4, 2)
"""Divisors of a JPEG's size at which its discrete cosine transform is computed directly and fast."""


@contextmanager
def codec() -> Iterator[None]:
    """Turn what Pillow and its plugins raise on broken files into a QuarantineError; goes around their code only."""
    try:
        yield
    except _CODEC_ERRORS as error:
        raise QuarantineError(
            f"The picture is truncated or broken: {in_words(error)}.", "Upload it again from the phone or camera."
        ) from error


def decode_upright(image: "PillowImage.Image", content: bytes, *, orientation: int, long_side: int) -> Image:
    """Decode a whole picture, which proves that it is complete.

    Args:
        image: `content` as Pillow has opened it; nothing of it is decoded yet.
        content: The file's bytes.
        orientation: EXIF orientation, 1 to 8.
        long_side: Largest long side of the result, pixels; a smaller picture keeps its size.

    Returns:
        (height, width, 3), **RGB**, 8-bit sRGB. Transparency is laid over white.

    Raises:
        QuarantineError: The picture is truncated or broken.
    """
    profile = image.info.get("icc_profile")
    smallest = _jpeg_divisor(image, long_side)
    if image.width * image.height > LARGE_PIXELS * smallest**2:
        with _large_decode:
            pixels, mode = _decoded(image, content, smallest, long_side)
    else:
        pixels, mode = _decoded(image, content, smallest, long_side)
    return _upright(_srgb(fit_long_side(pixels, long_side), mode, profile), orientation)


def _jpeg_divisor(image: "PillowImage.Image", long_side: int) -> int:
    """By how much a JPEG may be scaled down while it is decoded; 1 for other formats."""
    if image.format not in ("JPEG", "MPO"):
        return 1
    return next((divisor for divisor in _SCALES if max(image.size) // divisor >= long_side), 1)


def _decoded(
    image: "PillowImage.Image", content: bytes, divisor: int, long_side: int
) -> tuple[npt.NDArray[np.uint8], str]:
    """Pixels in one of the modes L, RGB and CMYK, and that mode."""
    if image.format in ("JPEG", "MPO") and image.mode in ("L", "RGB"):
        pixels = _fast_jpeg(content, image.size, divisor, grey=image.mode == "L")
        if pixels is not None:
            return pixels, image.mode
    with codec():
        image.draft("RGB", (long_side, long_side))  # JPEG alone
    plain = _eight_bit(image)
    return np.asarray(plain), plain.mode


def _fast_jpeg(content: bytes, size: tuple[int, int], divisor: int, *, grey: bool) -> npt.NDArray[np.uint8] | None:
    """Decode without Python's lock, which Pillow holds; None for what is damaged or unusual, on which Pillow decides.

    Pillow takes a JPEG with stray bytes between its segments; what it refuses is refused for its reason.
    """
    import simplejpeg

    width, height = (-(-side // divisor) for side in size)
    try:
        pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(
            content, "GRAY" if grey else "RGB", min_height=height, min_width=width, strict=True
        )
    except ValueError:
        return None
    return pixels[:, :, 0] if grey else pixels


def _eight_bit(image: "PillowImage.Image") -> "PillowImage.Image":
    """Decode completely, to one of the modes L, RGB and CMYK."""
    from PIL import Image as PillowImage

    with codec():
        image.load()
    if image.mode in ("L", "RGB", "CMYK"):
        return image
    if image.mode[0] in "IF":
        return _stretched(image)
    if image.has_transparency_data:
        with_alpha = image.convert("RGBA")
        return PillowImage.alpha_composite(PillowImage.new("RGBA", image.size, "white"), with_alpha).convert("RGB")
    return image.convert("L" if image.mode == "1" else "RGB")


def _stretched(image: "PillowImage.Image") -> "PillowImage.Image":
    """Spread 16- and 32-bit grey over 0 to 255: a 12-bit sensor fills part of the range, and no header says so."""
    from PIL import Image as PillowImage

    values = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) * (255.0 / (high - low)) if high > low else np.zeros_like(values)
    return PillowImage.fromarray(scaled.astype(np.uint8), "L")


def _srgb(pixels: npt.NDArray[np.uint8], mode: str, profile: bytes | None) -> "PillowImage.Image":
    """Bring colours of a wider space (phones record Display P3) to sRGB; a broken or unfitting profile is left out."""
    from PIL import Image as PillowImage
    from PIL import ImageCms

    image = PillowImage.fromarray(pixels, mode)
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "sRGB" in ImageCms.getProfileDescription(source):
                return image.convert("RGB")
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            return converted if converted is not None else image.convert("RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            return image.convert("RGB")
    return image.convert("RGB")


def _upright(image: "PillowImage.Image", orientation: int) -> Image:
    from PIL import Image as PillowImage

    if orientation in _UPRIGHT:
        image = image.transpose(PillowImage.Transpose[_UPRIGHT[orientation]])
    return np.asarray(image, dtype=np.uint8)
