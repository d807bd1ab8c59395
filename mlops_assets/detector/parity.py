"""Whether the export computes what the trained weights compute, in each runtime: detections on identical tensors.

The preprocessing is not compared here; it is measured by mAP on labelled photos.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
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
    """Detections of either side, how many of them have a counterpart on the other, and the runtime of the export."""

    matched: int
    total: int
    runtime: str = "onnxruntime"

    @property
    def share(self) -> float:
        """Share matched; 0 where nothing was detected, as then nothing was shown."""
        return self.matched / self.total if self.total else 0.0

    @property
    def holds(self) -> bool:
        """Whether the share is at least `MIN_SHARE`."""
        return self.share >= MIN_SHARE


def worst(results: Iterable[ParityResult]) -> ParityResult:
    """The one to judge by: a version may be looked at with in any runtime."""
    return min(results, key=lambda result: result.share)


def parity_tags(results: Sequence[ParityResult]) -> dict[str, str]:
    """What the registry keeps with a version: the counts and runtime to judge by, and those of each runtime."""
    judged = worst(results)
    return {
        "parity": json.dumps([judged.matched, judged.total]),
        "parity_runtime": judged.runtime,
        "parity_by_runtime": json.dumps({each.runtime: [each.matched, each.total] for each in results}),
    }


def parity_of(tags: Mapping[str, str]) -> ParityResult:
    """What a version is judged by; nothing was shown where it has no such tag."""
    matched, total = json.loads(tags.get("parity", "[0, 0]"))
    return ParityResult(matched, total, tags.get("parity_runtime", "onnxruntime"))


@dataclass
class _Count:
    matched: int = 0
    total: int = 0


def measure_parity(
    weights: Path, predictors: Sequence[OnnxPredictor], photos: Iterable[bytes], *, confidence: float, threads: int
) -> list[ParityResult]:
    """Run the weights in PyTorch and their export in runtimes on the same tensors, and match what they find.

    A detection of either side counts as matched if the other has one of its class with IoU 0.9 or more and a confidence
    within 0.02; that one may lie up to 0.02 below `confidence`.

    Args:
        weights: Ultralytics checkpoint that the export was made from.
        predictors: The export, open in each runtime.
        photos: Bytes of some test photos.
        confidence: From which detections are compared.
        threads: CPU threads of torch.

    Returns:
        One result a predictor.

    Raises:
        WeightsError: The weights are missing or broken.
        UnreadableImageError: A photo is no picture.
    """
    prepare_ultralytics(threads)
    import torch

    model = load_model(weights)
    floor = max(confidence - MAX_CONFIDENCE_DIFFERENCE, 0.0)
    counts = {predictor.runtime: _Count() for predictor in predictors}
    for content in photos:
        tensor = network_input(content, predictors[0].image_size)[0][None]
        with torch.inference_mode():
            reference = suppress(model(torch.from_numpy(tensor))[0].numpy()[0], floor)
        for predictor in predictors:
            exported, count = suppress(predictor.raw(tensor)[0], floor), counts[predictor.runtime]
            for ours, others in ((reference, exported), (exported, reference)):
                compared = ours.confidence >= confidence
                count.matched += int((_has_counterpart(ours, others) & compared).sum())
                count.total += int(compared.sum())
    return [ParityResult(count.matched, count.total, runtime) for runtime, count in counts.items()]


def _has_counterpart(ours: Detections, others: Detections) -> npt.NDArray[np.bool_]:
    """Whether each of `ours` has a counterpart: the only one, as boxes of one class overlap by `NMS_IOU` at most."""
    fits = (
        (ours.index[:, None] == others.index[None])
        & (np.abs(ours.confidence[:, None] - others.confidence[None]) <= MAX_CONFIDENCE_DIFFERENCE)
        & (overlaps(ours.boxes, others.boxes) >= MIN_IOU)
    )
    return np.asarray(fits.any(axis=1), dtype=np.bool_)
