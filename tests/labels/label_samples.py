"""Builders of label files and photos that several tests of the import use."""

import datetime as dt
import json
import os
from pathlib import Path

import polars as pl

from mlops_assets.labels.importing import ImportResult, import_labels
from mlops_assets.labels.schema import ANNOTATIONS, EQUIPMENT_CLASSES

NOW = dt.datetime(2026, 10, 9, tzinfo=dt.UTC)
SHARED = Path(__file__).parents[2].parent / "shared" / "data"
PHOTO_SCHEMA = pl.Schema(
    {
        "photo_id": pl.String(),
        "enclosure_id": pl.String(),
        "landing_uri": pl.String(),
        "width": pl.Int32(),
        "height": pl.Int32(),
        "format": pl.String(),
    }
)


def photo_rows(*names, width=1280, height=960):
    """One accepted photo a name, `<enclosure>/<file>`; its photo_id is the name's stem."""
    rows = [
        {
            "photo_id": Path(name).stem,
            "enclosure_id": name.split("/")[0],
            "landing_uri": f"/landing/2026-10-05/{name}",
            "width": width,
            "height": height,
            "format": "JPEG",
        }
        for name in names
    ]
    return pl.DataFrame(rows, schema=PHOTO_SCHEMA)


def put(path, content, at=1_000):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    os.utime(path, (at, at))
    return path


def read_drop(drop, photos, previous=None, **more) -> ImportResult:
    return import_labels(
        drop,
        photos=photos,
        previous=ANNOTATIONS.to_frame() if previous is None else previous,
        known_classes=EQUIPMENT_CLASSES.to_frame(),
        declared=(),
        now=NOW,
        **more,
    )


def coco_text(images, annotations, categories=("device",), **image):
    """images: file names, ids 1, 2 …; annotations: (image id, category id, x, y, w, h) in pixels."""
    size = {"width": 1280, "height": 960, **image}
    return json.dumps(
        {
            "images": [{"id": n, "file_name": name, **size} for n, name in enumerate(images, 1)],
            "annotations": [
                {"id": n, "image_id": a[0], "category_id": a[1], "bbox": list(a[2:6])}
                for n, a in enumerate(annotations)
            ],
            "categories": [{"id": n, "name": name} for n, name in enumerate(categories)],
        }
    )


def task(file, *regions, created_at="2026-10-08T08:00:00Z", by="ann@example.org"):
    """A Label Studio task with one annotation; a region is (type, value)."""
    result = [
        {
            "id": f"r{n}",
            "type": kind,
            "original_width": 1280,
            "original_height": 960,
            "image_rotation": 0,
            "value": value,
        }
        for n, (kind, value) in enumerate(regions)
    ]
    annotation = {"created_at": created_at, "completed_by": {"email": by}, "result": result}
    return {"id": 1, "data": {"image": f"/data/local-files/?d={file}"}, "annotations": [annotation]}


def rectangle(name, x=10, y=10, width=10, height=10, **more):
    value = {"x": x, "y": y, "width": width, "height": height, "rectanglelabels": [name], **more}
    return "rectanglelabels", value
