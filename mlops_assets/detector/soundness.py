"""Whether a registered version can serve and be gone on with at all: its files are whole, its export opens and fits.

How good it is belongs in `evaluation.py`. What cannot be told apart from an outage raises, so that the step is tried
again; what no retry would mend is a fault, in words.
"""

import json
from pathlib import Path

import numpy as np

from mlops_assets.detector import files
from mlops_assets.detector.candidate import Download, ModelVersion
from mlops_assets.detector.champion import parse_class_map
from mlops_assets.detector.export import ExportError
from mlops_assets.detector.predictor import OnnxPredictor, PredictionError
from mlops_assets.detector.runtimes import NetworkError
from resources.model_errors import BrokenVersionError

REQUIRED = (files.WEIGHTS, files.ONNX, files.MANIFEST)
"""Without the weights nothing can be trained further, without the manifest nobody knows what was trained on."""


def faults(version: ModelVersion, download: Download, *, threads: int) -> list[str]:
    """What keeps a version from being used, each in words; empty where it is sound.

    Args:
        version: In the registry.
        download: Brings a file, its bytes held against the registered hash.
        threads: Of the network, which looks at one blank picture.

    Raises:
        Exception: Any error of `download` but BrokenVersionError: the store or the server may just be away.
    """
    found = []
    brought: dict[str, Path] = {}
    for name in REQUIRED:
        try:
            brought[name] = download(version.version, name)
        except BrokenVersionError as error:
            found.append(str(error))
    if files.MANIFEST in brought:
        found += _manifest_faults(brought[files.MANIFEST])
    if files.ONNX in brought:
        found += _export_faults(version, brought[files.ONNX], threads)
    return found


def _manifest_faults(path: Path) -> list[str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        missing = [split for split in ("train", "val", "test") if "enclosures" not in content["splits"][split]]
    except (ValueError, KeyError, TypeError) as error:
        return [f"its {files.MANIFEST} cannot be read ({error!r}), so that nobody knows what it was trained on"]
    return [f"its {files.MANIFEST} names no enclosures of {', '.join(missing)}"] if missing else []


def _export_faults(version: ModelVersion, path: Path, threads: int) -> list[str]:
    from onnxruntime.capi import onnxruntime_pybind11_state as onnx_errors

    # What onnxruntime says of the file's contents; its other errors are about the machine.
    run_errors = (onnx_errors.InvalidArgument, onnx_errors.NotImplemented, onnx_errors.Fail)
    if "class_map" not in version.tags:
        return ["it was registered without a class map"]
    class_ids = list(parse_class_map(version.tags["class_map"]))
    try:
        predictor = OnnxPredictor(path, class_ids, threads=threads)
        size = predictor.image_size
        output = predictor.raw(np.zeros((1, 3, size, size), dtype=np.float32))
    except PredictionError as error:
        return [f"its class map is not that of its export: {error}"]
    except NetworkError as error:
        return [f"its export cannot be opened: {error}"]
    except ExportError as error:
        return [f"its export is none of this project's: {error}"]
    except (RuntimeError, *run_errors) as error:  # OpenVINO knows no errors of its own
        return [f"its export cannot be run: {error}"]
    if output.shape[:2] != (1, 4 + len(class_ids)):
        return [f"its export gives an output of {output.shape}, not (1, {4 + len(class_ids)}, boxes)"]
    return [] if np.isfinite(output).all() else ["its export gives values that are no numbers"]
