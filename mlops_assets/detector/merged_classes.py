"""Detections of a model that learnt two classes which people have merged since: they count as one class.

Such a model may see one device twice, once as each; the weaker of two such boxes goes, as the suppression of one class
would have it.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import polars as pl

from mlops_assets.boxes import BOX_COLUMNS
from mlops_assets.labels.class_links import ClassLinks

OVERLAP = 0.5
"""As `suppression.NMS_IOU`; of its own, since a change there asks for new detections, which the inventory follows."""


def resolve_detections(found: pl.DataFrame, links: ClassLinks, iou: float = OVERLAP) -> pl.DataFrame:
    """Detections under the classes that theirs count for.

    Args:
        found: photo_id, class_id, confidence and box, more columns stay; null class where nothing was found.
        links: Which classes were merged.
        iou: Overlap above which the weaker of two boxes is dropped, if they were found as different classes that count
            for one.

    Returns:
        The rows in their order. A photo of which no row is left cannot be: the strongest always stays.
    """
    if not links.merged_into or not found["class_id"].is_in(list(links.merged_into)).any():
        return found
    rows = found.with_row_index("_row").with_columns(_as_found="class_id")
    rows = links.resolve(rows)
    mixed = pl.col("_as_found").n_unique().over("photo_id", "class_id") > 1
    suspects = rows.filter(pl.col("class_id").is_not_null() & mixed)
    weaker: list[int] = []
    for group in suspects.partition_by("photo_id", "class_id"):
        weaker += _weaker(group.sort("confidence", "_row", descending=[True, False]), iou)
    return rows.filter(~pl.col("_row").is_in(weaker)).drop("_row", "_as_found")


def resolve_classes(class_ids: Iterable[int], links: ClassLinks) -> list[int]:
    """The classes that a model's count for, each once."""
    return sorted({links.target(class_id) for class_id in class_ids})


def resolve_thresholds(thresholds: Mapping[int, float], links: ClassLinks) -> dict[int, float]:
    """A class's own threshold, or else the lowest of those merged into it."""
    merged: dict[int, float] = {}
    for class_id, threshold in thresholds.items():
        target = links.target(class_id)
        merged[target] = min(threshold, merged.get(target, threshold))
    return merged | {class_id: value for class_id, value in thresholds.items() if class_id in merged}


def _weaker(group: pl.DataFrame, iou: float) -> list[int]:
    """Row numbers of boxes that overlap a stronger one which was found as another class."""
    x, y, w, h = (group[column].to_numpy() for column in BOX_COLUMNS)
    left, top, right, bottom = x - w / 2, y - h / 2, x + w / 2, y + h / 2
    as_found, numbers = group["_as_found"].to_numpy(), group["_row"].to_list()
    kept: list[int] = []
    dropped: list[int] = []
    for i in range(group.height):
        others = np.array([k for k in kept if as_found[k] != as_found[i]], dtype=int)
        width = np.minimum(right[i], right[others]) - np.maximum(left[i], left[others])
        height = np.minimum(bottom[i], bottom[others]) - np.maximum(top[i], top[others])
        shared = width.clip(0) * height.clip(0)
        if (shared > iou * (w[i] * h[i] + w[others] * h[others] - shared)).any():
            dropped.append(numbers[i])
        else:
            kept.append(i)
    return dropped
