"""A small dataset with photos in a store, and versions of it; also a process that exports one and is killed."""

import datetime as dt
import hashlib
import io
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from mlops_assets.dataset.export import Photos, export_yolo
from mlops_assets.dataset.making import Made, make_version
from mlops_assets.dataset.restoring import open_version
from mlops_assets.dataset.schema import TRAINING_DATASET
from resources.dataset_versions import DatasetVersions
from resources.photo_files import PhotoFiles
from resources.tables import Tables

CLASS_MAP = {2: "splitter", 7: "ventilátor"}
NOW = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)


def photo(number: int, *, size: tuple[int, int] = (96, 64)) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 255, (size[1] // 8, size[0] // 8, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).resize(size).save(content, "JPEG", quality=90)
    return content.getvalue()


def photo_id(number: int) -> str:
    return hashlib.sha256(f"upload {number}".encode()).hexdigest()


def store_of(root: str, numbers: Iterable[int]) -> PhotoFiles:
    store = PhotoFiles(landing=f"{root}/landing", root=root)
    for number in numbers:
        store.put_photo(photo_id(number), photo(number))
    return store


def rows_of(numbers: Iterable[int], **changes: Any) -> pl.DataFrame:
    """Two boxes on each photo, one in five without equipment; a third of them val and a third test."""
    rows = [
        {
            "photo_id": photo_id(number),
            "enclosure_id": f"E{number % 9}",
            "split": ("train", "val", "test")[number % 3],
            "class_id": class_id,
            "box_x": 0.5 if class_id is not None else None,
            "box_y": 0.25 + number / 1000 if class_id is not None else None,
            "box_w": 0.125 if class_id is not None else None,
            "box_h": 0.1 if class_id is not None else None,
            "class_map_version": 8,
            **changes,
        }
        for number in numbers
        for class_id in ((None,) if number % 5 == 4 else CLASS_MAP)
    ]
    return pl.DataFrame(rows, schema=TRAINING_DATASET)


def make(root: str, dataset: pl.DataFrame, store: PhotoFiles, class_map: dict[int, str] | None = None) -> Made:
    return make_version(
        dataset,
        class_map or CLASS_MAP,
        "code 1",
        versions=DatasetVersions(root=root),
        tables=Tables(root=root),
        photos=store,
        now=NOW,
    )


def export(root: str, fingerprint: str, folder: Path, image_size: int | None = None) -> Path:
    version = open_version(DatasetVersions(root=root), fingerprint)
    photos = Photos(version.photos, version.photos.file)
    return export_yolo(version.rows, sorted(version.class_map), photos, folder, image_size=image_size, workers=2)


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file, by its path in the folder."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


if __name__ == "__main__":
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    export(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]) if len(sys.argv) > 4 else None)
