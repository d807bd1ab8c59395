"""Evidence pictures: a photo with the boxes that were found on it, small enough for a page.

Which boxes are shown, and where pictures are kept, is decided in `pages`.
"""

import hashlib
import json
from collections.abc import Callable, Sequence

from mlops_assets.detector.charts import LabelledBox
from mlops_assets.photos.pixels import Image, decode_scaled, fit_long_side

Annotate = Callable[[Image, Sequence[LabelledBox]], Image]
"""Draws boxes on an upright BGR picture, as `charts.annotate` does."""

LONG_SIDE = 960
"""Longest side of an evidence picture, pixels."""

_JPEG_QUALITY = 82
_DRAWING = 1  # part of a picture's name: raise it when drawing changes, and pictures are made anew


def picture_name(photo_id: str, boxes: Sequence[LabelledBox], annotate: Annotate) -> str:
    """Name a picture by its content, so that one that exists need not be made again."""
    rounded = [(label, *(None if number is None else round(number, 5) for number in rest)) for label, *rest in boxes]
    drawing = f"{annotate.__module__}.{annotate.__qualname__}"
    content = json.dumps([_DRAWING, drawing, LONG_SIDE, photo_id, rounded])
    return hashlib.sha256(content.encode()).hexdigest()[:32] + ".jpg"


def evidence_picture(content: bytes, boxes: Sequence[LabelledBox], annotate: Annotate) -> bytes:
    """Shrink a photo to LONG_SIDE, draw the boxes, and encode it as JPEG without metadata.

    Raises:
        UnreadableImageError: The photo cannot be decoded.
    """
    import cv2

    image = annotate(fit_long_side(decode_scaled(content, LONG_SIDE), LONG_SIDE), boxes)
    done, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not done:
        raise RuntimeError(f"OpenCV could not encode a picture of shape {image.shape} as JPEG")
    return bytes(encoded)
