"""A batch that is too large for the memory: the error is torch's own, raised where CUDA raises it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_detector import NAMES, RULES

from mlops_assets.detector.batch_size import AUTOMATIC
from mlops_assets.detector.checkpointing import TrainingCheckpoints, identify
from mlops_assets.detector.epochs import EpochProgress, read_curves
from mlops_assets.detector.training import TrainingListener, TrainingResult, train
from mlops_assets.detector.training_errors import HopelessTrainingError, MemoryShortageError, TrainingError, explained
from mlops_assets.detector.training_state import StateError
from mlops_assets.detector.weights import StartingPoint
from mlops_assets.use_case import TrainingRules
from resources.checkpoint_files import CheckpointShelf

SCRATCH = StartingPoint("scratch", None, "test")
SHORT = RULES.model_copy(update={"image_size": 64, "epochs": 2, "close_mosaic": 0, "mosaic": 0.0, "batch": 8})
OUT_OF_MEMORY = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 15.77 GiB"


class Memory:
    """Holds so many photos from an epoch on; every trainer's model is held against it."""

    photos = 1000
    from_epoch = 0

    def limit(self, trainer: Any) -> None:
        def check(_model: Any, inputs: Any) -> None:
            size = inputs[0]["img"].shape[0] if isinstance(inputs[0], dict) else 0
            if size > self.photos and trainer.epoch >= self.from_epoch:
                raise torch.OutOfMemoryError(OUT_OF_MEMORY)

        trainer.epoch = trainer.start_epoch - 1  # the steps that measure the time come before the first epoch
        trainer.model.register_forward_pre_hook(check)


@pytest.fixture
def memory() -> Iterator[Memory]:
    from ultralytics.utils.callbacks import base

    memory = Memory()
    base.default_callbacks["on_train_start"].append(memory.limit)
    yield memory
    base.default_callbacks["on_train_start"].remove(memory.limit)


def go(
    dataset: Path, place: Path, rules: TrainingRules = SHORT
) -> tuple[list[EpochProgress], list[str], TrainingResult]:
    epochs: list[EpochProgress] = []
    said: list[str] = []
    checkpoints = TrainingCheckpoints(CheckpointShelf(str(place / "store")), identify("f", rules, SCRATCH, NAMES))
    result = train(
        *(dataset, place / "training", SCRATCH, rules, NAMES),
        device="cpu",
        threads=1,
        on_epoch=epochs.append,
        listener=TrainingListener(say=said.append),
        checkpoints=checkpoints,
        plots=False,
    )
    return epochs, said, result


def test_a_batch_that_is_too_large_in_the_first_epoch_is_halved_until_it_fits(
    dataset: Path, tmp_path: Path, memory: Memory
) -> None:
    memory.photos = 2
    epochs, _, result = go(dataset, tmp_path, SHORT.model_copy(update={"epochs": 1}))
    assert [epoch.batch for epoch in epochs] == [2]
    assert result.batch == 2
    # Eight photos make one step of the optimizer, as was asked for.
    assert "nbs: 8" in (tmp_path / "training" / "args.yaml").read_text()


def test_one_that_is_too_large_later_is_halved_and_goes_on_from_the_checkpoint(
    dataset: Path, tmp_path: Path, memory: Memory
) -> None:
    memory.photos, memory.from_epoch = 4, 1
    epochs, said, result = go(dataset, tmp_path)
    assert [(epoch.epoch, epoch.batch) for epoch in epochs] == [(1, 8), (2, 4)]
    assert any(sentence.startswith("8 photos a batch are too many for the memory: CUDA out of") for sentence in said)
    assert "Goes on from the checkpoint of epoch 1 of 2" in said
    assert [row.epoch for row in read_curves(result.curves.read_bytes())] == [1, 2]


def test_memory_for_less_than_one_photo_ends_the_training_with_what_helps(
    dataset: Path, tmp_path: Path, memory: Memory
) -> None:
    memory.photos = 0
    with pytest.raises(HopelessTrainingError, match=r"Less than one photo.*lower training\.image_size \(64\)"):
        go(dataset, tmp_path, SHORT.model_copy(update={"batch": 2}))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError(OUT_OF_MEMORY),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_each_way_in_which_torch_says_it_is_understood(error: RuntimeError) -> None:
    found = explained(error, "data.yaml", 16)
    assert isinstance(found, MemoryShortageError)
    assert found.batch == 16


def test_a_gpu_that_others_fill_may_have_room_another_time() -> None:
    found = explained(torch.OutOfMemoryError(OUT_OF_MEMORY), "data.yaml", AUTOMATIC)
    assert type(found) is TrainingError
    assert "no room for the model itself" in str(found)
    assert "nvidia-smi" in str(found)


def test_a_state_that_does_not_fit_is_not_tried_again() -> None:
    found = explained(StateError("The checkpoint is of another model (size mismatch)"), "data.yaml", 16)
    assert isinstance(found, HopelessTrainingError)
    assert "of another model" in str(found)
    assert "re-execute all steps" in str(found)


def test_another_failure_may_go_well_another_time() -> None:
    found = explained(RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), "data.yaml", 16)
    assert not isinstance(found, HopelessTrainingError | MemoryShortageError)
