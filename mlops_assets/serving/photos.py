"""From bytes that anybody sent to bytes that the network may be given: a whole picture within the limits, or a reason.

The header is read before anything is decoded. Where photos stand in a request is for `bodies`.
"""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np

from mlops_assets.photos.examination import JPEG_QUALITY
from mlops_assets.photos.pictures import PictureFacts, decode, inspect
from mlops_assets.photos.quarantine import QuarantineError
from mlops_assets.serving.refusals import RefusalError

_START_OF_IMAGE, _END_OF_IMAGE, _START_OF_SCAN = b"\xff\xd8", b"\xff\xd9", 0xDA
_UTC = ZoneInfo("UTC")


@dataclass(frozen=True)
class PhotoLimits:
    """Largest photo that is decoded, and what a photo of another format than JPEG is brought to; pixels."""

    max_pixels: int = 120_000_000
    long_side: int = 1280


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
            _require_end(content)
            return TakenPhoto(content, facts.width, facts.height)
        return _normalised(content, facts, limits)
    except QuarantineError as error:
        too_large = error.width is not None
        raise RefusalError(413 if too_large else 400, f"{error.reason} {error.remedy}") from error


def _normalised(content: bytes, facts: PictureFacts, limits: PhotoLimits) -> TakenPhoto:
    import simplejpeg

    _, pixels = decode(content, long_side=limits.long_side, max_pixels=limits.max_pixels, zone=_UTC)
    encoded = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=JPEG_QUALITY, colorspace="RGB")
    return TakenPhoto(bytes(encoded), facts.width, facts.height)


def _require_end(content: bytes) -> None:
    """Refuse a JPEG that is cut short, which decoders fill up with grey.

    Between the first scan and the end, 0xFF is followed by 0x00 or a marker other than the end's (ITU-T T.81, B.1.1);
    a preview within the segments before has an end of its own, so these are passed over by their lengths.
    """
    place = len(_START_OF_IMAGE)
    while place + 4 <= len(content) and content[place] == 0xFF:
        marker = content[place + 1]
        if marker == _START_OF_SCAN:
            break
        # 0xFF may be repeated as a filler; markers 0x01 and 0xD0 to 0xD7 have no length
        step = 1 if marker == 0xFF else 2
        if marker not in (0xFF, 0x01, *range(0xD0, 0xD8)):
            step += int.from_bytes(content[place + 2 : place + 4], "big")
        place += step
    if content.find(_END_OF_IMAGE, place) < 0:
        raise RefusalError(
            400, f"The JPEG is cut short: its {len(content)} bytes do not hold its end. Send the whole file."
        )
