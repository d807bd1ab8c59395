"""One training of the detector with Ultralytics, from a data.yaml to best.pt.

Choosing the starting weights belongs in `weights.py`; what comes of the result in `evaluation.py` and `promotion.py`.
"""

import gc
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from mlops_assets.detector.batch_size import AUTOMATIC, batch_for, smaller
from mlops_assets.detector.checkpointing import BEST, CURVES, Found, TrainingCheckpoints, find, keep_result
from mlops_assets.detector.cpu_training import accelerate, native_bfloat16
from mlops_assets.detector.epochs import EpochFigures, EpochProgress, read_curves
from mlops_assets.detector.time_estimate import TimeEstimate
from mlops_assets.detector.training_errors import HopelessTrainingError, MemoryShortageError, explained
from mlops_assets.detector.training_events import Ended, Event, Kept, Said, TrainingPlan
from mlops_assets.detector.ultralytics_setup import prepare_ultralytics
from mlops_assets.detector.weights import StartingPoint, WeightsError, require_checkpoint
from mlops_assets.use_case import TrainingRules

_METRICS = {
    "metrics/mAP50(B)": "map50",
    "metrics/mAP50-95(B)": "map50_95",
    "metrics/precision(B)": "precision",
    "metrics/recall(B)": "recall",
}
_PICTURE_SUFFIXES = {".png", ".jpg"}


def _ignore(_fact: object) -> None:
    return None


@dataclass(frozen=True)
class TrainingListener:
    """Who is told what else happens than epochs; what a call raises ends the training.

    Attributes:
        on_estimate: Called before the first epoch of this process.
        on_figures: Called with rows of results.csv that the training will not lose any more, in their order. A training
            that goes on begins again with the first row.
        say: Called with sentences for the log.
    """

    on_estimate: Callable[[TimeEstimate], None] = _ignore
    on_figures: Callable[[Sequence[EpochFigures]], None] = _ignore
    say: Callable[[str], None] = _ignore


@dataclass(frozen=True)
class TrainingResult:
    """What a training left behind.

    Attributes:
        weights: The best epoch's checkpoint, without optimizer state.
        metrics: map50, map50_95, precision and recall of `weights` on val, as Ultralytics measures them.
        curves: CSV of losses and metrics, one row an epoch.
        pictures: Charts and sample batches that Ultralytics drew.
        seconds: Trained, by all processes that had a part in it.
        epochs: Epochs run, fewer than asked for when training stopped early.
        batch: Photos a batch in the end.
    """

    weights: Path
    metrics: dict[str, float]
    curves: Path
    pictures: list[Path]
    seconds: float
    epochs: int
    batch: int


def train(
    data_yaml: Path,
    folder: Path,
    start: StartingPoint,
    rules: TrainingRules,
    class_names: Sequence[str],
    *,
    device: str,
    threads: int,
    on_epoch: Callable[[EpochProgress], None] = _ignore,
    listener: TrainingListener | None = None,
    checkpoints: TrainingCheckpoints | None = None,
    plots: bool = True,
) -> TrainingResult:
    """Train a detector, and return its best epoch on val.

    A start from a checkpoint widens the head by class name: Ultralytics copies the rows of classes that both know, and
    leaves new ones as initialised (BaseModel._remap_cls_by_names). A start from the champion runs
    `rules.retrain_epochs`, any other `rules.epochs`.

    With `checkpoints` a training that was killed goes on: to the same number of epochs, with learning rate, early
    stopping and best epoch as they were. Where a batch is too large for the memory, half of it is tried, from the last
    checkpoint on, down to one photo a GPU; as many photos as were asked for make one optimizer step all the same.

    Args:
        data_yaml: As `dataset/export` writes it, with an absolute `path`.
        folder: Where weights and curves go; an earlier training there is overwritten.
        start: From `weights.starting_point`.
        rules: Training settings, with this run's overrides applied.
        class_names: Stable names (c0000 …) by index, which data.yaml must carry too.
        device: cpu, cuda, or CUDA indexes such as 0 or 0,1.
        threads: CPU threads of torch; on CUDA also the number of loader processes.
        on_epoch: Called after each epoch; what it raises ends the training.
        listener: Told what happens besides.
        checkpoints: Where this training keeps its checkpoints; None: it keeps none.
        plots: Whether Ultralytics draws charts and sample batches.

    Raises:
        HopelessTrainingError: No training or val photos, no boxes, other class names, a setting that Ultralytics
            refuses, losses that are no numbers, or memory for less than one photo a batch.
        TrainingError: Something else went wrong, which may go well another time.
        WeightsError: The starting weights are missing.
    """
    listener = listener or TrainingListener()
    _check_dataset(data_yaml, class_names)
    batch, why = batch_for(rules, device)
    if why:
        listener.say(why)
    while True:
        found = _find(checkpoints, folder, listener.say)
        if found is not None and found.state is None:
            return _finished(found, folder, listener)
        if found is not None and found.state is not None:
            known = int(found.state["batch"])
            batch = known if batch == AUTOMATIC else min(batch, known)
        try:
            return _train_once(
                *(data_yaml, folder, start, rules, batch, found),
                device=device,
                threads=threads,
                on_epoch=on_epoch,
                listener=listener,
                checkpoints=checkpoints,
                plots=plots,
            )
        except MemoryShortageError as error:
            batch = smaller(error, rules, device)
            listener.say(f"{error}. Tried again with {batch}")
        gc.collect()  # outside of the handler: the exception holds the model that is to make room
        _empty_cache(device)


def build_trainer(
    data_yaml: Path,
    folder: Path,
    start: StartingPoint,
    rules: TrainingRules,
    *,
    device: str,
    threads: int,
    batch: int | None = None,
    plots: bool = True,
) -> Any:
    """Set up a `trainer.DetectorTrainer`, on a CPU accelerated, without starting it; arguments as of `train`.

    Args:
        data_yaml: As of `train`.
        folder: As of `train`.
        start: As of `train`.
        rules: As of `train`.
        device: As of `train`.
        threads: As of `train`.
        batch: Photos a batch, `AUTOMATIC` to have them measured; None: as the settings say.
        plots: As of `train`.

    Raises:
        WeightsError: The starting weights are missing.
    """
    if start.path is not None:
        require_checkpoint(start.path)
    prepare_ultralytics(threads)
    from mlops_assets.detector.trainer import DetectorTrainer

    place = folder.resolve()
    asked = batch_for(rules, device)[0]
    batch = batch or asked
    settings = {
        "model": f"{rules.architecture}.yaml",
        "pretrained": str(start.path.resolve()) if start.path else False,
        "data": str(data_yaml.resolve()),
        "project": str(place.parent),
        "name": place.name,
        "exist_ok": True,
        "imgsz": rules.image_size,
        "patience": rules.patience,
        "batch": batch,
        # One optimizer step a batch: the default nominal batch of 64 leaves a small dataset one step an epoch. A batch
        # that was halved for memory makes one step of two.
        "nbs": max(batch if asked == AUTOMATIC else asked, 1),  # `auto_batch` sets what it finds
        "fliplr": rules.horizontal_flip,
        "flipud": 0.0,
        "mosaic": rules.mosaic,
        "close_mosaic": rules.close_mosaic,
        "seed": rules.seed,
        "deterministic": True,
        "device": device,
        "workers": min(threads, 8) if rules.workers is None else rules.workers,
        "amp": _mixed_precision(device, rules),
        "plots": plots,
        "verbose": False,
    }
    trainer = DetectorTrainer(overrides=settings | _optimizer(start, rules))
    if device == "cpu":
        bfloat16 = rules.mixed_precision and native_bfloat16()
        trainer.add_callback("on_train_start", partial(accelerate, bfloat16=bfloat16))
    return trainer


def _train_once(
    data_yaml: Path,
    folder: Path,
    start: StartingPoint,
    rules: TrainingRules,
    batch: int,
    found: Found | None,
    *,
    device: str,
    threads: int,
    on_epoch: Callable[[EpochProgress], None],
    listener: TrainingListener,
    checkpoints: TrainingCheckpoints | None,
    plots: bool,
) -> TrainingResult:
    trainer: Any = None
    try:
        trainer = build_trainer(
            data_yaml, folder, start, rules, device=device, threads=threads, batch=batch, plots=plots
        )
        if found is not None and found.state is not None:
            # With a time limit the epochs follow the time that they take: they stay as they were then.
            trainer.epochs = trainer.args.epochs = found.state["epochs"]
            trainer.args.time = None
            trainer.args.nbs = found.state["nominal_batch"]
        events = _Events(on_epoch, listener, Path(trainer.csv))
        trainer.follow(TrainingPlan(events, checkpoints, rules.checkpoint_epochs, found))
        trainer.train()
    except WeightsError:
        raise
    except (RuntimeError, ValueError, AssertionError) as error:
        reached = batch if trainer is None else trainer.batch_size
        raise explained(error, str(data_yaml), reached) from error
    ended = events.ended
    if ended is None:
        raise explained(RuntimeError("it ended without a word"), str(data_yaml), batch)
    result = TrainingResult(
        weights=Path(trainer.best),
        metrics={name: ended.metrics[key] for key, name in _METRICS.items()},
        curves=Path(trainer.csv),
        pictures=_pictures(Path(trainer.save_dir)),
        seconds=ended.seconds,
        epochs=ended.epochs,
        batch=ended.batch,
    )
    events.tell_all()
    if checkpoints is not None:
        _keep(result, checkpoints, listener.say)
    return result


class _Events:
    """Hands on what a trainer tells."""

    def __init__(self, on_epoch: Callable[[EpochProgress], None], listener: TrainingListener, curves: Path) -> None:
        self.on_epoch = on_epoch
        self.listener = listener
        self.curves = curves
        self.told = 0
        self.ended: Ended | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, EpochProgress):
            self.on_epoch(event)
        elif isinstance(event, TimeEstimate):
            self.listener.on_estimate(event)
        elif isinstance(event, Said):
            self.listener.say(event.sentence)
        elif isinstance(event, Kept):
            self.tell_all(event.epoch)
        elif isinstance(event, Ended):
            self.ended = event

    def tell_all(self, last: float = float("inf")) -> None:
        """Tell the figures of all epochs up to one that were not told yet."""
        rows = [row for row in read_curves(self.curves.read_bytes()) if self.told < row.epoch <= last]
        if rows:
            self.listener.on_figures(rows)
            self.told = rows[-1].epoch


def _find(checkpoints: TrainingCheckpoints | None, folder: Path, say: Callable[[str], None]) -> Found | None:
    if checkpoints is None:
        return None
    target = folder.with_name(f"{folder.name}.checkpoint")
    shutil.rmtree(target, ignore_errors=True)
    prepare_ultralytics(1)  # the state is read with torch
    return find(checkpoints, target, say)


def _finished(found: Found, folder: Path, listener: TrainingListener) -> TrainingResult:
    """The result that a process before this one came to, at this one's place."""
    for source in found.folder.rglob("*"):
        if source.is_file():
            target = folder / source.relative_to(found.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    listener.on_figures(read_curves((folder / CURVES).read_bytes()))
    return TrainingResult(
        weights=folder / BEST,
        metrics=dict(found.about["metrics"]),
        curves=folder / CURVES,
        pictures=_pictures(folder),
        seconds=float(found.about["seconds"]),
        epochs=found.epoch,
        batch=int(found.about["batch"]),
    )


def _keep(result: TrainingResult, checkpoints: TrainingCheckpoints, say: Callable[[str], None]) -> None:
    about = {"metrics": result.metrics, "seconds": result.seconds, "batch": result.batch, "epochs": result.epochs}
    files = {BEST: result.weights.read_bytes(), CURVES: result.curves.read_bytes()}
    try:
        keep_result(checkpoints, about, files, result.epochs)
    except Exception as error:  # noqa: BLE001 whatever a store's client raises (botocore's are no OSError), it is trained
        say(f"The finished training could not be kept as a checkpoint: {error}")


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in _PICTURE_SUFFIXES)


def _empty_cache(device: str) -> None:
    if device != "cpu":
        import torch

        torch.cuda.empty_cache()


def _optimizer(start: StartingPoint, rules: TrainingRules) -> dict[str, Any]:
    again = start.kind == "champion"
    settings = {
        "epochs": rules.retrain_epochs if again else rules.epochs,
        "time": rules.max_minutes / 60 if rules.max_minutes else None,
        "optimizer": rules.optimizer,
        "lr0": rules.retrain_learning_rate if again else rules.learning_rate,
    }
    if rules.optimizer == "AdamW":
        # As Ultralytics' own automatic choice: a bias rate of 0.1 in warm-up throws a trained head away under Adam.
        settings |= {"momentum": 0.9, "warmup_bias_lr": 0.0}
    return settings


def _mixed_precision(device: str, rules: TrainingRules) -> str | bool:
    """Take bfloat16 where the GPU has it; Ultralytics' check of fp16 needs a model from the network."""
    if device == "cpu" or not rules.mixed_precision:
        return False
    import torch

    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else False


def _check_dataset(data_yaml: Path, class_names: Sequence[str]) -> None:
    if not data_yaml.is_file():
        raise HopelessTrainingError(f"No dataset at {data_yaml}; export the training dataset first")
    data = yaml.safe_load(data_yaml.read_text(encoding="utf-8"))
    names = data["names"]
    found = [names[i] for i in sorted(names)] if isinstance(names, dict) else list(names)
    if found != list(class_names):
        raise HopelessTrainingError(
            f"{data_yaml} names the classes {found}, expected {list(class_names)}; export it again"
        )
    root = Path(data.get("path", data_yaml.parent))
    for split in ("train", "val"):
        if not any((root / data[split]).glob("*")):
            raise HopelessTrainingError(f"{data_yaml} has no {split} photo; label photos of more enclosures")
    labels = root / Path(*("labels" if part == "images" else part for part in Path(data["train"]).parts))
    if not any(file.stat().st_size for file in labels.glob("*.txt")):
        raise HopelessTrainingError(f"{data_yaml} has no box in its train photos; label photos of more enclosures")
