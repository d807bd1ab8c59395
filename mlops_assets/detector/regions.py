"""Regions of a photo that may be equipment of any class, and what the network saw there.

What a region's features are compared with belongs in `unknown_equipment.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_assets.detector.suppression import NMS_IOU
from mlops_assets.photos.pixels import Letterbox

MIN_OBJECTNESS = 0.001
MAX_REGIONS = 20
"""Of a photo. An object of a class that was held out of training was always among the first 10 (docs/decisions.md)."""

_SAMPLES = (4, 8)
"""Points of a region at which the maps are read, rows and columns."""

_INNER = 0.5
"""Share of a region's height and width, about its middle, that is read: nearer its edges the maps also show what is
beside it, which for a device a few cells high is most of what they show."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Regions:
    """Regions of one photo, likeliest first.

    Attributes:
        boxes: (n, 4), x1, y1, x2, y2 in input pixels.
        objectness: (n,), the largest class score, 0 to 1: also an object of no known class looks a little like one.
    """

    boxes: npt.NDArray[np.float64]
    objectness: Floats


def propose(raw: Floats, placed: Letterbox) -> Regions:
    """Find regions without regard to class: all anchors' boxes after class-agnostic non-maximum suppression.

    Args:
        raw: Output of the network, (4 + classes, anchors), boxes as centre, width and height in input pixels.
        placed: Where the photo lies; what has its centre in the margin is no region.

    Returns:
        At most `MAX_REGIONS` regions of at least `MIN_OBJECTNESS`.
    """
    import cv2

    scores = raw[4:].max(axis=0)
    right, bottom = placed.left + placed.width * placed.scale, placed.top + placed.height * placed.scale
    inside = (raw[0] > placed.left) & (raw[0] < right) & (raw[1] > placed.top) & (raw[1] < bottom)
    anchors = np.flatnonzero((scores >= MIN_OBJECTNESS) & inside)
    centre, size = raw[:2, anchors].T.astype(np.float64), raw[2:4, anchors].T.astype(np.float64)
    corner = centre - size / 2
    boxes: Any = np.hstack([corner, size])
    kept = np.asarray(cv2.dnn.NMSBoxes(boxes, scores[anchors], 0.0, NMS_IOU), dtype=np.int64).reshape(-1)[:MAX_REGIONS]
    return Regions(np.hstack([corner, corner + size])[kept], scores[anchors][kept])


def pool(features: Floats, boxes: npt.NDArray[np.float64], image_size: int, channels: Sequence[int]) -> Floats:
    """What the network saw in each box: its maps' mean over the inner half of the box, each map's part of length 1.

    The maps are read by bilinear interpolation at 4 x 8 points, as RoIAlign does with one bin (He et al., Mask R-CNN,
    ICCV 2017).

    Args:
        features: (channels, rows, columns) of one photo.
        boxes: (n, 4), x1, y1, x2, y2 in input pixels.
        image_size: Long side of the network's input, pixels.
        channels: Of each map that was joined.

    Returns:
        (n, channels).
    """
    rows, columns = features.shape[1:]
    stride = image_size / max(rows, columns)
    y, y_next, y_weight = _between(boxes[:, 1], boxes[:, 3], _SAMPLES[0], stride, rows)
    x, x_next, x_weight = _between(boxes[:, 0], boxes[:, 2], _SAMPLES[1], stride, columns)
    wy, wx = y_weight[:, :, None], x_weight[:, None, :]
    corners = (
        (y, x, (1 - wy) * (1 - wx)),
        (y, x_next, (1 - wy) * wx),
        (y_next, x, wy * (1 - wx)),
        (y_next, x_next, wy * wx),
    )
    pooled = np.zeros((features.shape[0], len(boxes)), dtype=np.float32)
    for row, column, weight in corners:
        pooled += np.einsum("cnij,nij->cn", features[:, row[:, :, None], column[:, None, :]], weight)
    parts = np.split(pooled.T, np.cumsum(channels)[:-1], axis=1)
    return np.concatenate([unit(part) for part in parts], axis=1)


def unit(vectors: Floats) -> Floats:
    """(n, d) vectors at length 1; what is 0 stays 0."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Floats = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
    return scaled


def _between(
    start: npt.NDArray[np.float64], end: npt.NDArray[np.float64], points: int, stride: float, cells: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]:
    """Cells before and after `points` places inside start to end, and the weight of the latter; (n, points) each."""
    share = 0.5 + _INNER * ((np.arange(points) + 0.5) / points - 0.5)
    at = np.clip((start[:, None] + share * (end - start)[:, None]) / stride - 0.5, 0, cells - 1)
    before = np.floor(at).astype(np.int64)
    return before, np.minimum(before + 1, cells - 1), (at - before).astype(np.float32)


def in_input_pixels(boxes: npt.NDArray[np.float64], placed: Letterbox) -> npt.NDArray[np.float64]:
    """Turn (n, 4) centre boxes relative to the upright photo into corner boxes in pixels of the network's input."""
    extent = np.array([placed.width, placed.height]) * placed.scale
    centre = boxes[:, :2] * extent + [placed.left, placed.top]
    half = boxes[:, 2:] * extent / 2
    return np.hstack([centre - half, centre + half])


def overlaps(boxes: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Intersection over union of (n, 4) and (m, 4) corner boxes, (n, m)."""
    start = np.maximum(boxes[:, None, :2], others[None, :, :2])
    end = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.clip(end - start, 0, None).prod(axis=2)
    area, other_area = (np.prod(b[:, 2:] - b[:, :2], axis=1) for b in (boxes, others))
    union = area[:, None] + other_area[None] - shared
    share: npt.NDArray[np.float64] = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return share
