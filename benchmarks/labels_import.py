"""What the label import costs: a whole drop, and the same drop once one label was added.

A drop is made in two shapes, five COCO files and a YOLO text a photo. Each import runs in a process of its own, whose
memory nothing else has grown; photos are rows of a table only, since no picture is opened. `measure` is called by the
section `labels`.
"""

import argparse
import hashlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from benchmarks.peak_memory import peak_mebibytes
from resources.settings import PROJECT

BOXES_A_PHOTO = 5
COCO_FILES = 5
CLASSES = tuple(f"device {number}" for number in range(40))
PHOTOS_AN_ENCLOSURE = 50
WIDTH, HEIGHT = 1280, 960

_Boxes = list[tuple[int, float, float, float, float]]


def measure(boxes: int, folder: Path) -> dict[str, float]:
    """Import `boxes` boxes of five times fewer photos, in both shapes, first and again after one label was added.

    Args:
        boxes: How many.
        folder: Empty; filled with the drops.

    Returns:
        By shape (`coco`, `yolo`): `<shape>_seconds`, `<shape>_again_seconds`, without the start of the process;
        `<shape>_cpu_seconds`, `<shape>_again_cpu_seconds`, of all cores; `<shape>_peak_gb`, resident memory.
    """
    photos = _photos(boxes // BOXES_A_PHOTO)
    folder.mkdir(parents=True, exist_ok=True)
    photos.write_parquet(folder / "photos.parquet")
    found: dict[str, float] = {}
    for shape, write, add in (("coco", _write_coco, _add_coco), ("yolo", _write_yolo, _add_yolo)):
        drop = folder / shape
        write(drop, photos)
        first = _import(folder, shape)
        add(drop, photos)
        again = _import(folder, shape)
        if not first["boxes"] == boxes == again["boxes"] - 1:
            raise RuntimeError(f"{boxes} boxes were dropped as {shape}, {first['boxes']:g} and {again['boxes']:g} came")
        found |= {
            f"{shape}_seconds": first["seconds"],
            f"{shape}_again_seconds": again["seconds"],
            f"{shape}_cpu_seconds": first["cpu_seconds"],
            f"{shape}_again_cpu_seconds": again["cpu_seconds"],
            f"{shape}_peak_gb": max(first["peak_gb"], again["peak_gb"]),
        }
    return found


def _photos(count: int) -> pl.DataFrame:
    rows = []
    for number in range(count):
        enclosure = f"E{number // PHOTOS_AN_ENCLOSURE:05}"
        photo_id = hashlib.sha256(str(number).encode()).hexdigest()
        rows.append((photo_id, enclosure, f"/landing/2026-10-05/{enclosure}/IMG_{number:07}.jpg", WIDTH, HEIGHT))
    columns = ["photo_id", "enclosure_id", "landing_uri", "width", "height"]
    return pl.DataFrame(rows, schema=columns, orient="row").with_columns(pl.col("width", "height").cast(pl.Int32))


def _labels(photos: pl.DataFrame, seed: int) -> Iterator[tuple[str, _Boxes]]:
    """`<enclosure>/<file>` and the boxes of each photo."""
    draw = random.Random(seed)  # noqa: S311 no secret
    for uri in photos["landing_uri"]:
        boxes = [
            (
                draw.randrange(len(CLASSES)),
                draw.uniform(0.2, 0.8),
                draw.uniform(0.2, 0.8),
                draw.uniform(0.02, 0.2),
                draw.uniform(0.02, 0.2),
            )
            for _ in range(BOXES_A_PHOTO)
        ]
        yield "/".join(uri.rsplit("/", 2)[1:]), boxes


def _write_coco(drop: Path, photos: pl.DataFrame) -> None:
    drop.mkdir()
    share = -(-photos.height // COCO_FILES)
    for number in range(COCO_FILES):
        _coco_file(drop / f"batch-{number}.json", _labels(photos[number * share : (number + 1) * share], number))


def _add_coco(drop: Path, photos: pl.DataFrame) -> None:
    """The first photo once more, with a box more than it had."""
    name, boxes = next(_labels(photos[:1], 0))
    _coco_file(drop / "one more.json", iter([(name, [*boxes, boxes[0]])]))


def _coco_file(path: Path, labels: Iterator[tuple[str, _Boxes]]) -> None:
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for number, (name, boxes) in enumerate(labels):
        images.append({"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT})
        for index, x, y, width, height in boxes:
            corner = [(x - width / 2) * WIDTH, (y - height / 2) * HEIGHT, width * WIDTH, height * HEIGHT]
            bbox = [round(value, 2) for value in corner]
            entry = {"id": len(annotations), "image_id": number, "category_id": index, "bbox": bbox, "iscrowd": 0}
            annotations.append(entry | {"area": bbox[2] * bbox[3], "segmentation": []})
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES)]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))


def _write_yolo(drop: Path, photos: pl.DataFrame) -> None:
    entry = drop / "set"
    entry.mkdir(parents=True)
    (entry / "classes.txt").write_text("\n".join(CLASSES))
    for name, boxes in _labels(photos, 0):
        path = entry / "labels" / f"{name.removesuffix('.jpg')}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_yolo_text(boxes))


def _add_yolo(drop: Path, photos: pl.DataFrame) -> None:
    name, boxes = next(_labels(photos[:1], 0))
    (drop / "set" / "labels" / f"{name.removesuffix('.jpg')}.txt").write_text(_yolo_text([*boxes, boxes[0]]))


def _yolo_text(boxes: _Boxes) -> str:
    return "".join(f"{index} {x:.6f} {y:.6f} {width:.6f} {height:.6f}\n" for index, x, y, width, height in boxes)


def _import(folder: Path, shape: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.labels_import", str(folder), shape]
    done = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 no input from outside
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def _one_import(folder: Path, shape: str) -> dict[str, float]:
    """The import as the asset `annotations` does it, tables in and out."""
    import datetime as dt

    from mlops_assets.labels.importing import import_labels
    from mlops_assets.labels.schema import ANNOTATIONS, EQUIPMENT_CLASSES, LABEL_QUARANTINE, PARSED_LABELS
    from mlops_assets.labels.vocabulary import equipment_classes
    from mlops_assets.use_case import NewClassRules
    from resources.tables import Tables

    tables = Tables(root=str(folder / f"{shape}-store"))
    photos = pl.read_parquet(folder / "photos.parquet")
    begun, begun_cpu = time.perf_counter(), time.process_time()
    imported = import_labels(
        folder / shape,
        photos=photos,
        previous=tables.read("annotations", ANNOTATIONS),
        known_classes=tables.read("equipment_classes", EQUIPMENT_CLASSES),
        declared=(),
        now=dt.datetime.now(dt.UTC),
        parsed_before=tables.read("parsed_labels", PARSED_LABELS),
    )
    tables.write("annotations", imported.annotations, ANNOTATIONS)
    tables.write("label_quarantine", imported.quarantine, LABEL_QUARANTINE)
    if imported.parsed is not None:
        tables.write("parsed_labels", imported.parsed, PARSED_LABELS)
    seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - begun_cpu
    previous = tables.read("equipment_classes", EQUIPMENT_CLASSES)
    classes = equipment_classes(imported.annotations, photos, previous, (), NewClassRules())
    tables.write("equipment_classes", classes, EQUIPMENT_CLASSES)
    peak = peak_mebibytes() * 1024**2 / 1e9
    boxes = imported.annotations["class_id"].count()
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_gb": peak, "boxes": boxes}


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(description=__doc__)
    _parser.add_argument("folder", type=Path)
    _parser.add_argument("shape", choices=["coco", "yolo"])
    _arguments = _parser.parse_args()
    print(json.dumps(_one_import(_arguments.folder, _arguments.shape)))
