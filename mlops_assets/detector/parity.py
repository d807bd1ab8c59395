"""Whether the export computes what the trained weights compute: detections on identical input tensors.

The preprocessing is not compared here; it is measured by mAP on labelled photos.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mlops_assets.detector.predictor import OnnxPredictor
from mlops_assets.detector.regions import overlaps
from mlops_assets.detector.suppression import Detections, suppress
from mlops_assets.detector.ultralytics_setup import prepare_ultralytics
from mlops_assets.detector.weights import load_model
from mlops_assets.photos.pixels import network_input

MIN_IOU = 0.9
MAX_CONFIDENCE_DIFFERENCE = 0.02
MIN_SHARE = 0.995
"""DESIGN §3 and §7: the share that a faithful export reaches; 100 % was measured for yolo11n and yolo26n."""


@dataclass(frozen=True)
class ParityResult:
    """Detections of either side, and how many of them have a counterpart on the other."""

    matched: int
    total: int

    @property
    def share(self) -> float:
        """Share matched; 0 where nothing was detected, as then nothing was shown."""
        return self.matched / self.total if self.total else 0.0

    @property
    def holds(self) -> bool:
        """Whether the share is at least `MIN_SHARE`."""
        return self.share >= MIN_SHARE


def measure_parity(
    weights: Path, predictor: OnnxPredictor, photos: Iterable[bytes], *, confidence: float, threads: int
) -> ParityResult:
    """Run the weights in PyTorch and their export in ONNX Runtime on the same tensors, and match what they find.

    A detection of either side counts as matched if the other has one of its class with IoU 0.9 or more and a confidence
    within 0.02; that one may lie up to 0.02 below `confidence`.

    Args:
        weights: Ultralytics checkpoint that the export was made from.
        predictor: The open export.
        photos: Bytes of some test photos.
        confidence: From which detections are compared.
        threads: CPU threads of torch.

    Raises:
        WeightsError: The weights are missing or broken.
        UnreadableImageError: A photo is no picture.
    """
    prepare_ultralytics(threads)
    import torch

    model = load_model(weights)
    floor = max(confidence - MAX_CONFIDENCE_DIFFERENCE, 0.0)
    matched = total = 0
    for content in photos:
        tensor = network_input(content, predictor.image_size)[0][None]
        with torch.inference_mode():
            reference = model(torch.from_numpy(tensor))[0].numpy()
        sides = suppress(reference[0], floor), suppress(predictor.raw(tensor)[0], floor)
        for ours, others in (sides, sides[::-1]):
            compared = ours.confidence >= confidence
            matched += int((_has_counterpart(ours, others) & compared).sum())
            total += int(compared.sum())
    return ParityResult(matched, total)


def _has_counterpart(ours: Detections, others: Detections) -> npt.NDArray[np.bool_]:
    """Whether each of `ours` has a counterpart; boxes of one class overlap by 0.7 at most, so it is the only one."""
    fits = (
        (ours.index[:, None] == others.index[None])
        & (np.abs(ours.confidence[:, None] - others.confidence[None]) <= MAX_CONFIDENCE_DIFFERENCE)
        & (overlaps(ours.boxes, others.boxes) >= MIN_IOU)
    )
    return np.asarray(fits.any(axis=1), dtype=np.bool_)
