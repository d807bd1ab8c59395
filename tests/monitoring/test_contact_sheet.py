"""The picture of the queue's first photos: all of them, small enough for the event log, found by an erasure."""

import datetime as dt

import cv2
import numpy as np
import polars as pl

from mlops_assets.monitoring.contact_sheet import COLUMNS, ROWS, TILE, contact_sheet
from mlops_assets.monitoring.schema import REVIEW_QUEUE


def queue(photos: int) -> pl.DataFrame:
    box = {"class_id": 0, "class_name": "elosztó", "confidence": 0.4}
    box |= {"box_x": 0.5, "box_y": 0.5, "box_w": 0.2, "box_h": 0.2}
    rows = [
        {
            "photo_id": f"{n:064}",
            "rank": n + 1,
            "reason": "why",
            "score": 0.5,
            "kind": "unlabelled_enclosure",
            "suggested_boxes": [box, box | {"confidence": 1.0}] if n % 2 else [],
            "queued_on": dt.date(2026, 10, 6),
        }
        for n in range(photos)
    ]
    return pl.DataFrame(rows, schema=REVIEW_QUEUE)


def noise(photo_id: str) -> bytes:
    height, width = (900, 1200) if int(photo_id) % 2 else (1200, 900)
    rng = np.random.default_rng(int(photo_id))
    small = rng.integers(0, 255, (height // 30, width // 30, 3)).astype(np.uint8)
    _, content = cv2.imencode(".jpg", cv2.resize(small, (width, height)))
    return bytes(content)


def test_the_first_photos_are_shown_and_named() -> None:
    sheet = contact_sheet(queue(COLUMNS * ROWS + 3), noise)
    assert sheet is not None
    picture = cv2.imdecode(np.frombuffer(sheet.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (ROWS * TILE, COLUMNS * TILE, 3)
    assert sheet.photo_ids.split() == [f"{n:064}" for n in range(COLUMNS * ROWS)]
    assert len(sheet.jpeg) < 250_000


def test_a_short_queue_makes_a_small_sheet_and_an_empty_one_none() -> None:
    sheet = contact_sheet(queue(2), noise)
    assert sheet is not None
    assert cv2.imdecode(np.frombuffer(sheet.jpeg, np.uint8), cv2.IMREAD_COLOR).shape[0] == TILE
    assert contact_sheet(queue(0), noise) is None
