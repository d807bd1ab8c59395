"""Faces made unrecognisable on a photo, by OpenCV's YuNet and a model file that the use case names.

YuNet: W. Wu et al., "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research 20, 2023. Nothing is
downloaded: without the file the use case does not load (`mlops_assets.use_case`).
"""

import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_assets.photos.pixels import Image
from mlops_assets.use_case import FaceBlurRules

_MARGIN = 0.25
"""Of a face's size, added on each side: hair and ears tell as well."""

_MOSAIC = 6
"""Squares across a face: what is left is coarser than the features by which one is told from another."""

_OVERLAP = 0.3
"""Of two boxes of one face; OpenCV's own default for YuNet."""

_MOST_FACES = 5000

_per_thread = threading.local()


def blur_faces(pixels: Image, rules: FaceBlurRules) -> Image:
    """Lay a coarse mosaic over every face that is found.

    Args:
        pixels: (height, width, 3), RGB, upright.
        rules: Model and score.

    Returns:
        A copy, or `pixels` itself where no face is found.
    """
    faces = find_faces(pixels, rules)
    if not len(faces):
        return pixels
    blurred = pixels.copy()
    for face in faces:
        left, top, right, bottom = face
        blurred[top:bottom, left:right] = _mosaic(blurred[top:bottom, left:right])
    return blurred


def find_faces(pixels: Image, rules: FaceBlurRules) -> npt.NDArray[np.int64]:
    """Boxes of faces with their margin, within the photo: (n, 4), left, top, right, bottom in pixels."""
    import cv2

    height, width = pixels.shape[:2]
    detector = _detector(str(rules.model), rules.min_score)
    detector.setInputSize((width, height))
    _, found = detector.detect(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    if found is None:
        return np.empty((0, 4), dtype=np.int64)
    corner, size = found[:, :2], found[:, 2:4]
    first = np.floor(corner - _MARGIN * size).clip(min=0)
    last = np.ceil(corner + (1 + _MARGIN) * size).clip(max=[width, height])
    boxes = np.concatenate([first, last], axis=1).astype(np.int64)
    return boxes[(boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])]


def _detector(model: str, min_score: float) -> Any:
    """One a thread: it keeps the size of its input, and so cannot be shared."""
    import cv2

    detectors: dict[tuple[str, float], Any] = _per_thread.__dict__.setdefault("detectors", {})
    key = (model, min_score)
    if key not in detectors:
        detectors[key] = cv2.FaceDetectorYN.create(model, "", (320, 320), min_score, _OVERLAP, _MOST_FACES)
    return detectors[key]


def _mosaic(face: Image) -> Image:
    import cv2

    height, width = face.shape[:2]
    coarse = cv2.resize(face, (min(_MOSAIC, width), min(_MOSAIC, height)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST), dtype=np.uint8)
