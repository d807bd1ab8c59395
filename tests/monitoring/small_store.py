"""Tables of a small use case, as the assets before the review queue would have written them."""

import datetime as dt
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from mlops_assets.catalog.schema import DETECTIONS
from mlops_assets.dataset.schema import SPLIT_ASSIGNMENTS, TRAINING_DATASET
from mlops_assets.detector.schema import CHAMPION_DETECTOR
from mlops_assets.labels.schema import ANNOTATIONS, EQUIPMENT_CLASSES
from mlops_assets.photos.schema import CLEAN_PHOTOS, RAW_PHOTOS
from resources.tables import Tables

NAMES = {0: "splitter", 1: "router", 2: "surge_arrester"}
THRESHOLDS = {0: 0.35, 1: 0.5, 2: 0.4}
BOX = {"box_x": 0.3, "box_y": 0.5, "box_w": 0.2, "box_h": 0.2}
LABELLED_AT = dt.datetime(2026, 10, 6, 12, tzinfo=dt.UTC)
CHAMPION = "4"


def photo_id(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def photo(name: str, enclosure: str = "CAB-1", visit: str | None = None, **clean: Any) -> dict[str, Any]:
    """A landed photo with what cleaning says of it; `status` is the ledger's."""
    return {"name": name, "enclosure_id": enclosure, "visit_id": visit or f"{enclosure}-v", **clean}


def detection(name: str, class_id: int | None, confidence: float | None = None, **box: float) -> dict[str, Any]:
    placed = {**BOX, **box} if class_id is not None else {}
    row = {"photo_id": photo_id(name), "class_id": class_id, "confidence": confidence, "model_version": CHAMPION}
    return row | placed


def label(name: str, class_id: int | None, **changed: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"photo_id": photo_id(name), "class_id": class_id, "annotator": "anna", "source": "a.json"}
    row |= {"annotated_at": LABELLED_AT, "class_map_version": len(NAMES)}
    row |= {"class_name": NAMES[class_id], **BOX} if class_id is not None else {}
    return row | changed


class SmallStore:
    """Writes tables by name into a store of its own."""

    def __init__(self, root: Path) -> None:
        self.tables = Tables(root=str(root))

    def day(self, day: str, photos: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]] = ()) -> None:
        clean_columns = set(CLEAN_PHOTOS)
        raw = [
            {
                "photo_id": photo_id(row["name"]),
                "landing_uri": f"/landing/{day}/{row['enclosure_id']}/{row['name']}.jpg",
                "enclosure_id": row["enclosure_id"],
                "visit_id": row["visit_id"],
                "status": row.get("status", "accepted"),
            }
            for row in photos
        ]
        clean = [
            {
                "photo_id": photo_id(row["name"]),
                "verdict": "usable",
                "brightness": 100.0,
                **{key: value for key, value in row.items() if key in clean_columns},
            }
            for row in photos
            if row.get("status", "accepted") == "accepted"
        ]
        self.tables.write("raw_photos", pl.DataFrame(raw, schema=RAW_PHOTOS), RAW_PHOTOS, day)
        self.tables.write("clean_photos", pl.DataFrame(clean, schema=CLEAN_PHOTOS), CLEAN_PHOTOS, day)
        self.tables.write("detections", pl.DataFrame(list(found), schema=DETECTIONS), DETECTIONS, day)

    def labels(self, *rows: dict[str, Any]) -> None:
        self.tables.write("annotations", pl.DataFrame(list(rows), schema=ANNOTATIONS), ANNOTATIONS)

    def classes(self, boxes: int = 500, enclosures: int = 50, **of: tuple[int, int]) -> None:
        """All active; `surge_arrester=(14, 3)` gives one class fewer boxes and enclosures."""
        rows = [
            {
                "class_id": class_id,
                "class_name": name,
                "aliases": [],
                "status": "active",
                "boxes": of.get(name, (boxes, enclosures))[0],
                "enclosures": of.get(name, (boxes, enclosures))[1],
            }
            for class_id, name in NAMES.items()
        ]
        self.tables.write("equipment_classes", pl.DataFrame(rows, schema=EQUIPMENT_CLASSES), EQUIPMENT_CLASSES)

    def champion(self, **changed: Any) -> None:
        row = {
            "model_version": CHAMPION,
            "promoted": True,
            "champion_version": CHAMPION,
            "champion_class_map": '{"0": "splitter", "1": "router", "2": "surge_arrester"}',
            "champion_thresholds": '{"0": 0.35, "1": 0.5, "2": 0.4}',
        } | changed
        self.tables.write("champion_detector", pl.DataFrame([row], schema=CHAMPION_DETECTOR), CHAMPION_DETECTOR)

    def splits(self, **splits: str) -> None:
        rows = [{"enclosure_id": e.replace("_", "-"), "group": e, "split": split} for e, split in splits.items()]
        self.tables.write("split_assignments", pl.DataFrame(rows, schema=SPLIT_ASSIGNMENTS), SPLIT_ASSIGNMENTS)

    def dataset(self, *rows: tuple[str, str, int]) -> None:
        """(photo, split, class_id) of each box."""
        frame = pl.DataFrame(
            [{"photo_id": photo_id(name), "split": split, "class_id": class_id} for name, split, class_id in rows],
            schema=TRAINING_DATASET,
        )
        self.tables.write("training_dataset", frame, TRAINING_DATASET)
