"""The second output of an exported detector: the maps of its finest level, which say what a region looks like.

The exporter of Ultralytics gives detections only. What they were made of is in the graph already, so that a second
output costs no computation. How features are read from it for a box belongs in `regions.py`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

FEATURES = "features"
"""Name of the output: (batch, channels, rows, columns), the input's side divided by the stride of its finest level."""

CHANNELS = "feature_channels"
"""Key in the model's metadata: JSON list of how many channels come of each map that was joined."""

_BOX_BRANCH = re.compile(r"model\.(\d+)\.cv2\.0\.0\.conv\.weight")
"""First convolution of the head's box branch on its finest level; its input is the neck's finest map."""


class FeatureMapError(ValueError):
    """A graph is not built as Ultralytics builds its detectors."""


def with_features(path: Path) -> Path:
    """Add the output `FEATURES` to an exported detector, in place; its other outputs stay as they are.

    It joins the neck's finest map (P3 of yolo11, stride 8) to the map of the backbone that enters the neck at the same
    level: the neck's is shaped by the classes that were trained, the backbone's knows more of what none of them has.

    The date of the export is left out, so that the same weights make the same file: a registration that is tried again
    knows its files by their bytes.

    Raises:
        FeatureMapError: No YOLO detection head, or no top-down path before it.
    """
    import onnx

    model = onnx.load(str(path))
    neck = _neck_map(model.graph)
    backbone = _lateral_map(model.graph, neck)
    model.graph.node.append(onnx.helper.make_node("Concat", [backbone, neck], [FEATURES], name=FEATURES, axis=1))
    channels = [_channels(model, name) for name in (backbone, neck)]
    _forget_date(model)
    model.metadata_props.add(key=CHANNELS, value=json.dumps(channels))
    axes = ("batch", sum(channels), "rows", "columns")
    model.graph.output.append(onnx.helper.make_tensor_value_info(FEATURES, onnx.TensorProto.FLOAT, axes))
    partial = path.with_name(f".{path.name}.part")
    onnx.save(model, str(partial))
    partial.replace(path)
    return path


def _forget_date(model: Any) -> None:
    kept = [entry for entry in model.metadata_props if entry.key != "date"]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)


def _neck_map(graph: Any) -> str:
    found = {}
    for node in graph.node:
        if node.op_type == "Conv" and (match := _BOX_BRANCH.fullmatch(node.input[1])):
            found[int(match[1])] = node.input[0]
    if not found:
        raise FeatureMapError("the graph has no detection head of Ultralytics, so that its neck cannot be found")
    return str(found[max(found)])


def _lateral_map(graph: Any, neck: str) -> str:
    """The map that is joined to the enlarged one of the coarser level, nearest before `neck`."""
    makers = {output: node for node in graph.node for output in node.output}
    for node in _upstream(makers, neck):
        if node.op_type != "Concat":
            continue
        enlarged = [name for name in node.input if name in makers and makers[name].op_type == "Resize"]
        others = [name for name in node.input if name not in enlarged]
        if enlarged and others:
            return str(others[0])
    raise FeatureMapError("the graph joins no coarser level before its finest one, as the neck of a YOLO detector does")


def _channels(model: Any, name: str) -> int:
    import onnx

    shapes = {
        info.name: info.type.tensor_type.shape for info in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
    return int(shapes[name].dim[1].dim_value)


def _upstream(makers: Mapping[str, Any], start: str) -> Iterator[Any]:
    """The nodes that a tensor is made by, nearest first."""
    seen, waiting = {start}, [start]
    while waiting:
        node = makers.get(waiting.pop(0))
        if node is None:
            continue
        yield node
        fresh = [name for name in node.input if name not in seen]
        seen.update(fresh)
        waiting += fresh
