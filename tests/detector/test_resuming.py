"""A training that is cut off goes on from its checkpoint; by an exception here, by SIGKILL in test_killed_training."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_detector import NAMES, RULES

from mlops_assets.detector.checkpointing import STATE, TrainingCheckpoints, find, identify
from mlops_assets.detector.epochs import EpochFigures, EpochProgress, read_curves
from mlops_assets.detector.training import TrainingListener, TrainingResult, build_trainer, train
from mlops_assets.detector.training_state import StateError, read_state, restore_state, state_bytes, take_state
from mlops_assets.detector.weights import StartingPoint
from mlops_assets.use_case import TrainingRules
from resources.checkpoint_files import CheckpointShelf

SCRATCH = StartingPoint("scratch", None, "test")
LONG = RULES.model_copy(update={"epochs": 4, "close_mosaic": 2, "image_size": 64, "patience": 9})


class CutError(Exception):
    """Takes the part of a kill."""


@dataclass
class Told:
    epochs: list[EpochProgress] = field(default_factory=list)
    figures: list[int] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    estimates: list[Any] = field(default_factory=list)

    def all_said(self) -> str:
        return "\n".join(self.sentences)


@dataclass
class Training:
    """One training with its store; each `go` has a scratch folder of its own, as a new pod has."""

    dataset: Path
    place: Path
    rules: TrainingRules = LONG
    goes: int = 0

    @property
    def shelf(self) -> CheckpointShelf:
        return CheckpointShelf(str(self.place / "store" / "checkpoints" / "run"))

    def checkpoints(self, rules: TrainingRules | None = None) -> TrainingCheckpoints:
        return TrainingCheckpoints(self.shelf, identify("f" * 64, rules or self.rules, SCRATCH, NAMES))

    def go(
        self, *, cut_after: int | None = None, cut_at_its_end: bool = False, rules: TrainingRules | None = None
    ) -> tuple[Told, TrainingResult | None]:
        told, self.goes = Told(), self.goes + 1

        def on_epoch(epoch: EpochProgress) -> None:
            told.epochs.append(epoch)
            if epoch.epoch == cut_after:
                raise CutError

        def on_figures(rows: Sequence[EpochFigures]) -> None:
            told.figures.extend(row.epoch for row in rows)
            if cut_at_its_end and told.figures[-1] == self.rules.epochs:
                raise CutError  # the last epoch's checkpoint is in the store, the result is not

        listener = TrainingListener(told.estimates.append, on_figures, told.sentences.append)
        try:
            result = train(
                self.dataset,
                self.place / f"pod{self.goes}" / "training",
                SCRATCH,
                rules or self.rules,
                NAMES,
                device="cpu",
                threads=1,
                on_epoch=on_epoch,
                listener=listener,
                checkpoints=self.checkpoints(rules),
                plots=False,
            )
        except CutError:
            return told, None
        return told, result


@pytest.fixture(scope="module")
def cut(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Training:
    """Cut off in the moment in which its third epoch ends: checkpoints of the first and second are in the store."""
    training = Training(dataset, tmp_path_factory.mktemp("cut"))
    told, _ = training.go(cut_after=3)
    assert [epoch.epoch for epoch in told.epochs] == [1, 2, 3]
    assert told.figures == [1, 2]
    return training


@pytest.fixture(scope="module")
def ended(cut: Training, tmp_path_factory: pytest.TempPathFactory) -> tuple[Training, Told, TrainingResult]:
    """The same, gone on to its end on another machine."""
    training = Training(cut.dataset, tmp_path_factory.mktemp("ended"))
    shutil.copytree(cut.place / "store", training.place / "store")
    assert [path.stem for path in stored(training)] == ["00000001", "00000002"]
    told, result = training.go()
    assert result is not None
    return training, told, result


@pytest.fixture
def again(cut: Training, tmp_path: Path) -> Training:
    """The same store for one test."""
    shutil.copytree(cut.place / "store", tmp_path / "store")
    return Training(cut.dataset, tmp_path)


def stored(training: Training) -> list[Path]:
    return sorted(Path(training.checkpoints().folder.address).glob("*.json"))


def test_it_goes_on_with_the_next_epoch_to_the_same_number_with_the_learning_rate_that_it_would_have_had(
    ended: tuple[Training, Told, TrainingResult],
) -> None:
    training, told, result = ended
    assert [epoch.epoch for epoch in told.epochs] == [3, 4]
    assert {epoch.epochs for epoch in told.epochs} == {4}
    assert "Goes on from the checkpoint of epoch 2 of 4" in told.sentences
    assert [estimate.epochs for estimate in told.estimates] == [2]
    rows = read_curves(result.curves.read_bytes())
    assert [row.epoch for row in rows] == told.figures == [1, 2, 3, 4]
    assert result.epochs == 4
    # Ultralytics' rule for epochs after the warm-up (engine/trainer.py, _setup_scheduler), counted from 0.
    assert rows[3].figures["lr/pg0"] == pytest.approx(0.002 * ((1 - 3 / 4) * (1 - 0.01) + 0.01), rel=1e-5)
    assert rows[2].figures["lr/pg0"] > rows[1].figures["lr/pg0"] > rows[0].figures["lr/pg0"] > 0, "the warm-up goes on"
    times = [float(line.split(",")[1]) for line in result.curves.read_text().splitlines()[1:]]
    assert times == sorted(times)
    assert result.seconds > times[-1] > 0
    assert result.weights.is_relative_to(training.place), "nothing is written where the first process was"


def test_a_finished_training_goes_straight_to_its_export(ended: tuple[Training, Told, TrainingResult]) -> None:
    training, _, first = ended
    told, result = training.go()
    assert result is not None
    assert (told.epochs, told.figures, result.epochs) == ([], [1, 2, 3, 4], 4)
    assert "finished before, after 4 epochs: it goes straight to its export" in told.all_said()
    assert result.weights.read_bytes() == first.weights.read_bytes()
    assert result.weights != first.weights
    assert result.metrics == first.metrics
    assert set(result.metrics) == {"map50", "map50_95", "precision", "recall"}


def test_one_that_was_cut_off_in_its_final_validation_makes_only_that_up_and_is_finished(again: Training) -> None:
    told, result = again.go(cut_at_its_end=True)
    assert (result, told.figures) == (None, [1, 2, 3, 4])
    told, result = again.go()
    assert result is not None
    assert (told.epochs, told.figures, result.epochs) == ([], [1, 2, 3, 4], 4)
    assert "All 4 epochs were trained before" in told.all_said()
    assert [path.stem for path in stored(again)] == ["00000004", "00000005"]
    told, finished = again.go()
    assert finished is not None
    assert "finished before, after 4 epochs" in told.all_said()
    assert (finished.epochs, finished.metrics) == (4, result.metrics)


def test_a_damaged_checkpoint_is_said_and_the_one_before_taken(again: Training) -> None:
    folder = again.checkpoints().folder
    newest = folder.open(str(stored(again)[-1]))
    (Path(folder.address) / "files" / f"00000002-{newest.files[STATE]}").write_bytes(b"cut off")
    told, result = again.go(cut_after=2)
    assert result is None
    assert "damaged and passed over" in told.sentences[0]
    assert [epoch.epoch for epoch in told.epochs] == [2]


def test_without_a_whole_checkpoint_it_begins_anew(again: Training) -> None:
    for manifest in stored(again):
        manifest.write_text("{")
    told, _ = again.go(cut_after=1)
    assert told.all_said().count("damaged and passed over") == 2
    assert "it begins with its first epoch" in told.all_said()
    assert told.epochs[0].epoch == 1


def test_its_checkpoints_are_kept_when_damaged_ones_of_higher_numbers_were_there(again: Training) -> None:
    old = stored(again)[-1]
    for number in (8, 9):
        old.with_name(f"{number:08}.json").write_text("{")
    for manifest in stored(again)[:2]:
        manifest.write_text("{")
    again.go(cut_after=3)
    assert [path.stem for path in stored(again)] == ["00000001", "00000002"]


def test_a_store_that_cannot_be_read_begins_no_training_anew(again: Training) -> None:
    newest = stored(again)[-1]
    newest.unlink()
    newest.mkdir()
    with pytest.raises(IsADirectoryError):
        again.go()
    assert newest.exists()


def test_a_checkpoint_of_other_settings_is_not_taken_up(again: Training) -> None:
    other = LONG.model_copy(update={"learning_rate": 0.003})
    told, _ = again.go(cut_after=1, rules=other)
    assert "another training of this run is not taken up: learning_rate 0.002 → 0.003" in told.all_said()
    assert told.epochs[0].epoch == 1


def test_settings_of_pace_alone_make_no_other_training() -> None:
    slower = LONG.model_copy(update={"workers": 3, "checkpoint_epochs": 4})
    assert identify("f", LONG, SCRATCH, NAMES) == identify("f", slower, SCRATCH, NAMES)
    champion = StartingPoint("champion", None, "test", "0" * 64)
    others = [
        identify("g", LONG, SCRATCH, NAMES),
        identify("f", LONG, champion, NAMES),
        identify("f", LONG, SCRATCH, ["c0000"]),
        identify("f", LONG.model_copy(update={"seed": 1}), SCRATCH, NAMES),
    ]
    assert len({identity.digest() for identity in [identify("f", LONG, SCRATCH, NAMES), *others]}) == 5


def test_a_training_by_time_goes_on_to_the_number_of_epochs_that_it_had(dataset: Path, tmp_path: Path) -> None:
    training = Training(dataset, tmp_path, LONG.model_copy(update={"max_minutes": 10.0}))
    told, _ = training.go(cut_after=2)
    found = find(training.checkpoints(), tmp_path / "looked at", told.sentences.append)
    assert found is not None
    epochs = min(int(found.about["epochs"]), 2)
    assert found.state is not None
    training.checkpoints().folder.write(1, {**found.about, "epochs": epochs}, _with(found.folder, epochs))
    again, result = training.go()
    assert result is not None
    assert {epoch.epochs for epoch in again.epochs} == {epochs}
    assert again.epochs[-1].epoch == result.epochs == epochs


def _with(folder: Path, epochs: int) -> dict[str, bytes]:
    """The files of a checkpoint, whose training has so many epochs: what a slow machine makes of a time is too many."""
    state = read_state(folder / STATE)
    torch.save({**state, "epochs": epochs}, folder / STATE)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_state_keeps_the_optimizer_in_full_precision(cut: Training, tmp_path: Path) -> None:
    found = find(cut.checkpoints(), tmp_path, lambda _: None)
    assert found is not None
    assert found.state is not None
    moments = [entry["exp_avg_sq"] for entry in found.state["optimizer"]["state"].values()]
    values = torch.cat([moment.flatten() for moment in moments])
    assert values.dtype == torch.float32
    lost = float(((values > 0) & (values.half() == 0)).sum() / (values > 0).sum())
    assert lost > 0.5, f"half precision would have lost {lost:.0%} of Adam's second moments"


@pytest.mark.slow
def test_the_two_heads_of_yolo26_go_on_with_the_weights_that_they_had(dataset: Path, tmp_path: Path) -> None:
    rules = LONG.model_copy(update={"architecture": "yolo26n"})
    trainers = [
        build_trainer(dataset, tmp_path / name, SCRATCH, rules, device="cpu", threads=1, plots=False)
        for name in ("before", "after")
    ]
    for trainer in trainers:
        trainer._setup_train()
    before, after = trainers
    before.epoch, before.stop = 1, False
    state = {**take_state(before, 1.0), "best_fitness": 0.5, "stopper": {"best_fitness": 0.5, "best_epoch": 2}}
    (tmp_path / "state.pt").write_bytes(state_bytes(state))
    restore_state(after, read_state(tmp_path / "state.pt"))
    assert (after.start_epoch, after.best_fitness, after.stopper.best_epoch) == (2, 0.5, 2)
    assert after.model.criterion.updates == 2
    assert after.model.criterion.o2m == pytest.approx(after.model.criterion.decay(2))
    same = zip(before.model.state_dict().values(), after.model.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in same)


@pytest.mark.parametrize("content", [b"", b"no state", b"PK\x03\x04 cut off"])
def test_what_is_no_state_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(content)
    with pytest.raises(StateError, match=r"state\.pt is no readable state"):
        read_state(tmp_path / "state.pt")


def test_a_file_of_another_kind_is_no_state(tmp_path: Path) -> None:
    torch.save({"model": {}}, tmp_path / "state.pt")
    with pytest.raises(StateError, match="no state of a training that this version writes"):
        read_state(tmp_path / "state.pt")
