"""The champion's detections on one day's photos, looked at once a model version."""

from collections.abc import Callable
from pathlib import Path

import polars as pl

from mlops_assets.catalog.schema import DETECTIONS
from mlops_assets.detector.champion import Champion
from mlops_assets.detector.predictor import OnnxPredictor, detect_photos

MIN_CONFIDENCE = 0.05
"""Kept down to here, so that thresholds can change without looking at the photos again."""


def detect_day(
    clean_photos: pl.DataFrame,
    *,
    previous: pl.DataFrame,
    champion: Champion | None,
    download: Callable[[Champion], Path],
    read_photo: Callable[[str], bytes],
    threads: int,
    progress: Callable[[int, int], None],
) -> pl.DataFrame:
    """Detect on the day's usable photos that this version has not looked at yet.

    Args:
        clean_photos: CLEAN_PHOTOS of the day.
        previous: The day's last detections.
        champion: What serves; without one nothing can be found and the table is empty.
        download: Local path of the champion's ONNX file.
        read_photo: Bytes of a normalised photo.
        threads: Of the network, and as many for decoding.
        progress: Called with photos done and to do.

    Returns:
        DETECTIONS of exactly the day's usable photos, sorted by photo.
    """
    if champion is None:
        return pl.DataFrame(schema=DETECTIONS)
    usable = clean_photos.filter(pl.col("verdict") == "usable").select("photo_id").sort("photo_id")
    known = previous.filter(pl.col("model_version") == champion.version).join(usable, on="photo_id", how="semi")
    todo = usable.join(known, on="photo_id", how="anti")["photo_id"].to_list()
    if not todo:
        return known.sort("photo_id", "class_id", "confidence", descending=[False, False, True])
    predictor = OnnxPredictor(download(champion), list(champion.class_map), threads=threads)
    found = detect_photos(
        predictor,
        todo,
        read_photo,
        model_version=champion.version,
        confidence=MIN_CONFIDENCE,
        progress=lambda done: progress(done, len(todo)),
    )
    return pl.concat([known, found.select(DETECTIONS.names())]).sort(
        "photo_id", "class_id", "confidence", descending=[False, False, True]
    )
