"""How unlike all known equipment a region of a photo is: nearest neighbours among the features of training boxes.

Sun et al., Out-of-Distribution Detection with Deep Nearest Neighbors, ICML 2022, with their unit vectors; before that
the features are whitened by what varies within the classes, so that light, distance and cables count for little (Lee
et al., A Simple Unified Framework for Detecting Out-of-Distribution Samples, NeurIPS 2018, estimate that covariance).
docs/decisions.md has what it was chosen from and what it finds.
"""

import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from mlops_assets.boxes import BOX_COLUMNS
from mlops_assets.detector.predictor import Observation, OnnxPredictor
from mlops_assets.detector.regions import Floats, pool, propose, unit
from mlops_assets.photos.pixels import Letterbox

MAX_BOXES_PER_CLASS = 200
"""Training boxes kept of a class, drawn at random: Sun et al. lose nothing with 1 % of theirs."""

OBJECTNESS_HALF = 0.03
"""Class score at which a region counts half; background seldom reaches it."""

_SHRINKAGE = 0.3
"""Added to the variances within the classes, as a share of their mean, since boxes are fewer than what is estimated."""

_USUAL = 0.95
_SEED = 0


class ReferencesError(ValueError):
    """Features of the training boxes cannot be had or do not fit the model; the message says why and what to do."""


@dataclass(frozen=True)
class References:
    """What is known of the known equipment, kept with a model version.

    Attributes:
        mean: (d,) of the training boxes' features.
        whitening: (d, d).
        known: (n, d) unit vectors of training boxes, whitened.
        classes: (n,) their class_id.
        usual: Distance to the nearest that 95 % of the val boxes stay below (without val boxes: of the training boxes,
            to the nearest one of another photo).
    """

    mean: Floats
    whitening: Floats
    known: Floats
    classes: npt.NDArray[np.int32]
    usual: np.float32

    def distances(self, features: Floats) -> Floats:
        """Distance of each of (n, d) pooled features to the nearest known one as a multiple of `usual`.

        Raises:
            ReferencesError: The features are of another network.
        """
        if features.shape[1:] != self.mean.shape:
            raise ReferencesError(
                f"The model gives {features.shape[1]} features and the references have {self.mean.shape[0]}; "
                "register the references that were made with this export"
            )
        return _nearest(_whitened(features, self.mean, self.whitening), self.known) / self.usual

    def save(self, path: Path) -> Path:
        """Write an .npz, atomically; unit vectors in half precision."""
        partial = path.with_name(f".{path.name}.part")
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        with partial.open("wb") as file:
            np.savez_compressed(file, **arrays | {"known": self.known.astype(np.float16)})
        partial.replace(path)
        return path

    @classmethod
    def load(cls, path: Path) -> "References":
        """Read what `save` wrote.

        Raises:
            ReferencesError: Not such a file.
        """
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
                found = {field.name: arrays[field.name] for field in fields(cls)}
        except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
            raise ReferencesError(f"{path} holds no features of training boxes: {error}") from error
        return cls(**found | {"known": found["known"].astype(np.float32), "usual": np.float32(found["usual"])})


@dataclass(frozen=True)
class MostUnknown:
    """The region of a photo that looks most like equipment of no known class.

    Attributes:
        score: Distance to the nearest known box, 1 = as far as all but 5 % of known equipment at most is, times how
            likely there is an object at all (0 to 1); 0 where there is no region.
        box: Centre, width and height relative to the upright photo; None where there is no region.
    """

    score: float
    box: tuple[float, float, float, float] | None


def most_unknown(seen: Observation, references: References, predictor: OnnxPredictor) -> MostUnknown | None:
    """Score a photo by its most unknown region; None where the model gives no features.

    Raises:
        ReferencesError: The references are of another network.
    """
    if seen.features is None:
        return None
    regions = propose(seen.raw, seen.placed)
    if not len(regions.boxes):
        return MostUnknown(0.0, None)
    pooled = pool(seen.features, regions.boxes, predictor.image_size, predictor.feature_channels)
    object_share = regions.objectness / (regions.objectness + OBJECTNESS_HALF)
    scores = references.distances(pooled) * object_share
    best = int(scores.argmax())
    x, y, width, height = seen.placed.to_relative(regions.boxes[best : best + 1].astype(np.float32))[0]
    return MostUnknown(float(scores[best]), (float(x), float(y), float(width), float(height)))


def build_references(predictor: OnnxPredictor, dataset: pl.DataFrame, read_photo: Callable[[str], bytes]) -> References:
    """Look at the labelled boxes of train and val with an export, and keep what they look like.

    At most `MAX_BOXES_PER_CLASS` boxes of a class and split are looked at, the same ones each time.

    Args:
        predictor: The open export.
        dataset: TRAINING_DATASET.
        read_photo: Bytes of a normalised photo.

    Raises:
        ReferencesError: There is no training box, or the model gives no features.
    """
    if not predictor.has_features:
        raise ReferencesError("The model was exported without features; export it again from its weights")
    train = _labelled_features(predictor, _drawn(dataset, "train"), read_photo)
    if not len(train.classes):
        raise ReferencesError("No training box to learn from what known equipment looks like; label some photos")
    val = _labelled_features(predictor, _drawn(dataset, "val"), read_photo)
    mean, whitening = _whitening(train.features, train.classes)
    known, val_known = (_whitened(side.features, mean, whitening) for side in (train, val))
    nearest = _nearest(val_known, known) if len(val_known) else _nearest_elsewhere(known, train.photos)
    usual = float(np.quantile(nearest, _USUAL)) if len(nearest) else 1.0
    return References(mean, whitening, known, train.classes, np.float32(usual or 1.0))


@dataclass(frozen=True)
class _Labelled:
    features: Floats
    classes: npt.NDArray[np.int32]
    photos: npt.NDArray[np.int64]


def _drawn(dataset: pl.DataFrame, split: str) -> pl.DataFrame:
    boxes = dataset.filter(pl.col("split") == split).drop_nulls(["class_id", *BOX_COLUMNS])
    order = ["photo_id", "class_id", *BOX_COLUMNS]
    shuffled = boxes.select(order).unique().sort(order).sample(fraction=1.0, shuffle=True, seed=_SEED)
    return shuffled.group_by("class_id", maintain_order=True).head(MAX_BOXES_PER_CLASS).sort(order)


def _labelled_features(predictor: OnnxPredictor, boxes: pl.DataFrame, read_photo: Callable[[str], bytes]) -> _Labelled:
    found = list(_by_photo(predictor, boxes, read_photo))
    width = sum(predictor.feature_channels)
    return _Labelled(
        np.concatenate([np.zeros((0, width), np.float32), *(features for features, _ in found)]),
        np.concatenate([np.zeros(0, np.int32), *(classes for _, classes in found)]),
        np.repeat(np.arange(len(found)), [len(classes) for _, classes in found]),
    )


def _by_photo(
    predictor: OnnxPredictor, boxes: pl.DataFrame, read_photo: Callable[[str], bytes]
) -> Iterator[tuple[Floats, npt.NDArray[np.int32]]]:
    by_photo = {str(key[0]): rows for key, rows in boxes.group_by("photo_id", maintain_order=True)}
    for seen in predictor.observe(by_photo, read_photo, confidence=1.0):
        rows = by_photo[seen.photo_id]
        if seen.features is not None:
            places = in_input_pixels(rows.select(BOX_COLUMNS).to_numpy(), seen.placed)
            pooled = pool(seen.features, places, predictor.image_size, predictor.feature_channels)
            yield pooled, rows["class_id"].to_numpy().astype(np.int32)


def in_input_pixels(boxes: npt.NDArray[np.float64], placed: Letterbox) -> npt.NDArray[np.float64]:
    """Turn (n, 4) centre boxes relative to the upright photo into corner boxes in pixels of the network's input."""
    extent = np.array([placed.width, placed.height]) * placed.scale
    centre = boxes[:, :2] * extent + [placed.left, placed.top]
    half = boxes[:, 2:] * extent / 2
    return np.hstack([centre - half, centre + half])


def _whitening(features: Floats, classes: npt.NDArray[np.int32]) -> tuple[Floats, Floats]:
    mean: Floats = features.mean(axis=0, dtype=np.float32)
    within = np.concatenate([features[classes == c] - features[classes == c].mean(axis=0) for c in np.unique(classes)])
    variances, directions = np.linalg.eigh(within.T.astype(np.float64) @ within / len(within))
    spread = variances.clip(0) + _SHRINKAGE * max(float(variances.mean()), 1e-12)
    return mean, (directions / np.sqrt(spread)).astype(np.float32)


def _whitened(features: Floats, mean: Floats, whitening: Floats) -> Floats:
    moved: Floats = ((features - mean) @ whitening).astype(np.float32)
    return unit(moved)


def _nearest(vectors: Floats, known: Floats) -> Floats:
    return _chord((vectors @ known.T).max(axis=1))


def _nearest_elsewhere(known: Floats, photos: npt.NDArray[np.int64]) -> Floats:
    """Distance of each to the nearest one of another photo; none where all are of one photo."""
    cosines = known @ known.T
    cosines[photos[:, None] == photos[None]] = -np.inf
    best = cosines.max(axis=1)
    return _chord(best[np.isfinite(best)])


def _chord(cosines: Floats) -> Floats:
    """Euclidean distance of unit vectors, 0 to 2."""
    distance: Floats = np.sqrt(np.clip(2 - 2 * cosines, 0, None)).astype(np.float32)
    return distance
