"""From the bytes of an upload to a normalised photo: what format it is, whether it is whole, and one way to store it.

Refuses what is no single still picture. Where files come from and what becomes of a refused one is for `intake`;
decoding of normalised photos for the detector is in `pixels`.
"""

import functools
import io
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from mlops_assets.photos.exif import ExifFacts, read_exif, read_orientation
from mlops_assets.photos.pixels import fit_long_side
from mlops_assets.photos.quarantine import QuarantineError, in_words

if TYPE_CHECKING:
    from PIL import Image as PillowImage

FORMATS = {
    "JPEG": ("JPEG", "jpg"),
    "MPO": ("MPO", "jpg"),
    "PNG": ("PNG", "png"),
    "WEBP": ("WEBP", "webp"),
    "HEIF": ("HEIC", "heic"),
    "AVIF": ("AVIF", "avif"),
    "TIFF": ("TIFF", "tif"),
}
"""Pillow's name of a format that is taken: our name, and the extension of the stored original."""

JPEG_QUALITY = 90

_PLUGINS = tuple(name for name in FORMATS if name != "MPO")  # Pillow opens MPO by its JPEG plugin

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

_SEVERAL_PICTURES_ALLOWED = ("MPO", "HEIF")  # the first or primary one is the photo, the others its depth or preview

_OTHERS = {
    b"GIF8": "a GIF picture",
    b"BM": "a BMP picture",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive or office document",
    b"<svg": "an SVG drawing",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
}

_WHAT_IS_TAKEN = "Upload the photo as JPEG, PNG, WebP, HEIC, AVIF or TIFF."

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


@dataclass(frozen=True)
class PictureFacts:
    """What the header tells; width and height in pixels, upright."""

    format: str
    extension: str
    width: int
    height: int
    exif: ExifFacts


def inspect(content: bytes, *, max_pixels: int, zone: ZoneInfo) -> PictureFacts:
    """Recognise a picture by its content, without decoding it.

    Args:
        content: The file's bytes.
        max_pixels: Largest picture taken; guards against decompression bombs.
        zone: Time zone of EXIF times without offset.

    Raises:
        QuarantineError: No picture, a format that is not taken, animated, several pages, or too many pixels.
    """
    with _opened(content) as image:
        kind, extension = FORMATS[image.format or ""]
        width, height = image.size
        if width * height > max_pixels:
            raise QuarantineError(
                f"The picture has {width} x {height} pixels, more than the limit of {max_pixels:,}.",
                "Upload it at the camera's normal resolution.",
                width=width,
                height=height,
            )
        with _codec():
            frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format not in _SEVERAL_PICTURES_ALLOWED:
            raise QuarantineError(
                f"The {kind} file holds {frames} pictures (an animation or pages).",
                "Upload each photo as its own file.",
            )
        exif = read_exif(image, zone)
    if exif.orientation >= 5:
        width, height = height, width
    return PictureFacts(format=kind, extension=extension, width=width, height=height, exif=exif)


def normalise(content: bytes, *, long_side: int) -> bytes:
    """Decode the whole picture, which proves that it is complete, and encode the normalised photo.

    Args:
        content: Bytes that `inspect` has accepted.
        long_side: Largest long side of the result, pixels; a smaller picture keeps its size.

    Returns:
        JPEG bytes: upright, 8-bit sRGB, no metadata. Transparency is laid over white.

    Raises:
        QuarantineError: The picture is truncated or broken.
    """
    import cv2

    with _opened(content) as image:
        orientation = read_orientation(image)
        with _codec():
            # JPEG alone: decode to 1/2, 1/4 or 1/8, where that is still large enough
            image.draft("RGB", (long_side, long_side))
        if image.width * image.height > LARGE_PIXELS:
            with _large_decode:
                pixels = _pixels(image, orientation, long_side)
        else:
            pixels = _pixels(image, orientation, long_side)
    encoded, buffer = cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not encoded:
        raise RuntimeError(f"OpenCV could not encode a photo of shape {pixels.shape} as JPEG")
    return bytes(buffer.tobytes())


@functools.cache
def _pillow() -> None:
    """Prepare Pillow once a process."""
    import pillow_heif
    from PIL import Image as PillowImage

    pillow_heif.register_heif_opener()
    # `inspect` holds the limit of the use case before anything is decoded; Pillow's own would warn below it.
    PillowImage.MAX_IMAGE_PIXELS = None


@contextmanager
def _opened(content: bytes) -> Iterator["PillowImage.Image"]:
    from PIL import Image as PillowImage
    from PIL import UnidentifiedImageError

    _pillow()
    try:
        with _codec():
            image = PillowImage.open(io.BytesIO(content), formats=_PLUGINS)
    except QuarantineError as error:
        if not isinstance(error.__cause__, UnidentifiedImageError):
            raise
        raise QuarantineError(f"The file is {_described(content)}.", _WHAT_IS_TAKEN) from error
    with image:
        yield image


def _described(content: bytes) -> str:
    start = content[:64].lstrip().lower()
    unknown = "no picture in a format that is taken, or its header is broken"
    return next((name for magic, name in _OTHERS.items() if start.startswith(magic.lower())), unknown)


@contextmanager
def _codec() -> Iterator[None]:
    """Turn what Pillow and its plugins raise on broken files into a QuarantineError; goes around their code only."""
    try:
        yield
    except _CODEC_ERRORS as error:
        raise QuarantineError(
            f"The picture is truncated or broken: {in_words(error)}.", "Upload it again from the phone or camera."
        ) from error


def _pixels(image: "PillowImage.Image", orientation: int, long_side: int) -> npt.NDArray[np.uint8]:
    from PIL import Image as PillowImage

    profile = image.info.get("icc_profile")
    plain = _eight_bit(image)
    shrunk = PillowImage.fromarray(fit_long_side(np.asarray(plain), long_side), plain.mode)
    coloured = _srgb(shrunk, profile)
    if orientation in _UPRIGHT:
        coloured = coloured.transpose(PillowImage.Transpose[_UPRIGHT[orientation]])
    return np.asarray(coloured, dtype=np.uint8)


def _eight_bit(image: "PillowImage.Image") -> "PillowImage.Image":
    """Decode completely, to one of the modes L, RGB and CMYK."""
    from PIL import Image as PillowImage

    with _codec():
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


def _srgb(image: "PillowImage.Image", profile: bytes | None) -> "PillowImage.Image":
    """Bring colours of a wider space (phones record Display P3) to sRGB; a broken or unfitting profile is left out."""
    from PIL import ImageCms

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
