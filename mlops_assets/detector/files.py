"""Names of the files that a model version keeps in the registry."""

WEIGHTS = "weights/best.pt"
ONNX = "onnx/model.onnx"
REFERENCES = "onnx/references.npz"
"""What known equipment looks like to the exported model, see `unknown_equipment.References`; older versions lack it."""

MANIFEST = "manifest.json"
CLASS_MAP = "class_map.json"
CURVES = "training/results.csv"

MLMODEL = "MLmodel"
"""With the three below what makes a version an MLflow model, see `mlflow_model`; older versions lack them."""

MODEL_CODE = "model_code.py"
REQUIREMENTS = "requirements.txt"
PYTHON_ENV = "python_env.yaml"
