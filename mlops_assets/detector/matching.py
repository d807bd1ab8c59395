"""Which predicted box found which labelled one, by pycocotools, and what the matches come to.

Matching happens once a photo and class; every figure and every bootstrap sample is computed from the matches.
"""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from mlops_assets.boxes import BOX_COLUMNS
from mlops_assets.detector.suppression import MAX_DETECTIONS
from mlops_assets.labels.class_links import NO_LINKS, ClassLinks

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""COCO's thresholds; the first is that of AP50, precision and recall."""

_PHOTOS_AT_ONCE = 200
"""Photos matched at a time: pycocotools keeps about a kilobyte a box, which a snapshot of thousands would add up."""

RECALL_POINTS = np.linspace(0.0, 1.0, 101)


class SnapshotError(ValueError):
    """Labels and predictions do not belong together; the message names what is missing."""


@dataclass(frozen=True)
class ClassMatches:
    """Predictions and labels of one class over a snapshot, predictions most confident first.

    Attributes:
        confidence: (n,) of the predictions.
        photo: (n,) index into the snapshot's photos.
        hit: (thresholds, n) whether the prediction found a label, at each of `IOU_THRESHOLDS`.
        labels: (photos,) labelled boxes in each photo.
    """

    confidence: npt.NDArray[np.float64]
    photo: npt.NDArray[np.int64]
    hit: npt.NDArray[np.bool_]
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Matches:
    """A snapshot's matches; `photos` and `enclosures` have one entry a photo."""

    photos: tuple[str, ...]
    enclosures: tuple[str, ...]
    classes: dict[int, ClassMatches]


def match_predictions(
    truth: pl.DataFrame, predictions: pl.DataFrame, class_ids: Sequence[int], links: ClassLinks = NO_LINKS
) -> Matches:
    """Match predictions to labels with pycocotools' COCOeval, each class by itself, most confident first.

    Relative boxes serve as they are: intersection over union does not change when both axes are scaled. A prediction
    of a class that was not looked for when the photo was labelled (its class_map_version is not above the class's
    id, or the lowest of those merged into it), and is not labelled there, is left out. Photos without predictions
    count.

    Args:
        truth: Rows of TRAINING_DATASET, all of a split's photos.
        predictions: photo_id, class_id, confidence and box; null class where nothing was found.
        class_ids: Classes to match; others are left out.
        links: Since when classes with merged ones are known.

    Raises:
        SnapshotError: Predictions of photos that are not in `truth`.
    """
    photos = snapshot_photos(truth, predictions)
    labels = truth.filter(pl.col("class_id").is_in(list(class_ids))).join(photos, on="photo_id")
    found = looked_for(predictions.filter(pl.col("class_id").is_in(list(class_ids))), photos, labels, links)
    evaluated = _evaluate(labels, found, list(class_ids), photos.height)
    return Matches(tuple(photos["photo_id"]), tuple(photos["enclosure_id"]), evaluated)


def snapshot_photos(truth: pl.DataFrame, predictions: pl.DataFrame) -> pl.DataFrame:
    """The photos of a split by photo_id: photo_id, enclosure_id, class_map_version, and their number as `photo`.

    Raises:
        SnapshotError: Predictions of photos that are not in `truth`.
    """
    photos = truth.group_by("photo_id").agg(pl.first("enclosure_id"), pl.max("class_map_version")).sort("photo_id")
    strangers = predictions.join(photos, on="photo_id", how="anti")["photo_id"].unique().sort()
    if len(strangers):
        raise SnapshotError(f"{len(strangers)} predicted photos are not in the snapshot, such as {strangers[0]}")
    return photos.with_row_index("photo")


def looked_for(found: pl.DataFrame, photos: pl.DataFrame, labels: pl.DataFrame, links: ClassLinks) -> pl.DataFrame:
    """Predictions, with their `photo`, of classes that were looked for when it was labelled, or are labelled there."""
    labelled = labels.select("photo_id", "class_id", labelled=True).unique()
    return (
        found.join(photos.select("photo_id", "photo", "class_map_version"), on="photo_id")
        .join(labelled, on=["photo_id", "class_id"], how="left")
        .filter((links.since(pl.col("class_id")) < pl.col("class_map_version")) | pl.col("labelled"))
    )


def _evaluate(labels: pl.DataFrame, found: pl.DataFrame, class_ids: list[int], photos: int) -> dict[int, ClassMatches]:
    by_class: dict[int, list[_Entry]] = {class_id: [] for class_id in class_ids}
    for first in range(0, photos, _PHOTOS_AT_ONCE):
        some = pl.col("photo").is_between(first, first + _PHOTOS_AT_ONCE, closed="left")
        for entry in _matched(labels.filter(some), found.filter(some), class_ids):
            by_class[int(entry["category_id"])].append(
                (int(entry["image_id"]), np.asarray(entry["dtScores"], float), np.asarray(entry["dtMatches"]) > 0)
            )
    return {
        class_id: _class_matches(
            entries,
            np.bincount(labels.filter(pl.col("class_id") == class_id)["photo"].to_numpy(), minlength=photos),
        )
        for class_id, entries in by_class.items()
    }


_Entry = tuple[int, npt.NDArray[np.float64], npt.NDArray[np.bool_]]
"""Photo, confidences and hits of one class's predictions there."""


def _matched(labels: pl.DataFrame, found: pl.DataFrame, class_ids: list[int]) -> list[dict[str, Any]]:
    """COCOeval's results a photo and class, of those that have a label or a prediction."""
    from pycocotools.cocoeval import COCOeval

    photos = sorted({*labels["photo"], *found["photo"]})
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        evaluation = COCOeval(_coco(labels, class_ids, photos), _coco(found, class_ids, photos), "bbox")
        evaluation.params.iouThrs = IOU_THRESHOLDS
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0.0, 1e10]], ["all"]
        evaluation.params.maxDets = [MAX_DETECTIONS]
        evaluation.evaluate()
    return [entry for entry in evaluation.evalImgs if entry is not None]


def _class_matches(entries: list[_Entry], labels: npt.NDArray[np.int64]) -> ClassMatches:
    confidence = np.concatenate([np.zeros(0), *(scores for _, scores, _ in entries)])
    photo = np.repeat([photo for photo, _, _ in entries], [len(scores) for _, scores, _ in entries]).astype(np.int64)
    hit = np.hstack([np.zeros((len(IOU_THRESHOLDS), 0), bool), *(hits for _, _, hits in entries)])
    order = np.argsort(-confidence, kind="mergesort")
    return ClassMatches(confidence[order], photo[order], hit[:, order], labels.astype(np.int64))


def _coco(rows: pl.DataFrame, class_ids: list[int], photos: list[int]) -> Any:
    """Build a COCO object in memory; ids start at 1, since COCOeval writes 0 for a prediction without a match."""
    from pycocotools.coco import COCO

    coco = COCO()
    scores = rows["confidence"] if "confidence" in rows.columns else [0.0] * rows.height
    boxes = rows.select(
        pl.col("box_x") - pl.col("box_w") / 2, pl.col("box_y") - pl.col("box_h") / 2, *BOX_COLUMNS[2:]
    ).rows()
    coco.dataset = {
        "images": [{"id": photo} for photo in photos],
        "categories": [{"id": class_id} for class_id in class_ids],
        "annotations": [
            {
                "id": number,
                "image_id": photo,
                "category_id": class_id,
                "bbox": list(box),
                "area": box[2] * box[3],
                "iscrowd": 0,
                "score": score,
            }
            for number, (photo, class_id, box, score) in enumerate(
                zip(rows["photo"], rows["class_id"], boxes, scores, strict=True), start=1
            )
        ],
    }
    coco.createIndex()
    return coco


def average_precision(
    hit: npt.NDArray[np.bool_], weights: npt.NDArray[np.float64], labels: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Average precision at COCO's 101 recall points (COCOeval.accumulate), for many weightings at once.

    A prediction of weight w counts as w predictions with one confidence; so a bootstrap sample is a weighting.

    Args:
        hit: (n,) whether each prediction found a label, most confident first.
        weights: (samples, n) weight of each prediction.
        labels: (samples,) weighted number of labels.

    Returns:
        (samples,), NaN where a sample has no label.
    """
    hits = np.flatnonzero(hit)
    if hits.size == 0:
        return np.where(labels > 0, 0.0, np.nan)
    # Between two hits precision only falls and recall stands still: no recall point looks there.
    found = np.cumsum(weights[:, hits], axis=1)
    after_the_last = np.concatenate([[0], hits[:-1] + 1])
    seen = np.cumsum(np.add.reduceat(weights[:, : hits[-1] + 1], after_the_last, axis=1), axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(seen > 0, found / seen, 0.0)
        recall = found / labels[:, None]
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    points_gained = np.diff(np.searchsorted(RECALL_POINTS, recall, side="right"), axis=1, prepend=0)
    result: npt.NDArray[np.float64] = (points_gained * envelope).sum(axis=1) / len(RECALL_POINTS)
    return np.where(labels > 0, result, np.nan)


def class_average_precision(matches: ClassMatches) -> npt.NDArray[np.float64] | None:
    """Average precision at each of `IOU_THRESHOLDS`, shape (thresholds,); None without a label."""
    total = matches.labels.sum()
    if total == 0:
        return None
    one = np.ones((1, matches.confidence.size))
    labels = np.array([float(total)])
    return np.concatenate([average_precision(hit, one, labels) for hit in matches.hit])
