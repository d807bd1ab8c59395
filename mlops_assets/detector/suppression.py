"""From raw network output to detections: confidence threshold and class-aware non-maximum suppression."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

NMS_IOU = 0.5
"""Overlap above which the weaker of two boxes of one class is dropped.

Devices stand beside each other and hardly overlap, and the catalogue counts boxes: at Ultralytics' 0.7 one device was
counted twice more often (docs/decisions.md).
"""

MAX_DETECTIONS = 300
"""Most detections of a photo, as Ultralytics and its COCO figures have it."""


@dataclass(frozen=True)
class Detections:
    """Detections of one photo, most confident first.

    Attributes:
        index: (n,) index into the model's class list.
        confidence: (n,), 0 to 1.
        boxes: (n, 4); the producer says in which units.
    """

    index: npt.NDArray[np.int64]
    confidence: npt.NDArray[np.float32]
    boxes: npt.NDArray[np.float64]


def suppress(raw: npt.NDArray[np.float32], confidence: float, iou: float = NMS_IOU) -> Detections:
    """Keep the best class of each anchor above `confidence`, then the best of boxes of one class that overlap.

    Args:
        raw: (4 + classes, anchors), boxes as centre, width and height in input pixels, scores 0 to 1.
        confidence: Lowest confidence kept, exclusive.
        iou: Intersection over union above which a box is dropped.

    Returns:
        Boxes as (x1, y1, x2, y2) in input pixels, at most `MAX_DETECTIONS`.
    """
    import cv2

    best = raw[4:].max(axis=0)
    anchors = np.flatnonzero(best > confidence)
    order = anchors[np.argsort(-best[anchors], kind="stable")]
    scores, index = best[order], raw[4:, order].argmax(axis=0)
    centre, size = raw[:2, order].T.astype(np.float64), raw[2:4, order].T.astype(np.float64)
    corner = centre - size / 2
    boxes: Any = np.hstack([corner, size])  # the stubs ask for sequences, arrays spare the conversion
    kept = np.asarray(cv2.dnn.NMSBoxesBatched(boxes, scores, index.astype(np.int32), 0.0, iou), dtype=np.int64)
    kept = kept.reshape(-1)[:MAX_DETECTIONS]
    return Detections(index[kept], scores[kept], np.hstack([corner, corner + size])[kept])
