"""Makes a candidate's files an MLflow model, so that any tool that speaks MLflow can load a registered version.

The model is code, not a pickle: `model_code.py` imports `pyfunc_model`, which must be installed where it is loaded.
It lies over the files that a version has anyway and copies none of them.
"""

import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mlops_assets.detector import files

PHOTO = "photo"
"""The input's one column: a photo's bytes, in JSON as base64."""

CONFIDENCE = 0.25
"""From which a box counts where nothing else is said; thresholds by class are tags of the version, set later."""

THREADS = 2

_CODE = '''"""The detector as MLflow loads it; needs the project `enclosure-catalog` in the environment."""

from mlflow.models import set_model

from mlops_assets.detector.pyfunc_model import DetectorModel

set_model(DetectorModel())
'''

_NO_TIME = "1970-01-01 00:00:00"
"""When a version was made says the registry."""

_PACKAGES = ("mlflow", "numpy", "onnxruntime", "opencv-python-headless", "pillow", "polars")
"""What loading and predicting imports."""


def write_mlflow_model(folder: Path, contents: Mapping[str, Path]) -> dict[str, Path]:
    """Write MLmodel, model code and requirements.

    Args:
        folder: Where they are written.
        contents: The version's other files by their names, at least the export and the class map.

    Returns:
        The written files by their names within the version.
    """
    from mlflow.models import Model
    from mlflow.pyfunc import add_to_model
    from mlflow.pyfunc.loaders import code_model

    parts = {"onnx": files.ONNX, "class_map": files.CLASS_MAP}
    sha256 = {part: _sha256(contents[name]) for part, name in parts.items()}
    # A retried step must write the same bytes, or the registry would take them for another version.
    model = Model(signature=signature(), model_uuid=sha256["onnx"][:32], utc_time_created=_NO_TIME)
    add_to_model(
        model,
        loader_module=code_model.__name__,
        model_code_path=files.MODEL_CODE,
        python_env=files.PYTHON_ENV,
        model_config={"sha256": sha256, "threads": THREADS},
        artifacts={part: {"path": name, "uri": name} for part, name in parts.items()},
    )
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / files.MLMODEL)
    pins = "".join(f"{package}=={version(package)}\n" for package in _PACKAGES)
    texts = {
        files.MODEL_CODE: _CODE,
        files.REQUIREMENTS: pins,
        files.PYTHON_ENV: _python_env(),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return {name: folder / name for name in (files.MLMODEL, *texts)}


def signature() -> Any:
    """Photos in; boxes with class, confidence and the threshold that was applied out."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import Array, ColSpec, DataType, Object, ParamSchema, ParamSpec, Property, Schema

    from mlops_assets.boxes import BOX_COLUMNS

    box = Object(
        [
            Property("class_id", DataType.long),
            Property("class_name", DataType.string),
            *(Property(name, DataType.double) for name in ("confidence", "threshold", *BOX_COLUMNS)),
        ]
    )
    return ModelSignature(
        inputs=Schema([ColSpec(DataType.binary, PHOTO)]),
        outputs=Schema([ColSpec(Array(box), "boxes")]),
        params=ParamSchema([ParamSpec("confidence", DataType.double, None)]),
    )


def _python_env() -> str:
    import platform

    import yaml

    content = {"python": platform.python_version(), "dependencies": [f"-r {files.REQUIREMENTS}"]}
    return str(yaml.safe_dump(content, sort_keys=False))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
