"""The detector as an MLflow model: what `mlflow.pyfunc.load_model` and `mlflow models serve` run.

It knows one version and one confidence for all classes. Following the alias, thresholds by class and limits are for
`serving`. The model's folder is made by `mlflow_model`; imports mlflow, so only its `model_code.py` imports this.
"""

import hashlib
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException  # noqa: TID253  this module is loaded by MLflow
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE  # noqa: TID253
from mlflow.pyfunc import PythonModel, PythonModelContext  # noqa: TID253

from mlops_assets.detector.answers import boxes, lowest
from mlops_assets.detector.champion import parse_class_map
from mlops_assets.detector.mlflow_model import CONFIDENCE, PHOTO
from mlops_assets.detector.predictor import OnnxPredictor
from mlops_assets.photos.pixels import UnreadableImageError


class DamagedModelError(RuntimeError):
    """A file of the model is not the one that its MLmodel names."""


class DetectorModel(PythonModel):  # type: ignore[misc]
    """Boxes of photos; a pandas frame with the column `photo` (bytes) in, a list with one entry a photo out."""

    def load_context(self, context: PythonModelContext) -> None:
        """Open the exported network.

        Raises:
            DamagedModelError: Its bytes, or those of the class map, are not those that the MLmodel names.
        """
        checked = {
            name: _checked(Path(context.artifacts[name]), sha256)
            for name, sha256 in context.model_config["sha256"].items()
        }
        self._names = parse_class_map(checked["class_map"].read_text(encoding="utf-8"))
        self._predictor = OnnxPredictor(checked["onnx"], list(self._names), threads=context.model_config["threads"])

    # MLflow warns of any type of `model_input` but its own.
    def predict(  # type: ignore[no-untyped-def]
        self, context: PythonModelContext, model_input, params: dict[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """Detect in every row's photo.

        Args:
            context: Not used; the model is open.
            model_input: Frame of pandas with the column `photo`.
            params: `confidence`, from which a box of any class counts.

        Raises:
            MlflowException: A photo cannot be decoded (INVALID_PARAMETER_VALUE, which MLflow's server answers as 400).
        """
        confidence = (params or {}).get("confidence")
        thresholds = dict.fromkeys(self._names, CONFIDENCE if confidence is None else float(confidence))
        return [{"boxes": self._boxes(row, photo, thresholds)} for row, photo in enumerate(model_input[PHOTO])]

    def _boxes(self, row: int, photo: bytes, thresholds: dict[int, float]) -> list[dict[str, Any]]:
        try:
            found = self._predictor.detect(photo, confidence=lowest(thresholds))
        except UnreadableImageError as error:
            raise MlflowException(f"Row {row}: no picture ({error})", INVALID_PARAMETER_VALUE) from error
        return boxes(found, list(self._names), self._names, thresholds)


def _checked(path: Path, sha256: str) -> Path:
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise DamagedModelError(f"{path} has SHA-256 {found}, but its MLmodel names {sha256}; fetch the version again")
    return path
