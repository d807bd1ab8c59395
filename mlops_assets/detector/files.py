"""Names of the files that a model version keeps in the registry."""

WEIGHTS = "weights/best.pt"
ONNX = "onnx/model.onnx"
MANIFEST = "manifest.json"
CLASS_MAP = "class_map.json"
CURVES = "training/results.csv"
