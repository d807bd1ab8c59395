"""What an upload is, by its content: which format, how large, what its EXIF tells; refuses what is no still picture.

Where files come from and what becomes of a refused one is for `intake`; pixels are for `decoding`.
"""

import functools
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from mlops_assets.photos.decoding import codec, decode_upright
from mlops_assets.photos.exif import ExifFacts, read_exif, read_orientation
from mlops_assets.photos.pixels import Image
from mlops_assets.photos.quarantine import QuarantineError

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

EXTENSIONS = dict(FORMATS.values())
"""Extension of the stored original by our name of its format."""

_PLUGINS = tuple(name for name in FORMATS if name != "MPO")  # Pillow opens MPO by its JPEG plugin

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
        return _facts(image, max_pixels, zone)


def decode(content: bytes, *, long_side: int, max_pixels: int, zone: ZoneInfo) -> tuple[PictureFacts, Image]:
    """`inspect`, and with the same opening the whole picture's pixels.

    Args:
        content: The file's bytes.
        long_side: Largest long side of the pixels; a smaller picture keeps its size.
        max_pixels: As for `inspect`, like `zone`.
        zone: Likewise.

    Returns:
        The facts, and the upright picture, (height, width, 3), RGB, 8-bit sRGB.

    Raises:
        QuarantineError: As `inspect`, or the picture is truncated or broken.
    """
    with _opened(content) as image:
        facts = _facts(image, max_pixels, zone)
        return facts, decode_upright(image, content, orientation=facts.exif.orientation, long_side=long_side)


def decode_again(content: bytes, *, long_side: int) -> Image:
    """The pixels that `decode` gives, of a picture that it has taken before.

    Raises:
        QuarantineError: The file is not what it was.
    """
    with _opened(content) as image:
        return decode_upright(image, content, orientation=read_orientation(image), long_side=long_side)


def orientation_of(content: bytes) -> int:
    """How a picture is stored: its EXIF orientation, 1 to 8.

    Raises:
        QuarantineError: No picture that is taken.
    """
    with _opened(content) as image:
        return read_orientation(image)


def _facts(image: "PillowImage.Image", max_pixels: int, zone: ZoneInfo) -> PictureFacts:
    kind, extension = FORMATS[image.format or ""]
    width, height = image.size
    if width * height > max_pixels:
        raise QuarantineError(
            f"The picture has {width} x {height} pixels, more than the limit of {max_pixels:,}.",
            "Upload it at the camera's normal resolution.",
            width=width,
            height=height,
        )
    with codec():
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
        with codec():
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
