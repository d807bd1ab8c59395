"""Gathers what `unknown_equipment` compares with: features of a candidate's training boxes and of their background."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from mlops_assets.boxes import BOX_COLUMNS
from mlops_assets.detector.predictor import OnnxPredictor
from mlops_assets.detector.regions import Floats, Regions, in_input_pixels, overlaps, pool, propose
from mlops_assets.detector.unknown_equipment import References, ReferencesError, most_unknown, whitened
from mlops_assets.photos.pixels import PAD_GREY, Letterbox, network_input

MAX_BOXES_PER_CLASS = 200
"""Training boxes looked at of a class, drawn at random: Sun et al. lose nothing with 1 % of theirs."""

MAX_VAL_PHOTOS = 200
MAX_BACKGROUND = 2000

SCALES = (1.0, 0.75, 1.3)
"""Training photos are also looked at smaller and larger, as if from farther away and from nearer."""

_BACKGROUND_PER_LOOK = 10
_BACKGROUND_OVERLAP = 0.3
_VISIBLE = 0.6
_SHRINKAGE = 0.1
"""Added to the variances within the classes, as a share of their mean, since boxes are fewer than what is estimated."""

_SEED = 0


def build_references(predictor: OnnxPredictor, dataset: pl.DataFrame, read_photo: Callable[[str], bytes]) -> References:
    """Look at the training boxes with an export and keep what they look like, and what the rest of their photos does.

    At most `MAX_BOXES_PER_CLASS` boxes of a class and `MAX_VAL_PHOTOS` photos are looked at, the same ones each time.

    Args:
        predictor: The open export.
        dataset: TRAINING_DATASET.
        read_photo: Bytes of a normalised photo.

    Raises:
        ReferencesError: There is no training box, or the model gives no features.
    """
    if not predictor.has_features:
        raise ReferencesError("The model was exported without features; export it again from its weights")
    train = dataset.filter(pl.col("split") == "train").drop_nulls(["class_id", *BOX_COLUMNS])
    looks = list(_looks(predictor, train, read_photo))
    if not looks:
        raise ReferencesError("No training box to learn from what known equipment looks like; label some photos")
    features, classes = (np.concatenate([getattr(look, name) for look in looks]) for name in ("known", "classes"))
    background = np.concatenate([look.background for look in looks])
    drawn = np.random.default_rng(_SEED).permutation(len(background))[:MAX_BACKGROUND]
    mean, whitening = _whitening(features, classes)
    references = References(
        mean,
        whitening,
        whitened(features, mean, whitening),
        classes,
        whitened(background[np.sort(drawn)], mean, whitening),
        objectness=np.float32(np.median([look.objectness for look in looks if look.scale == 1.0])),
        usual=np.float32(1.0),
    )
    return references.with_usual(_val_scores(predictor, references, dataset, read_photo))


@dataclass(frozen=True)
class _Look:
    """What one training photo gave at one scale; objectness is the largest of its background."""

    scale: float
    known: Floats
    classes: npt.NDArray[np.int32]
    background: Floats
    objectness: float


def _looks(predictor: OnnxPredictor, boxes: pl.DataFrame, read_photo: Callable[[str], bytes]) -> Iterator[_Look]:
    order = ["photo_id", "class_id", *BOX_COLUMNS]
    shuffled = boxes.select(order).unique().sort(order).sample(fraction=1.0, shuffle=True, seed=_SEED)
    drawn = shuffled.group_by("class_id", maintain_order=True).head(MAX_BOXES_PER_CLASS).sort(order)
    labelled = {key[0]: rows.select(BOX_COLUMNS).to_numpy() for key, rows in boxes.group_by("photo_id")}
    for (photo_id,), rows in drawn.group_by("photo_id", maintain_order=True):
        tensor, placed = network_input(read_photo(str(photo_id)), predictor.image_size, square=True)
        for scale in SCALES:
            yield _look(predictor, tensor, placed, rows, labelled[photo_id], scale)


def _look(
    predictor: OnnxPredictor,
    tensor: Floats,
    placed: Letterbox,
    rows: pl.DataFrame,
    labelled: npt.NDArray[np.float64],
    scale: float,
) -> _Look:
    size, channels = predictor.image_size, predictor.feature_channels
    raw, features = predictor.raw_with_features(_scaled(tensor, scale)[None])
    if features is None:
        raise ReferencesError("The model gives no features")
    regions = _nothing_labelled(propose(raw[0], _placed(placed, scale, size)), _at(labelled, placed, scale, size))
    places = _at(rows.select(BOX_COLUMNS).to_numpy(), placed, scale, size)
    inside = np.clip(places, 0, size)
    visible = np.prod(inside[:, 2:] - inside[:, :2], axis=1) >= _VISIBLE * np.prod(
        places[:, 2:] - places[:, :2], axis=1
    )
    return _Look(
        scale,
        pool(features[0], places[visible], size, channels),
        rows["class_id"].to_numpy().astype(np.int32)[visible],
        pool(features[0], regions.boxes[:_BACKGROUND_PER_LOOK], size, channels),
        float(regions.objectness.max(initial=0.0)),
    )


def _nothing_labelled(regions: Regions, labelled: npt.NDArray[np.float64]) -> Regions:
    free = overlaps(regions.boxes, labelled).max(axis=1, initial=0.0) < _BACKGROUND_OVERLAP
    return Regions(regions.boxes[free], regions.objectness[free])


def _at(boxes: npt.NDArray[np.float64], placed: Letterbox, scale: float, size: int) -> npt.NDArray[np.float64]:
    moved: npt.NDArray[np.float64] = size / 2 + scale * (in_input_pixels(boxes, placed) - size / 2)
    return moved


def _placed(placed: Letterbox, scale: float, size: int) -> Letterbox:
    left, top = (round(size / 2 + scale * (side - size / 2)) for side in (placed.left, placed.top))
    return Letterbox(placed.scale * scale, left, top, placed.width, placed.height)


def _scaled(tensor: Floats, scale: float) -> Floats:
    """The network's input about its middle, (3, size, size)."""
    if scale == 1.0:
        return tensor
    import cv2

    picture = tensor.transpose(1, 2, 0)
    if scale < 1:
        picture = cv2.GaussianBlur(picture, (3, 3), 0.6)  # what a smaller picture cannot show would flicker
    size = tensor.shape[1]
    shift = size / 2 * (1 - scale)
    matrix = np.array([[scale, 0, shift], [0, scale, shift]], dtype=np.float32)
    moved = cv2.warpAffine(picture, matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=(PAD_GREY / 255,) * 3)
    return np.ascontiguousarray(moved.transpose(2, 0, 1), dtype=np.float32)


def _val_scores(
    predictor: OnnxPredictor, references: References, dataset: pl.DataFrame, read_photo: Callable[[str], bytes]
) -> list[float]:
    photos = dataset.filter(pl.col("split") == "val")["photo_id"].unique().sort().shuffle(_SEED)[:MAX_VAL_PHOTOS]
    found = (
        most_unknown(seen, references, predictor)
        for seen in predictor.observe(photos.sort().to_list(), read_photo, confidence=1.0)
    )
    return [photo.score for photo in found if photo is not None]


def _whitening(features: Floats, classes: npt.NDArray[np.int32]) -> tuple[Floats, Floats]:
    """Mean, and the matrix after which the covariance within the classes is about the identity."""
    mean: Floats = features.mean(axis=0, dtype=np.float32)
    within = np.concatenate([features[classes == c] - features[classes == c].mean(axis=0) for c in np.unique(classes)])
    variances, directions = np.linalg.eigh(within.T.astype(np.float64) @ within / len(within))
    spread = variances.clip(0) + _SHRINKAGE * max(float(variances.mean()), 1e-12)
    return mean, (directions / np.sqrt(spread)).astype(np.float32)
