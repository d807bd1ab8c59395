"""What a detector forgets when two classes are added: our retraining, a restart, and fine-tuning on what is new.

Three seeds of split and training on racks of ../shared/data and on a small rendered demo; one champion a seed serves
all arms, and every model is measured by the project's own evaluation on the same test photos. Each arm's result is kept
in bench-output as it finishes, and an interrupted run goes on behind it.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.forgetting_data import Story, photos_by_split, story, take_demo, take_racks
from mlops_assets.class_keys import class_key
from mlops_assets.dataset.export import Photos, export_yolo
from mlops_assets.dataset.versions import manifest
from mlops_assets.detector.bundled import bundled_weights
from mlops_assets.detector.epochs import EpochProgress
from mlops_assets.detector.evaluation import evaluate
from mlops_assets.detector.export import export_onnx
from mlops_assets.detector.snapshot import SnapshotPredictor
from mlops_assets.detector.training import train
from mlops_assets.detector.ultralytics_setup import prepare_ultralytics
from mlops_assets.detector.weights import StartingPoint, starting_point
from mlops_assets.detector.widening import arranged
from mlops_assets.use_case import TrainingRules

SEEDS = (0, 1, 2)
IMAGE_SIZE = 256
CHAMPION_EPOCHS = 20
EPOCHS = 12
"""Of ours and of all that it is held against."""

CAP = 24
"""Epochs after which a restart that has not reached ours' level on val is given up."""

THREADS = 1
KEPT = Path("bench-output") / "forgetting"
OURS, SCRATCH, LABELS, PHOTOS, REACH = "ours", "scratch", "new_labels", "new_photos", "scratch_to_level"
ARMS = {
    OURS: "from the champion, whole dataset",
    SCRATCH: "from random weights, whole dataset",
    LABELS: "from the champion, labels of new classes alone",
    PHOTOS: "from the champion, photos of new classes alone",
}


_Key = tuple[str, int]
"""Name of the photos, and seed."""


class _ReachedError(Exception):
    """Not an error: ends a training that is as good as it was to become."""


@dataclass(frozen=True)
class Outcome:
    """One training.

    Attributes:
        ap50: By class, on test; empty where training was ended at a level.
        val_map50: Of the best epoch.
        seconds: Of CPU on one thread, validation after each epoch included.
        wall: Seconds by the clock.
        epochs: Epochs run.
        reached: Whether `val_map50` is at least the level that was asked for; None where none was.
    """

    ap50: dict[int, float]
    val_map50: float
    seconds: float
    wall: float
    epochs: int
    reached: bool | None = None


def run() -> dict[str, float]:
    """Old classes' change of macro AP50 by arm, and how long a restart takes to where ours gets."""
    prepare_ultralytics(THREADS)
    KEPT.mkdir(parents=True, exist_ok=True)
    keys = [(data, seed) for seed in SEEDS for data in (take_racks(KEPT), take_demo(KEPT))]
    stories = {(data.name, seed): story(data, seed) for data, seed in keys}
    for (name, seed), one in stories.items():
        print(f"{name}, seed {seed}: before {photos_by_split(one.before)}")
        print(f"{name}, seed {seed}: after {photos_by_split(one.after)}", flush=True)
    outcomes = {key: _arms(key, one) for key, one in stories.items()}
    ratios = _report_changes(stories, outcomes)
    # Last, since it takes as long as all the rest.
    reached = {key: _restart(key, one, outcomes[key][OURS].val_map50) for key, one in stories.items()}
    return ratios | _report_times(outcomes, reached)


def _rules(seed: int, epochs: int) -> TrainingRules:
    return TrainingRules(image_size=IMAGE_SIZE, epochs=epochs, retrain_epochs=EPOCHS, patience=1000, seed=seed)


def _arms(key: _Key, one: Story) -> dict[str, Outcome]:
    folder, seed = KEPT / f"{key[0]}-{key[1]}", key[1]
    first, again = _rules(seed, CHAMPION_EPOCHS), _rules(seed, EPOCHS)
    architecture = first.architecture
    base = starting_point(None, None, architecture, bundled_weights(architecture))
    done = {"champion": _arm(folder, "champion", one, one.before, list(one.old), base, first)}
    every = sorted({**one.old, **one.new})
    champion = arranged(starting_point(None, folder / "champion.pt", architecture), every, folder)
    for name, data, start in (
        (OURS, one.after, champion),
        (SCRATCH, one.after, starting_point(None, None, architecture)),
        (LABELS, one.new_labels, champion),
        (PHOTOS, one.new_photos, champion),
    ):
        done[name] = _arm(folder, name, one, data, every, start, again)
    return done


def _restart(key: _Key, one: Story, level: float) -> Outcome:
    """From random weights until a level of mAP50 on val is reached, or for `CAP` epochs."""
    rules = _rules(key[1], CAP)
    start = starting_point(None, None, rules.architecture)
    every = sorted({**one.old, **one.new})
    return _arm(KEPT / f"{key[0]}-{key[1]}", REACH, one, one.after, every, start, rules, level=level)


def _arm(
    folder: Path,
    name: str,
    one: Story,
    data: pl.DataFrame,
    class_ids: list[int],
    start: StartingPoint,
    rules: TrainingRules,
    level: float | None = None,
) -> Outcome:
    """Train and measure, unless an earlier run did just that."""
    record = folder / f"{name}.json"
    recipe = {
        "dataset": manifest(data, {**one.old, **one.new}, "benchmark")["fingerprint"],
        "start": start.kind,
        "rules": rules.model_dump(mode="json"),
        "level": level,
    }
    if record.is_file():
        kept = json.loads(record.read_text(encoding="utf-8"))
        if kept["recipe"] == recipe:
            return _told(folder, name, _restored(kept["outcome"]))
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        outcome, weights = _train(Path(place), one, data, class_ids, start, rules, level)
        if weights is not None and name == "champion":
            weights.replace(folder / "champion.pt")
    record.write_text(json.dumps({"recipe": recipe, "outcome": asdict(outcome)}, indent=1), encoding="utf-8")
    return _told(folder, name, outcome)


def _restored(fields: dict[str, Any]) -> Outcome:
    ap50 = {int(class_id): value for class_id, value in fields["ap50"].items()}
    return Outcome(**{**fields, "ap50": ap50})


def _told(folder: Path, name: str, outcome: Outcome) -> Outcome:
    measured = f", AP50 on test {statistics.fmean(outcome.ap50.values()):.3f}" if outcome.ap50 else ""
    print(
        f"  {folder.name:8} {name:16} {outcome.epochs:3} epochs, {outcome.seconds:5.0f} s of CPU, "
        f"{outcome.wall:5.0f} s; mAP50 on val {outcome.val_map50:.3f}{measured}",
        flush=True,
    )
    return outcome


def _train(
    place: Path,
    one: Story,
    data: pl.DataFrame,
    class_ids: list[int],
    start: StartingPoint,
    rules: TrainingRules,
    level: float | None,
) -> tuple[Outcome, Path | None]:
    """The outcome, and the weights where training was not ended at a level."""
    data_yaml = export_yolo(
        data, class_ids, Photos(one.read_photo), place / "data", image_size=IMAGE_SIZE, workers=THREADS
    )
    best = [0.0, 0.0]  # mAP50 on val, epochs

    def watch(epoch: EpochProgress) -> None:
        best[:] = [max(best[0], epoch.map50), float(epoch.epoch)]
        if level is not None and epoch.map50 >= level:
            raise _ReachedError

    cpu, clock = time.process_time(), time.monotonic()
    try:
        keys = [class_key(class_id) for class_id in class_ids]
        result = train(
            data_yaml,
            place / "run",
            start,
            rules,
            keys,
            device="cpu",
            threads=THREADS,
            on_epoch=watch,
            plots=False,
        )
    except _ReachedError:
        result = None
    seconds, wall = time.process_time() - cpu, time.monotonic() - clock
    if level is not None or result is None:
        return Outcome({}, best[0], seconds, wall, int(best[1]), best[0] >= (level or 0.0)), None
    ap50 = _ap50(one, class_ids, result.weights, place)
    return Outcome(ap50, best[0], seconds, wall, result.epochs), result.weights


def _ap50(one: Story, class_ids: list[int], weights: Path, place: Path) -> dict[int, float]:
    """By class that the test photos show."""
    export = export_onnx(weights, place / "model.onnx", IMAGE_SIZE, threads=THREADS)
    photos = one.after.filter(pl.col("split") == "test")["photo_id"].unique().sort().to_list()
    predictor = SnapshotPredictor(export, class_ids, threads=THREADS)
    found = predictor.predict(photos, one.read_photo, model_version="benchmark")
    thresholds = dict.fromkeys(class_ids, 0.25)
    table = evaluate(
        one.after, found, model_version="benchmark", split="test", class_ids=class_ids, thresholds=thresholds
    )
    return dict(table.drop_nulls(["class_id", "ap50"]).select("class_id", "ap50").iter_rows())


def _macro(outcome: Outcome, class_ids: Iterable[int]) -> float:
    return statistics.fmean(outcome.ap50[class_id] for class_id in class_ids if class_id in outcome.ap50)


def _report_changes(stories: dict[_Key, Story], outcomes: dict[_Key, dict[str, Outcome]]) -> dict[str, float]:
    """Table of the change of macro AP50 over the champion's classes, and of AP50 of the new ones."""
    ratios: dict[str, float] = {}
    for name in dict.fromkeys(name for name, _ in outcomes):
        runs = [(stories[key], outcomes[key]) for key in outcomes if key[0] == name]
        champion = [_macro(done["champion"], one.old) for one, done in runs]
        print(f"\n{name}: macro AP50 of the champion's classes on test {_listed(champion)}")
        for arm, what in ARMS.items():
            change = [_macro(done[arm], one.old) - _macro(done["champion"], one.old) for one, done in runs]
            new = [_macro(done[arm], one.new) for one, done in runs]
            seconds = statistics.fmean(done[arm].seconds for _, done in runs)
            print(
                f"  {what:48} old {_listed(change, '+')}; new {_listed(new)}; {EPOCHS} epochs in {seconds:.0f} s of CPU"
            )
            ratios[f"{name}_old_change_{arm}"] = statistics.fmean(change)
            if arm == OURS:
                ratios[f"{name}_old_change_{arm}_worst_seed"] = min(change)
    return ratios


def _report_times(outcomes: dict[_Key, dict[str, Outcome]], reached: dict[_Key, Outcome]) -> dict[str, float]:
    """How long a restart takes to the mAP50 on val that ours came to; where it was given up, at least so long."""
    ratios: dict[str, float] = {}
    for (name, seed), restart in reached.items():
        ours = outcomes[name, seed][OURS]
        times = restart.seconds / ours.seconds
        verb = "reached" if restart.reached else f"not reached (best {restart.val_map50:.3f})"
        print(
            f"{name}, seed {seed}: ours' {ours.val_map50:.3f} on val by a restart {verb} within {restart.epochs} "
            f"epochs, {restart.seconds:.0f} s of CPU against {ours.seconds:.0f}: {times:.1f} times"
        )
        label = f"{name}_restart_over_ours_seconds_least"
        ratios[label] = min(times, ratios.get(label, times))
    return ratios


def _listed(values: list[float], sign: str = "") -> str:
    return f"{statistics.fmean(values):{sign}.3f} ({', '.join(f'{value:{sign}.3f}' for value in values)})"
