"""Rows and regions for tests of the labelling stage."""

import datetime as dt
from typing import Any

import polars as pl

from mlops_assets.labels.schema import EQUIPMENT_CLASSES
from mlops_assets.monitoring.schema import REVIEW_QUEUE

QUEUED = dt.date(2026, 11, 25)


def photo(number: int) -> str:
    return f"{number:02x}" * 32


def box(name: str = "router", class_id: int = 0, **more: float) -> dict[str, Any]:
    place = {"confidence": 0.8, "box_x": 0.5, "box_y": 0.4, "box_w": 0.2, "box_h": 0.1} | more
    return {"class_id": class_id, "class_name": name, **place}


def queue(*numbers: int, **more: Any) -> pl.DataFrame:
    rows = [
        {
            "photo_id": photo(number),
            "rank": rank,
            "reason": f"a router at 0.41, close to its threshold, on photo {number}",
            "score": 1.0 / rank,
            "kind": "uncertain",
            "enclosure_id": f"CAB-{number}",
            "suggested_boxes": [box()],
            "queued_on": QUEUED,
            "model_version": "3",
            **more,
        }
        for rank, number in enumerate(numbers, 1)
    ]
    return pl.DataFrame(rows, schema=REVIEW_QUEUE)


def classes(**statuses: str) -> pl.DataFrame:
    rows = [
        {"class_id": class_id, "class_name": name.replace("_", " "), "aliases": [], "status": status}
        for class_id, (name, status) in enumerate(statuses.items())
    ]
    return pl.DataFrame(rows, schema=EQUIPMENT_CLASSES)


CLASSES = classes(router="active", battery_pack="active", fan_tray="proposed", splitter="merged")


def region(name: str, number: int = 1, **more: Any) -> dict[str, Any]:
    """A rectangle as the labelling page submits it."""
    return {
        "id": f"region-{number}",
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "origin": "manual",
        "original_width": 1280,
        "original_height": 960,
        "image_rotation": 0,
        "value": {"x": 10.0, "y": 20.0, "width": 30.0, "height": 40.0, "rotation": 0, "rectanglelabels": [name]},
        **more,
    }


def typed_name(text: str, number: int = 1) -> dict[str, Any]:
    """The name typed for a rectangle, which has the rectangle's id."""
    value = {"x": 10.0, "y": 20.0, "width": 30.0, "height": 40.0, "rotation": 0, "text": [text]}
    return region("", number, type="textarea", from_name="new_class", value=value)
