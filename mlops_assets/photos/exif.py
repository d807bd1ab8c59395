"""What EXIF tells about a photo: when, with which camera, where, and which way up.

Tag numbers and formats are those of Exif 2.32 (CIPA DC-008-2019). Real files break them in every way, so whatever
cannot be understood is left out; the picture itself is judged in `pictures`.
"""

import datetime as dt
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from mlops_assets.photos.capture_time import to_utc

if TYPE_CHECKING:
    from PIL import Image as PillowImage

_MAKE, _MODEL, _ORIENTATION = 0x010F, 0x0110, 0x0112
_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_DATE_TIME_ORIGINAL, _OFFSET_TIME_ORIGINAL = 0x9003, 0x9011
_LATITUDE_REF, _LATITUDE, _LONGITUDE_REF, _LONGITUDE = 1, 2, 3, 4

# What Pillow raises on EXIF that is broken in one way or another.
_BROKEN = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
)


@dataclass(frozen=True)
class ExifFacts:
    """What could be read; None where a tag is missing or makes no sense."""

    captured_at: dt.datetime | None = None
    """In UTC."""
    camera: str | None = None
    latitude: float | None = None
    """Decimal degrees, north positive."""
    longitude: float | None = None
    """Decimal degrees, east positive."""
    orientation: int = 1
    """1 to 8; 5 to 8 swap width and height."""


def read_exif(image: "PillowImage.Image", zone: ZoneInfo) -> ExifFacts:
    """Read the facts of an opened picture; never raises on broken EXIF.

    Args:
        image: Opened by Pillow; pixels need not be decoded.
        zone: Time zone of a DateTimeOriginal without OffsetTimeOriginal.
    """
    main = _directory(image, None)
    latitude, longitude = _position(_directory(image, _GPS_IFD))
    return ExifFacts(
        captured_at=_captured_at(_directory(image, _EXIF_IFD), zone),
        camera=_camera(main),
        latitude=latitude,
        longitude=longitude,
        orientation=_orientation(main),
    )


def read_orientation(image: "PillowImage.Image") -> int:
    """The orientation alone, as `read_exif` gives it."""
    return _orientation(_directory(image, None))


def _directory(image: "PillowImage.Image", ifd: int | None) -> Mapping[int, Any]:
    try:
        exif = image.getexif()
        return dict(exif if ifd is None else exif.get_ifd(ifd))
    except _BROKEN:
        return {}


def _orientation(main: Mapping[int, Any]) -> int:
    value = main.get(_ORIENTATION)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _text(value: object) -> str:
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else value if isinstance(value, str) else ""
    printable = "".join(letter for letter in text.split("\0", 1)[0] if letter.isprintable())
    return " ".join(printable.split())[:100]


def _camera(main: Mapping[int, Any]) -> str | None:
    make, model = _text(main.get(_MAKE)), _text(main.get(_MODEL))
    if model.lower().startswith(make.lower()):  # many models carry the make already
        return model or None
    return f"{make} {model}".strip()


def _captured_at(exif: Mapping[int, Any], zone: ZoneInfo) -> dt.datetime | None:
    try:
        moment = dt.datetime.strptime(_text(exif.get(_DATE_TIME_ORIGINAL)), "%Y:%m:%d %H:%M:%S")
        return to_utc(moment.replace(tzinfo=_offset(_text(exif.get(_OFFSET_TIME_ORIGINAL)))), zone)
    except ValueError:
        return None


def _offset(text: str) -> dt.tzinfo | None:
    try:
        return dt.datetime.strptime(text, "%z").tzinfo
    except ValueError:
        return None


def _position(gps: Mapping[int, Any]) -> tuple[float, float] | tuple[None, None]:
    try:
        latitude = _degrees(gps[_LATITUDE], _text(gps[_LATITUDE_REF]), positive="N", negative="S", limit=90)
        longitude = _degrees(gps[_LONGITUDE], _text(gps[_LONGITUDE_REF]), positive="E", negative="W", limit=180)
    except _BROKEN:
        return None, None
    return latitude, longitude


def _degrees(parts: Any, reference: str, *, positive: str, negative: str, limit: int) -> float:
    degrees, minutes, seconds = (float(part) for part in parts)
    value = degrees + minutes / 60 + seconds / 3600
    if not (math.isfinite(value) and 0 <= value <= limit and reference.upper() in (positive, negative)):
        raise ValueError(f"{degrees} {minutes} {seconds} {reference!r} is no position")
    return value if reference.upper() == positive else -value
