"""A registered version as an MLflow model: loaded by its alias, without a pickle, and only as it was registered."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
import pandas as pd
import pytest
from tiny_detector import CLASS_IDS

from mlops_assets.detector import files
from mlops_assets.detector.answers import boxes, lowest
from mlops_assets.detector.mlflow_model import write_mlflow_model
from mlops_assets.detector.predictor import OnnxPredictor
from resources.mlflow_client import ensure_experiment, open_client
from resources.model_registry import ModelRegistry

NAMES = {0: "router", 3: "battery"}


@pytest.fixture(scope="module")
def uri(new_mlflow: Callable[[Path], str], tmp_path_factory: pytest.TempPathFactory) -> str:
    return new_mlflow(tmp_path_factory.mktemp("mlflow"))


@pytest.fixture
def contents(onnx_model: Path, tmp_path: Path) -> dict[str, Path]:
    class_map = tmp_path / "class_map.json"
    class_map.write_text(json.dumps({str(class_id): name for class_id, name in NAMES.items()}))
    made = {files.ONNX: onnx_model, files.CLASS_MAP: class_map}
    return made | write_mlflow_model(tmp_path / "mlflow", made)


@pytest.fixture
def model(uri: str, contents: dict[str, Path], request: pytest.FixtureRequest) -> Iterator[str]:
    """The registered model of a test, and its MLflow the one of this process."""
    client = open_client(uri)
    run = client.create_run(ensure_experiment(client, "detector", uri)).info.run_id
    name = request.node.name
    registry = ModelRegistry(tracking_uri=uri, model_name=name)
    registry.set_champion(registry.register(run, contents, {}).version)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    yield name
    mlflow.set_tracking_uri(before)


def test_the_champion_is_loaded_by_its_alias_and_finds_what_the_predictor_finds(
    model: str, onnx_model: Path, photos: dict[str, bytes]
) -> None:
    loaded = mlflow.pyfunc.load_model(f"models:/{model}@champion")
    content = list(photos.values())
    found = loaded.predict(pd.DataFrame({"photo": content}), params={"confidence": 0.2})
    predictor = OnnxPredictor(onnx_model, CLASS_IDS, threads=1)
    thresholds = dict.fromkeys(CLASS_IDS, 0.2)
    expected = [predictor.detect(each, confidence=lowest(thresholds)) for each in content]
    assert found == [{"boxes": boxes(each, CLASS_IDS, NAMES, thresholds)} for each in expected]
    assert any(each["boxes"] for each in found)


def test_what_is_no_picture_is_an_invalid_parameter(model: str) -> None:
    loaded = mlflow.pyfunc.load_model(f"models:/{model}@champion")
    with pytest.raises(mlflow.MlflowException, match="Row 0: no picture") as told:
        loaded.predict(pd.DataFrame({"photo": [b"hello"]}))
    assert told.value.get_http_status_code() == 400


def test_it_holds_no_pickle_and_pins_what_it_needs(contents: dict[str, Path]) -> None:
    kinds = {path.suffix for name, path in contents.items() if name not in (files.ONNX, files.CLASS_MAP)}
    assert kinds == {"", ".py", ".txt", ".yaml"}
    assert "python_model" not in contents[files.MLMODEL].read_text()
    pins = contents[files.REQUIREMENTS].read_text().splitlines()
    assert all("==" in pin for pin in pins)
    assert {"mlflow", "onnxruntime"} < {pin.partition("==")[0] for pin in pins}


def test_the_same_candidate_gives_the_same_bytes(contents: dict[str, Path], tmp_path: Path) -> None:
    again = write_mlflow_model(tmp_path / "again", contents)
    assert {name: path.read_bytes() for name, path in again.items()} == {
        name: contents[name].read_bytes() for name in again
    }


def test_other_bytes_than_the_registered_ones_are_not_loaded(uri: str, model: str) -> None:
    source = open_client(uri).get_model_version(model, "1").source
    with (Path(urlsplit(source).path) / files.ONNX).open("ab") as stored:
        stored.write(b"more")
    with pytest.raises(RuntimeError, match="but its MLmodel names"):
        mlflow.pyfunc.load_model(f"models:/{model}@champion")
