"""Writes what goes with the photos: the label deliveries, and the truth that only scoring may read.

Files are written to a temporary name and renamed. Pixels are painted elsewhere.
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from demo.render.equipment import BASE_EQUIPMENT
from demo.render.plan import DAYS, Enclosure, Photo, Visit, phase_of
from demo.render.scene import Box

BOXES = {
    "day": pl.String(),
    "enclosure_id": pl.String(),
    "file": pl.String(),
    "width": pl.Int32(),
    "height": pl.Int32(),
    "class": pl.String(),
    "x": pl.Float64(),
    "y": pl.Float64(),
    "w": pl.Float64(),
    "h": pl.Float64(),
}
"""Columns of truth/boxes.csv: one row a visible item, upright pixels, upper left corner and size."""

INVENTORY = {"day": pl.String(), "enclosure_id": pl.String(), "class": pl.String(), "quantity": pl.Int32()}
"""Columns of truth/inventory.csv and truth/hidden.csv."""

BAD_UPLOADS = {"day": pl.String(), "path": pl.String(), "kind": pl.String()}
"""Columns of truth/bad_uploads.csv; the path is relative to the landing zone."""

LABELLED = {"enclosure_id": pl.String(), "file": pl.String(), "phase": pl.String()}
"""Columns of truth/labelled.csv."""

UNKNOWN_PHOTO = "CAB-0000/IMG_0000.txt"
"""A label of a photo that was never landed, as deliveries have them."""


@dataclass(frozen=True)
class Shot:
    """One good photo as it was taken."""

    enclosure_id: str
    day: str
    photo: Photo
    boxes: tuple[Box, ...]


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)


def write_truth(folder: Path, enclosures: list[Enclosure], shots: list[Shot]) -> None:
    """Write inventory, boxes, hidden items, bad uploads and labelled photos as CSV."""
    boxes = [
        (s.day, s.enclosure_id, s.photo.file, s.photo.width, s.photo.height, b.equipment, b.x, b.y, b.width, b.height)
        for s in shots
        for b in s.boxes
    ]
    seen = {(s.day, s.enclosure_id, b.item.serial) for s in shots for b in s.boxes}
    visits = [
        (enclosure, visit)
        for visit_number in range(len(DAYS))
        for enclosure in enclosures
        for visit in (enclosure.visits[visit_number],)
    ]
    inventory, hidden = [], []
    for enclosure, visit in visits:
        day = visit.day.isoformat()
        key = (day, enclosure.enclosure_id)
        counts = Counter(item.equipment for item in visit.items)
        unseen = Counter(item.equipment for item in visit.items if (*key, item.serial) not in seen)
        inventory += [(*key, name, counts[name]) for name in sorted(counts)]
        hidden += [(*key, name, unseen[name]) for name in sorted(unseen)]
    bad = [(v.day.isoformat(), bad_path(e, v, photo), str(photo.bad)) for e, v in visits for photo in v.bad]
    labelled = [
        (e.enclosure_id, photo.file, phase_of(v.day)) for e, v in visits for photo in v.photos if photo.labelled
    ]
    for name, schema, rows in (
        ("inventory", INVENTORY, inventory),
        ("hidden", INVENTORY, hidden),
        ("boxes", BOXES, boxes),
        ("bad_uploads", BAD_UPLOADS, bad),
        ("labelled", LABELLED, labelled),
    ):
        table = pl.DataFrame(rows, schema=schema, orient="row")
        write_atomic(folder / f"{name}.csv", table.write_csv().encode())


def bad_path(enclosure: Enclosure, visit: Visit, photo: Photo) -> str:
    """Path of a bad upload relative to the landing zone."""
    day = visit.day.isoformat()
    if photo.bad == "no_enclosure_folder":
        return f"{day}/{photo.file}"
    return f"{day}/{enclosure.enclosure_id}/{photo.file}"


def write_labels(folder: Path, shots: list[Shot]) -> None:
    """Write both label deliveries: `base` (day 1 Label Studio, day 2 YOLO) and `new_equipment` (day 3 Label Studio)."""
    first, second, third = (
        [shot for shot in shots if shot.photo.labelled and shot.day == day.isoformat()] for day in DAYS
    )
    write_atomic(folder / "base" / "day1.label-studio.json", _label_studio(first, "2026-10-06T08:00:00Z"))
    _write_yolo(folder / "base" / "yolo-day2", second)
    write_atomic(folder / "new_equipment" / "day3.label-studio.json", _label_studio(third, "2026-10-08T08:00:00Z"))


def _label_studio(shots: list[Shot], created_at: str) -> bytes:
    tasks = [
        {
            "id": number,
            "data": {"image": f"/data/local-files/?d={shot.enclosure_id}/{shot.photo.file}"},
            "annotations": [
                {
                    "id": number,
                    "completed_by": 1,
                    "created_at": created_at,
                    "result": [_rectangle(shot.photo, box, f"r{number}_{n}") for n, box in enumerate(shot.boxes)],
                }
            ],
        }
        for number, shot in enumerate(shots, start=1)
    ]
    return json.dumps(tasks).encode()


def _rectangle(photo: Photo, box: Box, name: str) -> dict[str, object]:
    return {
        "id": name,
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": photo.width,
        "original_height": photo.height,
        "image_rotation": 0,
        "value": {
            "x": 100 * box.x / photo.width,
            "y": 100 * box.y / photo.height,
            "width": 100 * box.width / photo.width,
            "height": 100 * box.height / photo.height,
            "rotation": 0,
            "rectanglelabels": [box.equipment],
        },
    }


def _write_yolo(folder: Path, shots: list[Shot]) -> None:
    names = [kind.name for kind in BASE_EQUIPMENT]
    write_atomic(folder / "classes.txt", "".join(f"{name}\n" for name in names).encode())
    for shot in shots:
        rows = [_yolo_row(names.index(box.equipment), shot.photo, box) for box in shot.boxes]
        path = folder / "labels" / shot.enclosure_id / shot.photo.file
        write_atomic(path.with_suffix(".txt"), "".join(rows).encode())
    write_atomic(folder / "labels" / UNKNOWN_PHOTO, b"0 0.500000 0.500000 0.200000 0.200000\n")


def _yolo_row(number: int, photo: Photo, box: Box) -> str:
    x, y = (box.x + box.width / 2) / photo.width, (box.y + box.height / 2) / photo.height
    return f"{number} {x:.6f} {y:.6f} {box.width / photo.width:.6f} {box.height / photo.height:.6f}\n"
