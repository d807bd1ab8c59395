"""`python detecting_process.py <store> <model> <log> <photos>` looks at a day of small photos, as the step does.

Every photo that is read is added to the log. The tables are written at the end.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
import polars as pl

from mlops_assets.catalog.detecting import DayFindings, detect_day
from mlops_assets.catalog.looked_at import LookedAt
from mlops_assets.catalog.schema import UNKNOWN_EQUIPMENT
from mlops_assets.detector.champion import Champion
from resources.tables import CODE_VERSION, Tables, write_parquet

DAY = "2026-10-05"
CHAMPION = Champion("1", {0: "square", 3: "disc"}, {}, "sha", None)


def photo(photo_id: str) -> bytes:
    """A photo of its own, by its number."""
    number = int(photo_id[1:])
    picture = np.random.default_rng(number).integers(90, 140, (72, 96, 3)).astype(np.uint8)
    cv2.rectangle(picture, (10 + number % 20, 20), (39, 49), (20, 20, 220), -1)
    return bytes(cv2.imencode(".jpg", picture)[1].tobytes())


def look(store: Path, model: Path, log: Path, photos: int, day: str = DAY, code: str = "code") -> DayFindings:
    """Look at the photos and write the day's tables."""
    tables = Tables(root=str(store))
    looked_at = LookedAt(tables, day, code, CHAMPION.version)
    ids = [f"p{number:05d}" for number in range(photos)]

    def read(photo_id: str) -> bytes:
        with log.open("a") as file:
            file.write(f"{photo_id}\n")
        return photo(photo_id)

    found = detect_day(
        pl.DataFrame({"photo_id": ids, "verdict": ["usable"] * photos}),
        looked_at=looked_at,
        champion=CHAMPION,
        download=lambda *_: model,
        read_photo=read,
        threads=2,
        progress=lambda *_: None,
    )
    tables.write("unknown_equipment", found.unknown_equipment, UNKNOWN_EQUIPMENT, day)
    write_parquet(found.detections, tables._path("detections", day), {CODE_VERSION: code})
    looked_at.clear()
    return found


if __name__ == "__main__":
    look(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
