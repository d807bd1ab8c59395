"""What each labelled box was taken for, and each detection that found none: the confusion matrix and its rows.

Average precision matches each class by itself and so cannot say that one class is taken for another; that is what
this matching across classes is for.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from mlops_assets.boxes import BOX_COLUMNS, BOX_SCHEMA
from mlops_assets.detector.matching import looked_for, snapshot_photos
from mlops_assets.detector.schema import DETECTOR_CONFUSION
from mlops_assets.labels.class_links import NO_LINKS, ClassLinks

MATCH_IOU = 0.5

FOUND_BOX = tuple(f"found_{column}" for column in BOX_COLUMNS)

OUTCOMES = pl.Schema(
    {
        "photo_id": pl.String(),
        "class_id": pl.Int32(),
        "found_class_id": pl.Int32(),
        "confidence": pl.Float64(),
        **BOX_SCHEMA,
        **dict.fromkeys(FOUND_BOX, pl.Float64()),
    }
)
"""One row a labelled box, found or not, and one a detection without a label; class_id or found_class_id is null."""


def box_outcomes(
    truth: pl.DataFrame,
    predictions: pl.DataFrame,
    thresholds: Mapping[int, float],
    class_ids: Sequence[int],
    links: ClassLinks = NO_LINKS,
) -> pl.DataFrame:
    """Pair the detections that count with labels, whatever their classes.

    As Ultralytics' `ConfusionMatrix.process_batch` (8.4): most confident first, each detection takes the label that it
    overlaps most of those not taken yet, if by more than IoU 0.5. Unlike there, a detection of a class that nobody
    looked for on the photo is left out, as in `matching`.

    Args:
        truth: Rows of TRAINING_DATASET, all of one split's photos.
        predictions: Of those photos: photo_id, class_id, confidence and box.
        thresholds: Confidence from which each class counts.
        class_ids: Classes that the model knows. Labels of others count too: they are missed, or taken for another.
        links: Since when classes with merged ones are known.

    Returns:
        Rows of OUTCOMES.

    Raises:
        SnapshotError: Predictions of photos that are not in `truth`.
    """
    photos = snapshot_photos(truth, predictions)
    labels = truth.filter(pl.col("class_id").is_not_null()).join(photos, on="photo_id")
    known = pl.DataFrame(
        {"class_id": list(class_ids), "threshold": [thresholds[class_id] for class_id in class_ids]},
        schema={"class_id": pl.Int32, "threshold": pl.Float64},
    )
    counted = predictions.join(known, on="class_id").filter(pl.col("confidence") >= pl.col("threshold"))
    found = looked_for(counted, photos, labels, links).sort("photo", "confidence", descending=[False, True])
    labels = labels.sort("photo", maintain_order=True)
    pairs = list(_pairs(labels, found, photos.height))
    left, right = labels.with_row_index("_label"), found.with_row_index("_found")
    paired = pl.DataFrame(pairs, schema={"_label": pl.UInt32, "_found": pl.UInt32}, orient="row")
    detections = right.select(
        "_found",
        pl.col("photo_id").alias("found_photo_id"),
        pl.col("class_id").alias("found_class_id"),
        "confidence",
        *(pl.col(column).alias(f"found_{column}") for column in BOX_COLUMNS),
    )
    rows = left.select("_label", "photo_id", "class_id", *BOX_COLUMNS).join(paired, on="_label", how="left")
    return (
        rows.join(detections, on="_found", how="full", coalesce=True)
        .with_columns(pl.coalesce("photo_id", "found_photo_id").alias("photo_id"))
        .select(OUTCOMES.names())
        .sort("photo_id", "class_id", "found_class_id", "confidence", nulls_last=True)
    )


def confusion_matrix(outcomes: pl.DataFrame, *, model_version: str) -> pl.DataFrame:
    """Count outcomes by labelled and found class.

    Args:
        outcomes: OUTCOMES of one model.
        model_version: Written to every row.

    Returns:
        Rows of DETECTOR_CONFUSION, only cells that are not empty.
    """
    counted = outcomes.group_by("class_id", "found_class_id").agg(pl.len().cast(pl.Int64).alias("boxes"))
    return (
        counted.with_columns(model_version=pl.lit(model_version))
        .select(DETECTOR_CONFUSION.names())
        .sort("class_id", "found_class_id", nulls_last=True)
    )


def _pairs(labels: pl.DataFrame, found: pl.DataFrame, photos: int) -> Iterator[tuple[int, int]]:
    """Row numbers of labels and of the detections that found them; both sorted by photo."""
    label_boxes, found_boxes = (_corners(frame) for frame in (labels, found))
    starts = np.arange(photos + 1)
    label_starts = np.searchsorted(labels["photo"].to_numpy(), starts)
    found_starts = np.searchsorted(found["photo"].to_numpy(), starts)
    for photo in range(photos):
        first_label, first_found = int(label_starts[photo]), int(found_starts[photo])
        overlap = iou(
            label_boxes[first_label : label_starts[photo + 1]], found_boxes[first_found : found_starts[photo + 1]]
        )
        for detection in np.flatnonzero((overlap > MATCH_IOU).any(axis=0)):
            label = int(overlap[:, detection].argmax())
            if overlap[label, detection] > MATCH_IOU:
                yield first_label + label, first_found + int(detection)
                overlap[label] = 0.0


def _corners(frame: pl.DataFrame) -> npt.NDArray[np.float64]:
    x, y, w, h = (frame[column].to_numpy() for column in BOX_COLUMNS)
    return np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], axis=1).astype(np.float64)


def iou(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Intersection over union of (n, 4) with (m, 4) boxes as corners, shape (n, m)."""
    size = np.minimum(first[:, None, 2:], second[None, :, 2:]) - np.maximum(first[:, None, :2], second[None, :, :2])
    shared = size.clip(0).prod(axis=2)
    area = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    union: npt.NDArray[np.float64] = area[0][:, None] + area[1][None, :] - shared
    ratio: npt.NDArray[np.float64] = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return ratio
