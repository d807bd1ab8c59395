"""How unlike all known equipment a region of a photo is: nearest neighbours among the features of training boxes.

Sun et al., Out-of-Distribution Detection with Deep Nearest Neighbors, ICML 2022, with their unit vectors; before that
the features are whitened by what varies within the classes, so that light, distance and cables count for little (Lee
et al., A Simple Unified Framework for Detecting Out-of-Distribution Samples, NeurIPS 2018, estimate that covariance).
docs/decisions.md has what it was chosen from and what it finds. The features to compare with are gathered in
`references.py`.
"""

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mlops_assets.detector.predictor import Observation, OnnxPredictor
from mlops_assets.detector.regions import Floats, pool, propose, unit

OBJECT_NORM, OBJECT_REGIONS = 4, 3
"""A photo's score is the 4-norm of its three strangest regions: the strangest decides, a second one helps a little."""

_USUAL = 0.95


_UNIT_VECTORS = ("known", "background")


class ReferencesError(ValueError):
    """Features of the training boxes cannot be had or do not fit the model; the message says why and what to do."""


@dataclass(frozen=True)
class References:
    """What is known of the known equipment and of what is none, kept with a model version.

    Attributes:
        mean: (d,) of the training boxes' features.
        whitening: (d, d).
        known: (n, d) unit vectors of training boxes, whitened.
        classes: (n,) their class_id.
        background: (m, d) the same of regions of training photos where nothing is labelled.
        objectness: Half of the training photos have no such region with a larger objectness.
        usual: Score of a photo, in distances, that 95 % of the val photos stay below.
    """

    mean: Floats
    whitening: Floats
    known: Floats
    classes: npt.NDArray[np.int32]
    background: Floats
    objectness: np.float32
    usual: np.float32

    def distances(self, features: Floats) -> Floats:
        """Distance of each of (n, d) pooled features, of what is an object, to the nearest training box, 0 to 2.

        Raises:
            ReferencesError: The features are of another network.
        """
        return _chord(self._cosines(features)[0].max(axis=1))

    def scores(self, features: Floats, objectness: Floats) -> Floats:
        """How much each of n regions looks like equipment of no known class, as a multiple of `usual`.

        That is its distance to the nearest training box or piece of background, times how likely there is an object at
        all: half at the background's usual objectness.

        Args:
            features: (n, d), pooled.
            objectness: (n,), 0 to 1.

        Raises:
            ReferencesError: The features are of another network.
        """
        known, background = self._cosines(features)
        strange = _chord(np.maximum(known.max(axis=1), background.max(axis=1, initial=-1.0)))
        share = objectness / (objectness + self.objectness)
        return np.asarray(strange * share / self.usual, dtype=np.float32)

    def _cosines(self, features: Floats) -> tuple[Floats, Floats]:
        """Of each region with each training box, (n, boxes), and with each piece of background."""
        if features.shape[1:] != self.mean.shape:
            raise ReferencesError(
                f"The model gives {features.shape[1]} features and the references have {self.mean.shape[0]}; "
                "register the references that were made with this export"
            )
        vectors = whitened(features, self.mean, self.whitening)
        return vectors @ self.known.T, vectors @ self.background.T

    def with_usual(self, photo_scores: Sequence[float]) -> "References":
        """The same, on the scale that the scores of photos with known equipment give."""
        usual = float(np.quantile(photo_scores, _USUAL)) if len(photo_scores) else 0.0
        return replace(self, usual=np.float32(usual or 1.0))

    def save(self, path: Path) -> Path:
        """Write an .npz, atomically; unit vectors in half precision."""
        partial = path.with_name(f".{path.name}.part")
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        with partial.open("wb") as file:
            np.savez_compressed(file, **arrays | {name: arrays[name].astype(np.float16) for name in _UNIT_VECTORS})
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
        scalars = {name: np.float32(found[name]) for name in ("objectness", "usual")}
        return cls(**found | scalars | {name: found[name].astype(np.float32) for name in _UNIT_VECTORS})


@dataclass(frozen=True)
class MostUnknown:
    """How much a photo looks like showing equipment of no known class, and where.

    Attributes:
        score: From 0, without an upper end; 1 is what 95 % of the val photos, with known equipment, stay below.
        box: Centre, width and height relative to the upright photo; None where nothing looks like an object.
    """

    score: float
    box: tuple[float, float, float, float] | None


def most_unknown(seen: Observation, references: References, predictor: OnnxPredictor) -> MostUnknown | None:
    """Score a photo by its strangest regions; None where the model gives no features.

    Raises:
        ReferencesError: The references are of another network.
    """
    if seen.features is None:
        return None
    regions = propose(seen.raw, seen.placed)
    if not len(regions.boxes):
        return MostUnknown(0.0, None)
    pooled = pool(seen.features, regions.boxes, predictor.image_size, predictor.feature_channels)
    scores = references.scores(pooled, regions.objectness)
    strangest = np.sort(scores)[-OBJECT_REGIONS:]
    best = int(scores.argmax())
    x, y, width, height = seen.placed.to_relative(regions.boxes[best : best + 1].astype(np.float32))[0]
    score = float((strangest.astype(np.float64) ** OBJECT_NORM).sum() ** (1 / OBJECT_NORM))
    return MostUnknown(score, (float(x), float(y), float(width), float(height)))


def whitened(features: Floats, mean: Floats, whitening: Floats) -> Floats:
    """(n, d) features as unit vectors in which no direction varies more than another within a class."""
    moved: Floats = ((features - mean) @ whitening).astype(np.float32)
    return unit(moved)


def _chord(cosines: Floats) -> Floats:
    """Euclidean distance of unit vectors."""
    distance: Floats = np.sqrt(np.clip(2 - 2 * cosines, 0, None)).astype(np.float32)
    return distance
