"""What is answered about one photo, as plain values that JSON can carry: live serving and the MLflow model alike.

Tables of detections are for `predictor`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlops_assets.boxes import BOX_COLUMNS
from mlops_assets.detector.suppression import Detections

Box = dict[str, Any]
"""class_id, class_name, confidence, threshold, and a box relative to the upright photo (`boxes.BOX_COLUMNS`)."""


def lowest(thresholds: Mapping[int, float]) -> float:
    """A confidence that lets through all that meets its class's threshold; detection takes what is above it.

    The number just below in float32, as which a network's confidences are compared: one of float64 would be rounded up.
    """
    return float(np.nextafter(np.float32(min(thresholds.values())), np.float32(0)))


def boxes(
    found: Detections, class_ids: Sequence[int], names: Mapping[int, str], thresholds: Mapping[int, float]
) -> list[Box]:
    """Detections that meet their class's threshold, most confident first.

    Args:
        found: Boxes relative to the upright photo.
        class_ids: The class of each output index.
        names: Of every class.
        thresholds: Confidence from which a class counts.
    """
    ids = np.asarray(class_ids)[found.index].tolist()
    rows = zip(ids, found.confidence.astype(np.float64).tolist(), found.boxes.tolist(), strict=True)
    return [
        {
            "class_id": class_id,
            "class_name": names[class_id],
            "confidence": round(confidence, 4),
            "threshold": thresholds[class_id],
            **dict(zip(BOX_COLUMNS, (round(value, 6) for value in box), strict=True)),
        }
        for class_id, confidence, box in rows
        if confidence >= thresholds[class_id]
    ]
