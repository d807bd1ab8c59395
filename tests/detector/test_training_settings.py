"""Settings of a training in the launchpad, how long it will take, and what ends it for good."""

import json
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tiny_detector import NAMES, Trained

from mlops_assets.compute import RETRY, RETRY_TRAINING
from mlops_assets.detector.assets import Architecture, Optimizer, TrainingConfig, detector_weights
from mlops_assets.detector.candidate import with_overrides
from mlops_assets.detector.checkpointing import TrainingCheckpoints, identify
from mlops_assets.detector.epoch_watch import EpochWatch
from mlops_assets.detector.epochs import EpochFigures, read_curves
from mlops_assets.detector.journal import TrainingJournal
from mlops_assets.detector.time_estimate import TimeEstimate, in_words
from mlops_assets.detector.training import _keep
from mlops_assets.detector.training_errors import HopelessTrainingError, TrainingError
from mlops_assets.detector.weights import StartingPoint
from mlops_assets.failures import final_failures
from mlops_assets.use_case import TrainingRules, UseCase
from resources.checkpoint_files import CheckpointShelf

ONLY_IN_THE_USE_CASE = {"retrain_epochs", "retrain_learning_rate", "start_from"}


def test_every_setting_can_be_changed_in_the_launchpad_with_its_meaning_beside_it() -> None:
    fields = TrainingConfig.model_fields
    assert set(fields) - {"automatic_batch"} == set(TrainingRules.model_fields) - ONLY_IN_THE_USE_CASE
    assert all(field.description for field in fields.values())
    assert TrainingConfig().overrides() == {}
    assert with_overrides(TrainingRules(), TrainingConfig().overrides()) == TrainingRules()


def test_what_is_given_replaces_what_the_use_case_says() -> None:
    config = TrainingConfig(epochs=7, automatic_batch=True, batch=4, mixed_precision=False, seed=3)
    rules = with_overrides(TrainingRules(), config.overrides())
    assert (rules.epochs, rules.retrain_epochs, rules.batch, rules.seed) == (7, 7, "auto", 3)
    assert not rules.mixed_precision
    assert json.loads(rules.model_dump_json())["batch"] == "auto"


def test_the_launchpad_offers_what_the_use_case_may_say_and_refuses_anything_else() -> None:
    fields = TrainingRules.model_fields
    assert {entry.value for entry in Architecture} == set(get_args(fields["architecture"].annotation))
    assert {entry.value for entry in Optimizer} == set(get_args(fields["optimizer"].annotation))
    assert TrainingConfig(architecture=Architecture.yolo26n).overrides() == {"architecture": "yolo26n"}

    @dg.op
    def train(config: TrainingConfig) -> None:
        assert config.architecture is Architecture.yolo26s

    @dg.job
    def job() -> None:
        train()

    given = {"ops": {"train": {"config": {"architecture": "yolo26s"}}}}
    assert job.execute_in_process(given).success
    with pytest.raises(dg.DagsterInvalidConfigError, match="yolo9"):
        dg.validate_run_config(job, {"ops": {"train": {"config": {"architecture": "yolo9"}}}})


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"batch": 0}, {"mosaic": 1.5}, {"learning_rate": 0.0}, {"seed": -1}, {"image_size": 100}]
)
def test_a_value_out_of_its_range_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        with_overrides(TrainingRules(), TrainingConfig(**wrong).overrides())


def test_a_wrong_setting_is_not_tried_again() -> None:
    with pytest.raises(dg.Failure) as failure, final_failures(ValidationError, HopelessTrainingError):
        with_overrides(TrainingRules(), {"architecture": "yolo9"})
    assert not failure.value.allow_retries
    assert "architecture" in str(failure.value.description)


def test_what_may_go_well_another_time_is_left_to_the_retry_policy() -> None:
    with pytest.raises(ConnectionError), final_failures(HopelessTrainingError):
        raise ConnectionError("the store is away")
    assert detector_weights.op.retry_policy == RETRY_TRAINING
    assert RETRY_TRAINING.max_retries > RETRY.max_retries


@dataclass
class Epoch:
    """What of Ultralytics' trainer is asked when an epoch ends whose loss is no number."""

    epoch: int
    start_epoch: int
    tloss: dict[str, float] = field(default_factory=lambda: {"box_loss": math.nan})
    args: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(lr0=0.1, data="data.yaml"))
    callbacks: dict[str, Callable[[Any], None]] = field(default_factory=dict)

    def add_callback(self, event: str, callback: Callable[[Any], None]) -> None:
        self.callbacks[event] = callback


@pytest.mark.parametrize(
    ("start_epoch", "epoch", "kind"),
    [
        (0, 0, HopelessTrainingError),
        (0, 3, HopelessTrainingError),
        (2, 3, HopelessTrainingError),
        (2, 2, TrainingError),
    ],
)
def test_only_where_nothing_was_gone_back_to_a_loss_that_is_no_number_is_tried_again(
    start_epoch: int, epoch: int, kind: type[TrainingError]
) -> None:
    trainer = Epoch(epoch, start_epoch)
    EpochWatch(lambda _: None, 0.0).attach(trainer)
    trainer.callbacks["on_train_epoch_end"](trainer)
    with pytest.raises(TrainingError, match="box_loss is no number") as error:
        trainer.callbacks["on_fit_epoch_end"](trainer)
    assert type(error.value) is kind


def test_a_finished_training_ends_well_whatever_the_store_of_its_checkpoint_raises(trained: Trained) -> None:
    said: list[str] = []
    identity = identify("f", TrainingRules(), StartingPoint("scratch", None, "test"), NAMES)
    _keep(trained.result, TrainingCheckpoints(CheckpointShelf("nowhere://checkpoints"), identity), said.append)
    assert len(said) == 1
    assert "could not be kept as a checkpoint: Unsupported filesystem" in said[0]


@dataclass
class Tracked:
    """The one thing that the journal asks of MLflow when an epoch is done."""

    steps: list[int] = field(default_factory=list)

    def log_params(self, params: Mapping[str, Any]) -> None:
        raise AssertionError(params)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        raise AssertionError(tags)

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        assert metrics == {"val/map50": 0.5}
        self.steps.append(step)


def test_the_journal_logs_each_epoch_once_and_asks_nothing() -> None:
    tracked = Tracked()
    listener = TrainingJournal(logging.getLogger("test"), tracked).listener()
    rows = [EpochFigures(epoch, {"val/map50": 0.5}) for epoch in (1, 2, 3)]
    listener.on_figures(rows[:2])
    listener.on_figures(rows)  # a training that goes on in this process begins again with the first row
    assert tracked.steps == [1, 2, 3]


def test_the_batch_of_a_use_case_is_a_number_or_auto() -> None:
    case = {"name": "a", "title": "A", "start": "2026-01-01"}
    assert UseCase.model_validate({**case, "training": {"batch": "auto"}}).training.batch == "auto"
    with pytest.raises(ValidationError, match="auto"):
        UseCase.model_validate({**case, "training": {"batch": "many"}})


def test_the_estimate_counts_epochs_batches_and_validation() -> None:
    estimate = TimeEstimate(epochs=20, batches=14, batch=8, step_seconds=0.5, validation_seconds=1.0)
    assert estimate.seconds == 20 * (14 * 0.5 + 1.0) + 1.0
    assert estimate.sentence().startswith("About 3 min at most for 20 epochs: 14 batches of 8 photos")
    limited = TimeEstimate(epochs=20, batches=14, batch=8, step_seconds=0.5, validation_seconds=1.0, limit_seconds=400)
    assert limited.sentence().startswith("Trains for 7 min, as asked, which is about 50 epochs")


@given(st.floats(0, 1e6))
def test_a_time_is_said_in_a_unit_that_suits_it(seconds: float) -> None:
    number, unit = in_words(seconds).split()
    assert unit in {"s", "min", "h"}
    assert abs(float(number) * {"s": 1, "min": 60, "h": 3600}[unit] - seconds) <= max(
        0.6, 0.5 * {"s": 1, "min": 60, "h": 360}[unit]
    )


def test_a_training_says_its_time_before_its_first_epoch(trained: Trained) -> None:
    (estimate,) = trained.estimates
    assert estimate.epochs == 2
    assert estimate.batches == 2
    measured = trained.progress[-1].pace
    assert measured / 20 < estimate.epoch_seconds < measured * 20, "of the right order, whatever else this machine does"


def test_figures_are_those_of_the_curves_by_names_that_mlflow_takes(trained: Trained) -> None:
    rows = read_curves(trained.result.curves.read_bytes())
    assert [row.epoch for row in rows] == [1, 2]
    assert {"val/map50", "val/map50_95", "train/box_loss", "val/cls_loss", "lr/pg0"} <= set(rows[0].figures)
    assert not [name for name in rows[0].figures if "(" in name]
    assert read_curves(b"epoch,time,train/box_loss\n1,2.0,nan\n") == [EpochFigures(1, {})]
    with pytest.raises(ValueError, match="no epoch"):
        read_curves(Path(__file__).read_bytes())
