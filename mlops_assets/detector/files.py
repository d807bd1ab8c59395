"""Names of the files that a model version keeps in the registry."""

WEIGHTS = "weights/best.pt"
ONNX = "onnx/model.onnx"
REFERENCES = "onnx/references.npz"
"""What known equipment looks like to the exported model, see `unknown_equipment.References`; older versions lack it."""

MANIFEST = "manifest.json"
CLASS_MAP = "class_map.json"
CURVES = "training/results.csv"
