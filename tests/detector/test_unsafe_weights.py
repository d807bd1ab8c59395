"""A checkpoint that carries code: nothing that reads weights runs it, and files of another hash are not read at all."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_detector import Trained

from mlops_assets.detector.candidate import PlainMachine, _user_weights
from mlops_assets.detector.export import export_onnx
from mlops_assets.detector.ultralytics_setup import prepare_ultralytics
from mlops_assets.detector.unknown_equipment import References
from mlops_assets.detector.weights import (
    WeightsError,
    checkpoint_architecture,
    load_model,
    require_hash,
    starting_point,
    with_fresh_classes,
)


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "the payload ran"


@pytest.fixture
def unsafe(mark: Path, tmp_path: Path, trained: Trained) -> Path:
    """A checkpoint of a real training with a payload beside its model."""
    prepare_ultralytics(2)
    checkpoint = torch.load(trained.result.weights, map_location="cpu", weights_only=False)
    torch.save(checkpoint | {"train_results": Payload(mark)}, tmp_path / "unsafe.pt")
    return tmp_path / "unsafe.pt"


def test_the_payload_would_run_where_a_file_is_unpickled_whole(unsafe: Path, mark: Path) -> None:
    torch.load(unsafe, map_location="cpu", weights_only=False)
    assert mark.is_dir()


READERS: dict[str, Callable[[Path, Path], object]] = {
    "the network": lambda path, _: load_model(path),
    "its architecture": lambda path, _: checkpoint_architecture(path),
    "a start from the user's file": lambda path, _: starting_point(path, None, "yolo11n"),
    "a start from the champion": lambda path, _: starting_point(None, path, "yolo11n"),
    "a start from another use case": lambda path, folder: with_fresh_classes(path, folder / "target.pt"),
    "the export": lambda path, folder: export_onnx(path, folder / "model.onnx", 64),
}


@pytest.mark.parametrize("reader", READERS)
def test_it_is_refused_and_does_not_run(reader: str, unsafe: Path, mark: Path, tmp_path: Path) -> None:
    with pytest.raises((WeightsError, TypeError), match=r"unsafe\.pt|model\.pt"):
        READERS[reader](unsafe, tmp_path)
    assert not mark.exists()


def test_what_ends_a_training_does_not_run_it_and_still_strips_what_a_training_wrote(
    unsafe: Path, mark: Path, trained: Trained, tmp_path: Path
) -> None:
    from ultralytics.utils.torch_utils import strip_optimizer

    assert strip_optimizer(unsafe) == {}
    assert not mark.exists()
    written = tmp_path / "last.pt"
    written.write_bytes(trained.result.weights.read_bytes())
    assert strip_optimizer(written)["epoch"] == -1


def test_a_process_that_ultralytics_starts_does_not_run_it_either(unsafe: Path, mark: Path) -> None:
    """Training on several GPUs: the environment is all that such a process inherits."""
    code = f"from ultralytics import YOLO; YOLO({str(unsafe)!r})"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "TypeError" in done.stderr
    assert not mark.exists()


def test_references_of_known_equipment_are_read_without_pickle(tmp_path: Path, mark: Path) -> None:
    np.savez(tmp_path / "references.npz", mean=np.array([Payload(mark)], dtype=object))
    with pytest.raises(ValueError, match=r"references\.npz"):
        References.load(tmp_path / "references.npz")
    assert not mark.exists()


def test_a_file_given_by_path_must_have_the_hash_that_was_set_and_its_hash_is_recorded(
    trained: Trained, unsafe: Path, mark: Path
) -> None:
    start = starting_point(trained.result.weights, None, "yolo11n")
    assert start.sha256 is not None
    machine = PlainMachine(base_weights=str(trained.result.weights), base_weights_sha256=start.sha256)
    assert _user_weights(machine, unsafe.parent, needed=True) == trained.result.weights
    swapped = PlainMachine(base_weights=str(unsafe), base_weights_sha256=start.sha256)
    with pytest.raises(WeightsError, match=f"expected {start.sha256}"):
        _user_weights(swapped, unsafe.parent, needed=True)
    assert require_hash(trained.result.weights, start.sha256.upper()) == trained.result.weights
    assert not mark.exists()
