"""A picture of the queue's first photos with the boxes that are suggested, for the asset's page."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from mlops_assets.detector.charts import LabelledBox, annotate
from mlops_assets.photos.pixels import Image, decode_scaled, fit_long_side

COLUMNS, ROWS = 4, 3
TILE = 288
"""Pixels of a tile's side; twelve of real photos made 142 kB at 320 and quality 70, too much for the event log."""

_QUALITY = 60
_GREY = 245


@dataclass(frozen=True)
class ContactSheet:
    """JPEG, and the ids of the photos on it, by which an erasure finds it in the event log."""

    jpeg: bytes
    photo_ids: str


def contact_sheet(queue: pl.DataFrame, read_photo: Callable[[str], bytes]) -> ContactSheet | None:
    """Draw the first photos in the order of their ranks; None for an empty queue.

    Args:
        queue: REVIEW_QUEUE.
        read_photo: Bytes of a normalised photo.
    """
    import cv2

    first = queue.sort("rank").head(COLUMNS * ROWS)
    if first.is_empty():
        return None
    tiles = [_tile(row, read_photo(row["photo_id"])) for row in first.to_dicts()]
    rows = -(-len(tiles) // COLUMNS)
    sheet = np.full((rows * TILE, COLUMNS * TILE, 3), _GREY, np.uint8)
    for number, tile in enumerate(tiles):
        top, left = number // COLUMNS * TILE, number % COLUMNS * TILE
        sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    _, content = cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return ContactSheet(content.tobytes(), " ".join(first["photo_id"]))


def _tile(row: dict[str, Any], content: bytes) -> Image:
    import cv2

    image = fit_long_side(decode_scaled(content, TILE), TILE - 8)
    height = min(image.shape[0], TILE - 28)
    image = image if image.shape[0] == height else fit_long_side(image, height)
    boxes: list[LabelledBox] = [
        (
            box["class_name"],
            None if box["confidence"] == 1.0 else box["confidence"],
            *(box["box_x"], box["box_y"], box["box_w"], box["box_h"]),
        )
        for box in row["suggested_boxes"]
    ]
    tile = np.full((TILE - 4, TILE - 4, 3), _GREY, np.uint8)
    drawn = annotate(image, boxes)
    tile[24 : 24 + drawn.shape[0], : drawn.shape[1]] = drawn
    words = f"{row['rank']}. {row['kind'].replace('_', ' ')}"
    cv2.putText(tile, words, (4, 17), (40, 40, 40), cv2.FontFace("sans"), 14)
    return tile
