"""Which labels may be mistakes: objects that nobody labelled, labels of another class, boxes that sit badly.

The scores are those of ObjectLab (Tkachenko, Thyagarajan, Mueller: Automated Diagnosis of Mislabeled Images in Object
Detection Data, ICML workshop DMLR 2023, arXiv:2309.00832), with the predictions' confidence as a weight in the place
of its fixed cut-offs; docs/decisions.md lists what else differs, and has both measured. Which photos a person should
see for it is for `review_queue`.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from mlops_assets.boxes import BOX_COLUMNS
from mlops_assets.monitoring.schema import LABEL_ERRORS

OVERLAP_WEIGHT = 0.9
"""ObjectLab's alpha: what overlap counts in the similarity of two boxes; the rest is nearness of their centres."""

_NONE = 1e-6
"""Suspicion that is rounding and no more."""

_Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Boxes:
    """Boxes of one photo: (n,) class_id, (n, 4) centre and size, (n,) confidence (1 of a label)."""

    class_id: npt.NDArray[np.int64]
    boxes: _Array
    confidence: _Array

    @classmethod
    def of(cls, frame: pl.DataFrame) -> "_Boxes":
        confidence = frame["confidence"].to_numpy() if "confidence" in frame.columns else np.ones(frame.height)
        return cls(frame["class_id"].to_numpy().astype(np.int64), frame.select(BOX_COLUMNS).to_numpy(), confidence)


def find_label_errors(
    labels: pl.DataFrame, predictions: pl.DataFrame, names: Mapping[int, str], knows: Collection[int] | None = None
) -> pl.DataFrame:
    """Score every label, and every prediction that may be an object without one.

    Quality is 1 minus the suspicion that:

    - a prediction p was overlooked: confidence(p) · (1 - its largest similarity to a label of any class);
    - a label l was swapped: the largest confidence · similarity of a prediction of another class, times 1 - the same of
      one of its own class;
    - a label l is badly located: confidence(p) · (1 - similarity) of the most similar prediction p of its class that
      overlaps it and is not more similar to another label.

    Similarity of two boxes is 0.9 · IoU + 0.1 · exp(-distance of the centres / diagonal of the label's box).

    Args:
        labels: photo_id, class_id, box and class_map_version; a photo labelled as empty has one row with null class.
        predictions: photo_id, class_id, confidence, box and model_version; null class where nothing was found. Those
            of photos without labels, and of classes that were not looked for, are left out.
        names: Of classes, for people; a class that is not among them is called by its id.
        knows: Classes that the model was taught; a label of any other class cannot be judged by what it finds, and only
            says that something is there. All where None.

    Returns:
        LABEL_ERRORS, likeliest mistakes first: an overlooked row a prediction, a swapped row a label, a badly located
        row a label with such a prediction. Rows without any suspicion (quality 1) are left out.
    """
    looked_for = labels.group_by("photo_id").agg(pl.max("class_map_version").alias("looked_for"))
    known = labels.select("photo_id", "class_id").drop_nulls().unique().with_columns(labelled=True)
    found = (
        predictions.drop_nulls("class_id")
        .join(looked_for, on="photo_id")
        .join(known, on=["photo_id", "class_id"], how="left")
        .filter((pl.col("class_id") < pl.col("looked_for")) | pl.col("labelled"))
        # Of predictions that are as similar to a label the surest is taken: the first.
        .sort("photo_id", "confidence", "class_id", *BOX_COLUMNS, descending=[False, True, *[False] * 5])
    )
    boxes = labels.drop_nulls("class_id").sort("photo_id", "class_id", *BOX_COLUMNS)
    by_photo = {key[0]: group for key, group in boxes.partition_by("photo_id", as_dict=True).items()}
    rows: list[dict[str, Any]] = []
    for (photo_id,), group in found.partition_by("photo_id", as_dict=True).items():
        model_version = group.item(0, "model_version")
        labelled = _Boxes.of(by_photo.get(photo_id, boxes.clear()))
        rows += [
            {"photo_id": photo_id, "model_version": model_version, **row}
            for row in _photo_rows(labelled, _Boxes.of(group), knows)
        ]
    return _named(pl.DataFrame(rows, schema=LABEL_ERRORS), names)


def _named(errors: pl.DataFrame, names: Mapping[int, str]) -> pl.DataFrame:
    by_id = {int(class_id): name for class_id, name in names.items()}
    return errors.with_columns(
        pl.col(f"{whose}class_id")
        .replace_strict(by_id, default=pl.format("class {}", pl.col(f"{whose}class_id")), return_dtype=pl.String)
        .alias(f"{whose}class_name")
        for whose in ("", "predicted_")
    ).sort("quality", "photo_id", "kind", *BOX_COLUMNS)


def _photo_rows(labels: _Boxes, found: _Boxes, knows: Collection[int] | None) -> Iterator[dict[str, Any]]:
    overlap, similar = _similarity(labels.boxes, found.boxes)
    yield from _overlooked(found, overlap, similar)
    judged = np.isin(labels.class_id, sorted(knows)) if knows is not None else np.full(labels.class_id.shape, True)
    yield from _swapped(labels, found, overlap, similar * judged[:, None])
    yield from _badly_located(labels, found, overlap, similar)


def _overlooked(found: _Boxes, overlap: _Array, similar: _Array) -> Iterator[dict[str, Any]]:
    nearest = similar.max(axis=0, initial=0.0)
    suspicion = found.confidence * (1.0 - nearest)
    for i in np.flatnonzero(suspicion > _NONE):
        yield {
            "kind": "overlooked",
            "quality": 1.0 - float(suspicion[i]),
            **dict(zip(BOX_COLUMNS, found.boxes[i].tolist(), strict=True)),
            "predicted_class_id": int(found.class_id[i]),
            "confidence": float(found.confidence[i]),
            "iou": float(overlap[:, i].max(initial=0.0)),
        }


def _swapped(labels: _Boxes, found: _Boxes, overlap: _Array, similar: _Array) -> Iterator[dict[str, Any]]:
    weight = similar * found.confidence
    same = labels.class_id[:, None] == found.class_id[None, :]
    other = np.where(same, 0.0, weight)
    own = np.where(same, weight, 0.0).max(axis=1, initial=0.0)
    suspicion = other.max(axis=1, initial=0.0) * (1.0 - own)
    for i in np.flatnonzero(suspicion > _NONE):
        yield _of_label("swapped", labels, found, int(i), int(other[i].argmax()), float(suspicion[i]), overlap)


def _badly_located(labels: _Boxes, found: _Boxes, overlap: _Array, similar: _Array) -> Iterator[dict[str, Any]]:
    if not similar.size:
        return
    same = labels.class_id[:, None] == found.class_id[None, :]
    its_own = similar >= similar.max(axis=0)
    usable = np.where(same & its_own & (overlap > 0), similar, -1.0)
    best = usable.argmax(axis=1)
    for i in np.flatnonzero(usable.max(axis=1) >= 0):
        suspicion = float(found.confidence[best[i]] * (1.0 - similar[i, best[i]]))
        if suspicion > _NONE:
            yield _of_label("badly_located", labels, found, int(i), int(best[i]), suspicion, overlap)


def _of_label(
    kind: str, labels: _Boxes, found: _Boxes, label: int, prediction: int, suspicion: float, overlap: _Array
) -> dict[str, Any]:
    return {
        "kind": kind,
        "quality": 1.0 - suspicion,
        "class_id": int(labels.class_id[label]),
        **dict(zip(BOX_COLUMNS, labels.boxes[label].tolist(), strict=True)),
        "predicted_class_id": int(found.class_id[prediction]),
        "confidence": float(found.confidence[prediction]),
        "iou": float(overlap[label, prediction]),
    }


def _similarity(labels: _Array, found: _Array) -> tuple[_Array, _Array]:
    """Intersection over union and similarity, both (labels, predictions)."""
    overlap = overlaps(labels, found)
    distance = np.linalg.norm(labels[:, None, :2] - found[None, :, :2], axis=2)
    diagonal = np.linalg.norm(labels[:, 2:], axis=1)[:, None]
    nearness = np.exp(-distance / np.maximum(diagonal, 1e-9))
    return overlap, OVERLAP_WEIGHT * overlap + (1.0 - OVERLAP_WEIGHT) * nearness


def overlaps(first: _Array, second: _Array) -> _Array:
    """Intersection over union of each of (n, 4) with each of (m, 4) boxes, centre and size; shape (n, m)."""
    low = np.maximum((first[:, :2] - first[:, 2:] / 2)[:, None], (second[:, :2] - second[:, 2:] / 2)[None])
    high = np.minimum((first[:, :2] + first[:, 2:] / 2)[:, None], (second[:, :2] + second[:, 2:] / 2)[None])
    shared = np.clip(high - low, 0.0, None).prod(axis=2)
    total = first[:, 2:].prod(axis=1)[:, None] + second[:, 2:].prod(axis=1)[None] - shared
    result: _Array = shared / np.maximum(total, 1e-12)
    return result
