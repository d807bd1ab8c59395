"""From bytes that anybody sent to bytes that the network may be given: a whole picture within the limits, or a reason.

The header is read before anything is decoded. Where photos stand in a request is for `bodies`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np

from mlops_assets.photos.examination import JPEG_QUALITY
from mlops_assets.photos.pictures import PictureFacts, decode, inspect
from mlops_assets.photos.quarantine import QuarantineError
from mlops_assets.serving.refusals import RefusalError

_START_OF_IMAGE, _END_OF_IMAGE, _START_OF_SCAN = b"\xff\xd8", 0xD9, 0xDA
_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)  # starts of frame, ITU-T T.81, table B.1

_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
"""Of a segment with a length, or the end. Others stand alone, 0xFF may be repeated, and before 0x00 it is a value."""

_MOST_SCANS = 100
"""Encoders make about ten; each costs a pass over the whole picture, and a few bytes of the file."""

_UTC = ZoneInfo("UTC")


@dataclass(frozen=True)
class PhotoLimits:
    """Largest photo that is decoded, and what a photo of another format than JPEG is brought to; pixels.

    Attributes:
        max_pixels: Of any photo.
        long_side: Of a photo of another format than JPEG, once it is normalised.
        max_whole_pixels: Of a photo that is decoded in full size before it is scaled down: a plain JPEG is not.
    """

    max_pixels: int = 120_000_000
    long_side: int = 1280
    max_whole_pixels: int = 25_000_000


@dataclass(frozen=True)
class TakenPhoto:
    """A photo that may be decoded; width and height in pixels, upright."""

    content: bytes
    width: int
    height: int


def take(content: bytes, limits: PhotoLimits) -> TakenPhoto:
    """Check a photo, and bring what is no JPEG to one, as the intake does.

    Raises:
        RefusalError: Not a picture, one that is cut short, or one that is too large.
    """
    if not content:
        raise RefusalError(400, "The photo is empty (0 bytes).")
    try:
        facts = inspect(content, max_pixels=limits.max_pixels, zone=_UTC)
        if facts.format in ("JPEG", "MPO") and content.startswith(_START_OF_IMAGE):
            if _is_decoded_whole(content):
                _require_small(facts, limits)
            return TakenPhoto(content, facts.width, facts.height)
        _require_small(facts, limits)
        return _normalised(content, facts, limits)
    except QuarantineError as error:
        too_large = error.width is not None
        raise RefusalError(413 if too_large else 400, f"{error.reason} {error.remedy}") from error


def _normalised(content: bytes, facts: PictureFacts, limits: PhotoLimits) -> TakenPhoto:
    import simplejpeg

    _, pixels = decode(content, long_side=limits.long_side, max_pixels=limits.max_pixels, zone=_UTC)
    encoded = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=JPEG_QUALITY, colorspace="RGB")
    return TakenPhoto(bytes(encoded), facts.width, facts.height)


def _require_small(facts: PictureFacts, limits: PhotoLimits) -> None:
    if facts.width * facts.height > limits.max_whole_pixels:
        kind = "progressive JPEG" if facts.format in ("JPEG", "MPO") else facts.format
        raise RefusalError(
            413,
            f"The picture has {facts.width} x {facts.height} pixels, more than the limit of "
            f"{limits.max_whole_pixels:,} for a {kind}, which has to be decoded in full size. "
            "Send it smaller, or as a JPEG that is not progressive.",
        )


def _is_decoded_whole(content: bytes) -> bool:
    """Whether a JPEG has to be held as a whole before its first line can be scaled down.

    Raises:
        RefusalError: It is cut short, which decoders fill up with grey, or has scans without end.
    """
    scans, progressive = 0, False
    for marker in _markers(content):
        if marker == _END_OF_IMAGE:
            return progressive or scans > 1
        progressive |= marker in _PROGRESSIVE
        scans += marker == _START_OF_SCAN
        if scans > _MOST_SCANS:
            raise RefusalError(
                400,
                f"The JPEG has more than {_MOST_SCANS} scans, which no camera makes. Send the file as it was taken.",
            )
    raise RefusalError(
        400, f"The JPEG is cut short: its {len(content)} bytes do not hold its end. Send the whole file."
    )


def _markers(content: bytes) -> Iterator[int]:
    """Markers of the picture up to its end, as a decoder comes to them.

    Segments are passed over by their lengths: a preview within one has an end and scans of its own. What follows the
    end, such as a phone's film, does not belong to the picture.
    """
    place = len(_START_OF_IMAGE)
    while found := _MARKER.search(content, place):
        marker, place = content[found.start() + 1], found.end()
        yield marker
        if marker == _END_OF_IMAGE:
            return
        place += int.from_bytes(content[place : place + 2], "big")
