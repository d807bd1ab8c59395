"""A job whose one step trains as `detector_weights` does; its process is killed by test_killed_training.

Loaded by the processes of Dagster's multiprocess executor too, which fork from one that has imported it.
"""

import os
import time
from pathlib import Path

import dagster as dg
from tiny_detector import NAMES, RULES

from mlops_assets.detector.checkpointing import TrainingCheckpoints, identify
from mlops_assets.detector.epochs import EpochProgress
from mlops_assets.detector.journal import TrainingJournal
from mlops_assets.detector.training import train
from mlops_assets.detector.training_errors import HopelessTrainingError
from mlops_assets.detector.ultralytics_setup import prepare_ultralytics
from mlops_assets.detector.weights import StartingPoint
from mlops_assets.failures import final_failures
from resources.checkpoints import Checkpoints
from resources.mlflow import MlflowTracking

prepare_ultralytics(1)

MOST_KILLS = 10
START = StartingPoint("scratch", None, "test")


class TrainingStep(dg.Config):
    data: str
    place: str
    epochs: int
    checkpoint_epochs: int = 1
    learning_rate: float = 0.002


@dg.op(retry_policy=dg.RetryPolicy(max_retries=MOST_KILLS))
def train_detector(
    context: dg.OpExecutionContext, config: TrainingStep, checkpoints: Checkpoints, mlflow: MlflowTracking
) -> None:
    place = Path(config.place)
    rules = RULES.model_copy(
        update={
            "epochs": config.epochs,
            "checkpoint_epochs": config.checkpoint_epochs,
            "learning_rate": config.learning_rate,
            "image_size": 64,
            "close_mosaic": 2,
            "patience": 100,
        }
    )
    journal = TrainingJournal(context.log, mlflow)

    def on_epoch(epoch: EpochProgress) -> None:
        note(place, f"epoch {context.retry_number} {epoch.epoch} {time.monotonic()}")
        journal.epoch(epoch)

    shelf = checkpoints.of_run(context.instance, context.run)
    identity = identify("f" * 64, rules, START, NAMES)
    note(place, f"begun {context.retry_number} {os.getpid()}")
    journal.begin({"started_from": START.reason, "epochs": config.epochs, "seed": rules.seed})
    with final_failures(HopelessTrainingError):
        result = train(
            *(Path(config.data), place / f"pod{context.retry_number}" / "training", START, rules, NAMES),
            device="cpu",
            threads=1,
            on_epoch=on_epoch,
            listener=journal.listener(),
            checkpoints=TrainingCheckpoints(shelf, identity),
            plots=False,
        )
    shelf.delete()
    (place / "results.csv").write_bytes(result.curves.read_bytes())


def note(place: Path, line: str) -> None:
    with (place / "notes.txt").open("a") as notes:
        notes.write(f"{line}\n")


FORKED = {"max_concurrent": 1, "start_method": {"forkserver": {"preload_modules": ["mlflow", "killed_training_job"]}}}


@dg.job(
    executor_def=dg.multiprocess_executor.configured(FORKED),
    resource_defs={"checkpoints": Checkpoints.configure_at_launch(), "mlflow": MlflowTracking.configure_at_launch()},
)
def training_job() -> None:
    train_detector()
