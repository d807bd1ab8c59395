"""Training in several processes: Ultralytics' generated file and launcher for real, on CPUs by gloo."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_detector import NAMES, RULES

from mlops_assets.detector.batch_size import AUTOMATIC, CPU_BATCH, batch_for, limited, smaller
from mlops_assets.detector.checkpointing import TrainingCheckpoints, find, identify
from mlops_assets.detector.epochs import EpochProgress
from mlops_assets.detector.several_gpus import SentReport
from mlops_assets.detector.time_estimate import TimeEstimate
from mlops_assets.detector.training import build_trainer, train
from mlops_assets.detector.training_errors import HopelessTrainingError, MemoryShortageError
from mlops_assets.detector.training_events import Ended, Event, Kept, Said, TrainingPlan
from mlops_assets.detector.weights import StartingPoint
from mlops_assets.use_case import TrainingRules
from resources.checkpoint_files import CheckpointShelf

SCRATCH = StartingPoint("scratch", None, "test")
SHORT = RULES.model_copy(update={"image_size": 64, "epochs": 3, "close_mosaic": 0})
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture
def two_processes(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A trainer whose training runs in two processes."""
    import cpu_processes

    import mlops_assets.detector.trainer as module

    folder = Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(folder.parents[1])]))
    monkeypatch.setattr(module, "DetectorTrainer", cpu_processes.TwoProcessTrainer)

    def build(data: Path, place: Path) -> Any:
        return build_trainer(data, place, SCRATCH, SHORT, device="cpu", threads=1, plots=False)

    return build


@pytest.mark.slow
def test_two_processes_train_one_model_tell_once_and_go_on_after_a_failure(
    dataset: Path, tmp_path: Path, two_processes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = TrainingCheckpoints(CheckpointShelf(str(tmp_path / "store")), identify("f", SHORT, SCRATCH, NAMES))
    told: list[Event] = []
    monkeypatch.setenv("OUT_OF_MEMORY_RANK", "1")
    trainer = two_processes(dataset, tmp_path / "first")
    trainer.follow(TrainingPlan(told.append, checkpoints))
    with pytest.raises(MemoryShortageError, match="4 photos a batch are too many"):
        trainer.train()
    assert [event.epoch for event in told if isinstance(event, EpochProgress)] == [1]
    assert not torch.are_deterministic_algorithms_enabled(), "which every trainer of Ultralytics switches on"

    monkeypatch.delenv("OUT_OF_MEMORY_RANK")
    found = find(checkpoints, tmp_path / "found", lambda sentence: told.append(Said(sentence)))
    assert found is not None
    assert found.epoch == 1
    told.clear()
    trainer = two_processes(dataset, tmp_path / "second")
    trainer.follow(TrainingPlan(told.append, checkpoints, found=found))
    trainer.train()
    assert [event.epoch for event in told if isinstance(event, EpochProgress)] == [2, 3]
    assert len([event for event in told if isinstance(event, TimeEstimate)]) == 1
    assert [event.epochs for event in told if isinstance(event, Ended)] == [3]
    assert [event for event in told if isinstance(event, Kept)][-1].epoch == 3
    rows = Path(trainer.csv).read_text().splitlines()[1:]
    assert [line.split(",")[0] for line in rows] == ["1", "2", "3"]
    assert Path(trainer.best).is_file()


def test_a_process_whose_listener_is_gone_ends(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "events"))
    with pytest.raises(OSError, match="refused"):
        SentReport(str(tmp_path / "events"), b"key")(Said("anyone?"))


def test_a_failure_survives_the_way_between_processes() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(MemoryShortageError("too many", 16)))  # noqa: S301 our own
    assert (str(error), error.batch) == ("too many", 16)


@pytest.mark.parametrize(
    ("batch", "device", "expected"),
    [
        (12, "cpu", 12),
        (12, "0,1", 12),
        ("auto", "cpu", CPU_BATCH),
        ("auto", "0", AUTOMATIC),
        ("auto", "cuda", AUTOMATIC),
    ],
)
def test_the_batch_is_as_asked_or_said_in_words(batch: Any, device: str, expected: int) -> None:
    found, why = batch_for(TrainingRules(batch=batch), device)
    assert found == expected
    assert (why == "") == (batch != "auto")


@pytest.mark.parametrize(
    ("batch", "device", "remedy"),
    [("auto", "0,1", "such as 16"), (2, "0,1,2", "multiple of them"), (16, "0,1,2", "multiple of them")],
)
def test_a_batch_that_several_gpus_cannot_have_is_refused(batch: Any, device: str, remedy: str) -> None:
    with pytest.raises(HopelessTrainingError, match=remedy):
        batch_for(TrainingRules(batch=batch), device)


@pytest.mark.parametrize(
    ("batch", "device", "taken"),
    [(9, "cpu", 4), (2, "0", 1), (12, "0,1", 6), (6, "0,1", 2), (4, "0,1,2", 3), (24, "0,1,2", 12)],
)
def test_a_batch_that_the_memory_does_not_hold_is_halved_to_one_that_the_gpus_can_share(
    batch: int, device: str, taken: int
) -> None:
    assert smaller(MemoryShortageError("too many", batch), TrainingRules(), device) == taken


@pytest.mark.parametrize(("batch", "device"), [(1, "cpu"), (1, "cuda"), (2, "0,1"), (3, "0,1,2")])
def test_a_photo_for_each_gpu_is_the_least(batch: int, device: str) -> None:
    with pytest.raises(HopelessTrainingError, match=r"too many\. Less than one photo"):
        smaller(MemoryShortageError("too many", batch), TrainingRules(), device)


@pytest.mark.parametrize(
    ("found", "photos", "taken"), [(200, 10_000, 200), (200, 160, 10), (200, 30, 8), (4, 10_000, 4)]
)
def test_a_large_memory_does_not_take_a_small_dataset_in_one_step(found: int, photos: int, taken: int) -> None:
    assert limited(found, photos) == taken


@pytest.mark.gpu
@GPU
def test_on_a_gpu_the_batch_is_measured_and_training_goes_in_mixed_precision(dataset: Path, tmp_path: Path) -> None:
    rules = SHORT.model_copy(update={"batch": "auto"})
    result = train(dataset, tmp_path / "run", SCRATCH, rules, NAMES, device="0", threads=2, plots=False)
    assert result.epochs == 3
    assert 1 <= result.batch <= 8


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_two_gpus_train_one_model(dataset: Path, tmp_path: Path) -> None:
    epochs: list[EpochProgress] = []
    result = train(
        *(dataset, tmp_path / "run", SCRATCH, SHORT, NAMES),
        device="0,1",
        threads=2,
        on_epoch=epochs.append,
        plots=False,
    )
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3]
    assert result.weights.is_file()
