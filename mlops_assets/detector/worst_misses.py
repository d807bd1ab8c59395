"""The test photos on which a model is most wrong, with labels and detections drawn on them.

Their pictures show photos: they are named by photo_id, so that an erasure finds them (`resources/mlflow_pictures.py`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from mlops_assets.boxes import BOX_COLUMNS
from mlops_assets.detector.charts import Colour, draw_box
from mlops_assets.detector.confusion import FOUND_BOX
from mlops_assets.photos.pixels import Image, decode_scaled, fit_long_side

LABEL_COLOUR: Colour = (178, 114, 0)  # Okabe and Ito's blue and vermilion, BGR
FOUND_COLOUR: Colour = (0, 94, 213)
SIDE = 1280
"""Longest side of a photo's own picture, pixels."""

COLUMNS = 3
_MARGIN = 4
_GREY = 245
_INK = (30, 30, 30)

RANKED = pl.Schema(
    {
        "photo_id": pl.String(),
        "cost": pl.Float64(),
        "missed": pl.UInt32(),
        "confused": pl.UInt32(),
        "false": pl.UInt32(),
    }
)
"""One row a photo with a mistake, the worst first."""


def rank_photos(outcomes: pl.DataFrame) -> pl.DataFrame:
    """Order photos by what is wrong on them, at the stored thresholds and IoU 0.5.

    A label that is not found as its class costs 1, a detection that finds no label of its class costs its confidence:
    to be sure and wrong is worse than to be unsure and wrong. A label that is taken for another class costs both.

    Args:
        outcomes: OUTCOMES of a model on a snapshot.

    Returns:
        Rows of RANKED; photos without a mistake have none.
    """
    wrong = outcomes.filter(pl.col("class_id").ne_missing(pl.col("found_class_id")))
    labelled, found = pl.col("class_id").is_not_null(), pl.col("found_class_id").is_not_null()
    return (
        wrong.group_by("photo_id")
        .agg(
            cost=labelled.sum() + pl.col("confidence").fill_null(0.0).sum(),
            missed=(labelled & ~found).sum(),
            confused=(labelled & found).sum(),
            false=(~labelled & found).sum(),
        )
        .select(pl.col(name).cast(dtype) for name, dtype in RANKED.items())
        .sort("cost", "photo_id", descending=[True, False])
    )


@dataclass(frozen=True)
class Miss:
    """One photo of the worst, `rank` from 1 on."""

    rank: int
    photo_id: str
    words: str
    """What is wrong on it."""

    outcomes: pl.DataFrame
    """OUTCOMES of the photo."""

    @property
    def file_name(self) -> str:
        """Of its own picture."""
        return f"{self.rank:02}-{self.photo_id}.jpg"


def worst_photos(outcomes: pl.DataFrame, count: int) -> list[Miss]:
    """The `count` worst photos, fewer where fewer have a mistake."""
    return [
        Miss(
            rank,
            row["photo_id"],
            f"{rank}. {row['missed']} missed, {row['confused']} confused, {row['false']} false; cost {row['cost']:.2f}",
            outcomes.filter(pl.col("photo_id") == row["photo_id"]),
        )
        for rank, row in enumerate(rank_photos(outcomes).head(count).iter_rows(named=True), start=1)
    ]


def miss_picture(
    miss: Miss, read_photo: Callable[[str], bytes], names: Mapping[int, str], long_side: int = SIDE
) -> Image:
    """The photo with its boxes: what is wrong thick and named, what is right thin; above it, what is wrong.

    Args:
        miss: Of `worst_photos`.
        read_photo: Bytes of a normalised photo.
        names: Display names.
        long_side: Of the photo, pixels; a smaller one is enlarged no further than to twice its size.

    Returns:
        (height, width, 3), BGR.
    """
    import cv2

    image = fit_long_side(decode_scaled(read_photo(miss.photo_id), long_side), long_side)
    scale = min(2.0, long_side / max(image.shape[:2]))
    if scale > 1:
        image = np.asarray(cv2.resize(image, None, fx=scale, fy=scale), dtype=np.uint8)
    image = image.copy()
    rows = miss.outcomes.to_dicts()
    for is_right in (True, False):  # what is wrong lies on top
        for row in rows:
            if (row["class_id"] == row["found_class_id"]) == is_right:
                _draw(image, row, names, is_right)
    header = _header(miss.words, size=max(13, max(image.shape[:2]) // 80))
    width = max(image.shape[1], header.shape[1])
    return np.vstack([_widened(header, width), _widened(image, width)])


def contact_sheet(
    misses: list[Miss], read_photo: Callable[[str], bytes], names: Mapping[int, str], *, side: int
) -> Image | None:
    """Several photos on one picture, the worst first; None for none.

    Args:
        misses: Of `worst_photos`.
        read_photo: Bytes of a normalised photo.
        names: Display names.
        side: Longest side of a photo, pixels.
    """
    if not misses:
        return None
    rows = [misses[i : i + COLUMNS] for i in range(0, len(misses), COLUMNS)]
    strips = []
    for row in rows:
        pictures = [miss_picture(miss, read_photo, names, side) for miss in row]
        height = max(picture.shape[0] for picture in pictures) + _MARGIN
        strip = np.full((height, sum(picture.shape[1] + _MARGIN for picture in pictures), 3), _GREY, np.uint8)
        left = 0
        for picture in pictures:
            strip[: picture.shape[0], left : left + picture.shape[1]] = picture
            left += picture.shape[1] + _MARGIN
        strips.append(strip)
    width = max(strip.shape[1] for strip in strips)
    return np.vstack([_widened(strip, width) for strip in strips])


def encode_jpeg(image: Image, max_bytes: int | None = None) -> bytes:
    """A picture as JPEG without metadata, at a lower quality and then smaller where it would be larger than allowed."""
    import cv2

    for quality in (82, 65, 50, 35):
        _, content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if max_bytes is None or content.size <= max_bytes:
            return content.tobytes()
    return encode_jpeg(fit_long_side(image, round(max(image.shape[:2]) * 0.8)), max_bytes)


def _draw(image: Image, row: Mapping[str, object], names: Mapping[int, str], is_right: bool) -> None:
    sides = (
        ("class_id", BOX_COLUMNS, LABEL_COLOUR, ""),
        ("found_class_id", FOUND_BOX, FOUND_COLOUR, f" {row['confidence'] or 0:.2f}"),
    )
    for column, box_columns, colour, more in sides:
        class_id = row[column]
        if isinstance(class_id, int):
            box = [float(str(row[name])) for name in box_columns]
            text = None if is_right else f"{names.get(class_id, class_id)}{more}"
            place = (box[0], box[1], box[2], box[3])
            thickness = 1 if is_right else None
            draw_box(image, place, colour, text, thickness=thickness, below=column == "found_class_id")


def _header(words: str, size: int) -> Image:
    """What the colours mean, and below it what is wrong on the photo."""
    import cv2

    font, line = cv2.FontFace("sans"), size + 7
    _, _, width, _ = cv2.getTextSize((10_000, 1000), words, (0, 500), font, size)
    header = np.full((2 * line + 4, max(width + 8, 12 * size), 3), _GREY, np.uint8)
    for left, text, colour in ((4, "label", LABEL_COLOUR), (6 * size, "found", FOUND_COLOUR)):
        cv2.rectangle(header, (left, 5), (left + size - 1, 4 + size), colour, cv2.FILLED)
        cv2.putText(header, text, (left + size + 5, 3 + size), _INK, font, size)
    cv2.putText(header, words, (4, line + 3 + size), _INK, font, size)
    return header


def _widened(image: Image, width: int) -> Image:
    margin = np.full((image.shape[0], width - image.shape[1], 3), _GREY, np.uint8)
    return np.hstack([image, margin])
