"""From the review queue to tasks: what each says to the annotator, and the boxes that it starts from."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from mlops_assets.labelling.interface import IMAGE, LABEL

Json = dict[str, Any]


@dataclass(frozen=True)
class WantedTask:
    """A task as it should be.

    Attributes:
        photo_id: Of the photo to label.
        data: What the labelling page shows, and what leads back to photo and queue.
        prediction: The boxes to start from, as the API takes them; None without any.
    """

    photo_id: str
    data: Json
    prediction: Json | None


def wanted_tasks(
    queue: pl.DataFrame,
    classes: pl.DataFrame,
    address: Callable[[str], str],
    version: str,
) -> dict[str, WantedTask]:
    """One task a queued photo, by photo_id in the order of rank.

    Args:
        queue: REVIEW_QUEUE.
        classes: EQUIPMENT_CLASSES; suggestions of a class that is merged or deprecated now are left out.
        address: Where the annotator's browser finds the picture of a photo_id.
        version: Model version of the pre-annotations in Label Studio.
    """
    offered = classes.filter(pl.col("status").is_in(["active", "proposed"]))
    names = dict(offered.select("class_id", "class_name").iter_rows())
    wanted = {}
    for row in queue.sort("rank").iter_rows(named=True):
        prediction = _prediction(row["suggested_boxes"] or [], names, version)
        data = {
            IMAGE: address(row["photo_id"]),
            "photo_id": row["photo_id"],
            "enclosure_id": row["enclosure_id"],
            "title": _title(row),
            "reason": row["reason"],
            "kind": row["kind"],
            "queued_on": row["queued_on"].isoformat(),
            "model_version": row["model_version"],
            "suggested": len(prediction["result"]) if prediction else 0,
        }
        data["content"] = content_digest(data, prediction)
        wanted[row["photo_id"]] = WantedTask(row["photo_id"], data, prediction)
    return wanted


def content_digest(data: Mapping[str, Any], prediction: Mapping[str, Any] | None) -> str:
    """What a task says and suggests, in 16 hexadecimal digits.

    The day of the queue is left out, and the rank is not in the data: they change daily for photos that wait.
    """
    said = {key: value for key, value in data.items() if key not in ("content", "queued_on")}
    text = json.dumps([said, prediction], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _title(row: Mapping[str, Any]) -> str:
    where = f"Enclosure {row['enclosure_id']}" if row["enclosure_id"] else "Enclosure unknown"
    found = f"boxes of detector version {row['model_version']}" if row["model_version"] else "no detector yet"
    return f"{where} · {found}"


def _prediction(boxes: list[Json], names: Mapping[int, str], version: str) -> Json | None:
    """Regions in percent of the upright photo; the score of the whole is the mean of its boxes."""
    known = [box for box in boxes if box["class_id"] in names]
    if not known:
        return None
    regions = [
        {
            "id": f"suggested-{number}",
            "type": "rectanglelabels",
            "from_name": LABEL,
            "to_name": IMAGE,
            "score": round(box["confidence"], 4),
            "value": {
                "x": round(100 * (box["box_x"] - box["box_w"] / 2), 4),
                "y": round(100 * (box["box_y"] - box["box_h"] / 2), 4),
                "width": round(100 * box["box_w"], 4),
                "height": round(100 * box["box_h"], 4),
                "rotation": 0,
                "rectanglelabels": [names[box["class_id"]]],
            },
        }
        for number, box in enumerate(known)
    ]
    score = sum(box["confidence"] for box in known) / len(known)
    return {"model_version": version, "score": round(score, 4), "result": regions}
