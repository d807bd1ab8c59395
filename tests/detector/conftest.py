"""One detector trained on the tiny dataset, shared by the tests of this folder."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_detector import IMAGE_SIZE, NAMES, RULES, Trained, lively_detector, save_checkpoint, write_dataset

from mlops_assets.detector.epochs import EpochProgress
from mlops_assets.detector.export import export_onnx
from mlops_assets.detector.time_estimate import TimeEstimate
from mlops_assets.detector.training import TrainingListener, train
from mlops_assets.detector.ultralytics_setup import prepare_ultralytics
from mlops_assets.detector.weights import starting_point
from mlops_assets.photos.pixels import network_input


@pytest.fixture(scope="session", autouse=True)
def _offline() -> None:
    prepare_ultralytics(2)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("dataset"), NAMES, {"train": 8, "val": 4})


@pytest.fixture(scope="session")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    progress: list[EpochProgress] = []
    estimates: list[TimeEstimate] = []
    result = train(
        dataset,
        tmp_path_factory.mktemp("training"),
        starting_point(None, None, "yolo11n"),
        RULES,
        NAMES,
        device="cpu",
        threads=2,
        on_epoch=progress.append,
        listener=TrainingListener(on_estimate=estimates.append),
    )
    return Trained(result, progress, estimates)


@pytest.fixture(scope="session")
def photos(dataset: Path) -> dict[str, bytes]:
    return {file.stem: file.read_bytes() for file in sorted((dataset.parent / "images" / "val").glob("*.jpg"))}


@pytest.fixture(scope="session")
def inputs(photos: dict[str, bytes]) -> torch.Tensor:
    return torch.from_numpy(np.stack([network_input(content, IMAGE_SIZE)[0] for content in photos.values()]))


@pytest.fixture(scope="session")
def lively_weights(inputs: torch.Tensor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(lively_detector("yolo11n", inputs), tmp_path_factory.mktemp("lively") / "best.pt")


@pytest.fixture(scope="session")
def onnx_model(lively_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_onnx(lively_weights, tmp_path_factory.mktemp("export") / "model.onnx", IMAGE_SIZE)
