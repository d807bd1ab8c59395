"""A tiny network with the inputs, outputs and metadata of an export, made without torch, and its versions in MLflow."""

import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from mlops_assets.detector import files
from mlops_assets.detector.mlflow_model import write_mlflow_model
from resources.mlflow_client import ensure_experiment, open_client
from resources.model_registry import ModelRegistry, ModelVersionInfo

SIZE = 64
CLASSES = {0: "router", 3: "battery"}
THRESHOLDS = {0: 0.4, 3: 0.6}
MODEL = "enclosures-detector"


def tiny_export(path: Path, names: Mapping[int, str] = CLASSES, *, router_at: float = 16.0) -> Path:
    """Two boxes on every photo: a router of 0.5 + its brightness / 10, and a battery whose 0.55 meets no threshold.

    Args:
        path: The .onnx file.
        names: Classes by id.
        router_at: Left edge of the router's box, pixels of the input: what tells two versions apart.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    constant = np.zeros((1, 4 + len(names), 3), np.float32)
    constant[0, :4, 0] = [router_at + 8, 24, 16, 16]
    constant[0, 4, 0] = 0.5
    constant[0, :4, 1] = [48, 40, 10, 20]
    constant[0, 5, 1] = 0.55
    slope = np.zeros_like(constant)
    slope[0, 4, 0] = 0.1
    nodes = [
        helper.make_node("ReduceMean", ["images", "axes"], ["brightness"], keepdims=0),
        helper.make_node("Unsqueeze", ["brightness", "places"], ["column"]),
        helper.make_node("Mul", ["column", "slope"], ["lifted"]),
        helper.make_node("Add", ["constant", "lifted"], ["output0"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, "height", "width"])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["batch", 4 + len(names), 3])],
        [
            numpy_helper.from_array(np.array([1, 2, 3], np.int64), "axes"),
            numpy_helper.from_array(np.array([1, 2], np.int64), "places"),
            numpy_helper.from_array(constant, "constant"),
            numpy_helper.from_array(slope, "slope"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    named = {index: f"c{class_id:04d}" for index, class_id in enumerate(names)}
    for key, value in {"names": str(named), "imgsz": f"[{SIZE}, {SIZE}]"}.items():
        model.metadata_props.add(key=key, value=value)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
    return path


def contents(folder: Path, onnx: Path, names: Mapping[int, str] = CLASSES, *, mlflow: bool = True) -> dict[str, Path]:
    """Files of a version, as a candidate makes them."""
    folder.mkdir(parents=True, exist_ok=True)
    class_map = folder / "class_map.json"
    class_map.write_text(json.dumps({str(class_id): name for class_id, name in names.items()}))
    made = {files.ONNX: onnx, files.CLASS_MAP: class_map}
    return made | (write_mlflow_model(folder / "mlflow", made) if mlflow else {})


def register(
    uri: str,
    local: Mapping[str, Path],
    names: Mapping[int, str] = CLASSES,
    thresholds: Mapping[int, float] | None = THRESHOLDS,
    model: str = MODEL,
) -> ModelVersionInfo:
    """A version of a run of its own; not yet the champion."""
    client = open_client(uri)
    run = client.create_run(ensure_experiment(client, model, uri))
    tags: dict[str, object] = {"class_map": {str(class_id): name for class_id, name in names.items()}}
    if thresholds is not None:
        tags["thresholds"] = {str(class_id): value for class_id, value in thresholds.items()}
    return registry(uri, model).register(run.info.run_id, local, tags)


def registry(uri: str, model: str = MODEL) -> ModelRegistry:
    return ModelRegistry(tracking_uri=uri, model_name=model)


def jpeg(width: int = 120, height: int = 90, *, value: int = 255, fmt: str = "JPEG") -> bytes:
    """A plain picture."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (value, value, value)).save(buffer, fmt)
    return buffer.getvalue()
