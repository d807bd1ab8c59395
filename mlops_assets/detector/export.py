"""ONNX export of trained weights: raw network output and features, names and image size readable without torch.

Suppression of overlapping boxes happens outside, in `predictor.py`; what the features are for, in `regions.py`.
"""

import ast
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlops_assets.detector.feature_maps import CHANNELS, FeatureMapError, with_features
from mlops_assets.detector.ultralytics_setup import prepare_ultralytics
from mlops_assets.detector.weights import require_checkpoint

OPSET = 20
"""Pinned, so that an upgrade of torch does not change what the served model needs of its runtime."""


class ExportError(RuntimeError):
    """Weights could not be exported, or a file is no such export."""


@dataclass(frozen=True)
class OnnxMetadata:
    """What an exported model says of itself.

    Attributes:
        class_names: Stable names by index.
        image_size: Long side of its input, pixels.
        feature_channels: Of each map in its features; empty where it was exported without.
    """

    class_names: tuple[str, ...]
    image_size: int
    feature_channels: tuple[int, ...] = ()


def export_onnx(weights: Path, target: Path, image_size: int, *, threads: int = 1) -> Path:
    """Export weights to ONNX with input (batch, 3, rows, columns) and output (batch, 4 + classes, anchors).

    Batch, rows and columns are dynamic, the latter multiples of 32. Both runtimes read the one file, so that one hash
    names what serves.

    Boxes are centre, width and height in input pixels, scores after the sigmoid. Both yolo11 and yolo26 export the
    one-to-many head, which is the one that training validates. A second output, `features`, is the finest level of the
    neck, see `feature_maps.with_features`.

    Args:
        weights: Ultralytics checkpoint.
        target: The .onnx file, written atomically.
        image_size: Long side of the input, pixels, a multiple of 32.
        threads: CPU threads of torch meanwhile.

    Raises:
        ExportError: Ultralytics could not export it.
        WeightsError: The weights are missing.
    """
    require_checkpoint(weights)
    prepare_ultralytics(threads)
    from ultralytics import YOLO

    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        copy = Path(scratch) / "model.pt"  # Ultralytics writes the export beside the weights
        shutil.copyfile(weights, copy)
        try:
            # nms=None said explicitly: True bakes in NMS at confidence 0.25, False takes yolo26's other head, whose
            # output has another layout. simplify would need onnxslim, which Ultralytics would install.
            exported = YOLO(copy).export(
                format="onnx", imgsz=image_size, nms=None, dynamic=True, simplify=False, opset=OPSET, device="cpu"
            )
            with_features(Path(exported))
        except (RuntimeError, FeatureMapError) as error:
            raise ExportError(f"{weights} could not be exported to ONNX: {error}") from error
        Path(exported).replace(target)
    return target


def read_metadata(properties: Mapping[str, str], path: Path) -> OnnxMetadata:
    """Read class names and image size from what the model of `path` says of itself.

    Raises:
        ExportError: Not an export of `export_onnx`.
    """
    try:
        names = ast.literal_eval(properties["names"])
        height, width = ast.literal_eval(properties["imgsz"])
    except (KeyError, ValueError, SyntaxError) as error:
        raise ExportError(f"{path} carries no class names and image size; export it with export_onnx") from error
    if height != width:
        raise ExportError(f"{path} was exported for {width} x {height} pixels; export it for a square input")
    channels = json.loads(properties.get(CHANNELS, "[]"))
    return OnnxMetadata(tuple(names[i] for i in sorted(names)), int(height), tuple(channels))
