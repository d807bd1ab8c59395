"""Labels and predictions in the tables' columns, written down shortly."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from mlops_assets.boxes import BOX_COLUMNS
from mlops_assets.dataset.schema import TRAINING_DATASET
from mlops_assets.detector.predictor import PREDICTIONS

Box = tuple[float, float, float, float]
LEFT: Box = (0.25, 0.5, 0.2, 0.2)
RIGHT: Box = (0.75, 0.5, 0.2, 0.2)
TOP: Box = (0.5, 0.1, 0.2, 0.2)
SLIGHTLY_LEFT: Box = (0.27, 0.5, 0.2, 0.2)
"""IoU 0.8182 with LEFT: found at thresholds up to 0.80, so at 7 of 10."""

Label = tuple[str, int | None, Box | None]
Prediction = tuple[str, int | None, float | None, Box | None]


def truth(labels: Sequence[Label], *, split: str = "test", class_map_version: int = 10) -> pl.DataFrame:
    """Labels as (photo, class, box); the enclosure is the photo's name up to the dash."""
    rows = [
        {
            "photo_id": photo,
            "enclosure_id": photo.split("-")[0],
            "split": split,
            "class_id": class_id,
            **dict(zip(BOX_COLUMNS, box or (None,) * 4, strict=True)),
            "class_map_version": class_map_version,
        }
        for photo, class_id, box in labels
    ]
    return pl.DataFrame(rows, schema=TRAINING_DATASET)


def predicted(rows: Sequence[Prediction]) -> pl.DataFrame:
    """Predictions as (photo, class, confidence, box)."""
    return pl.DataFrame(
        [(photo, class_id, confidence, *(box or (None,) * 4), "1") for photo, class_id, confidence, box in rows],
        schema=PREDICTIONS,
        orient="row",
    )


def random_snapshot(seed: int) -> tuple[list[Label], list[Prediction]]:
    """Labels of 3 classes on some photos, and predictions of which about half find one."""
    rng = np.random.default_rng(seed)
    labels: list[Label] = []
    found: list[Prediction] = []
    for number in range(60):
        photo, class_id = f"{number % 12}-{number % 23}", int(rng.integers(3))
        x, y = rng.uniform(0.2, 0.8, 2)
        labels.append((photo, class_id, (x, y, 0.2, 0.2)))
        dx, dy = rng.normal(0, 0.02, 2)
        said = int(rng.integers(3)) if rng.random() < 0.2 else class_id
        found.append((photo, said, float(rng.random()), (x + dx, y + dy, 0.2, 0.21)))
        found.append((photo, class_id, float(rng.random()), (float(rng.random()), float(rng.random()), 0.2, 0.2)))
    return labels, found
