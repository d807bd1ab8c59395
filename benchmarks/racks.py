"""Learning new equipment on photos of real devices: the racks of ../shared/data, a use case file and `dagster dev`.

Two days land and their labels arrive: the sensors train a first champion. Then the third day lands and labels of two
classes never seen before arrive: the sensors ask for one retraining. Nothing here calls a training. The truth is
read at the end, to score the catalogue.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from benchmarks.real_photos import RACKS
from demo.daemon import backfill_days, running_daemon
from demo.deliver import deliver
from demo.report import print_summary, write_summary
from demo.state import State
from demo.watch import Watch
from mlops_assets.detector.champion import parse_class_map
from mlops_assets.jobs import INGEST_DAY, RETRAIN_DETECTOR
from mlops_assets.use_case import load_use_case
from resources.locations import location
from resources.settings import PREFIX, PROJECT, load_settings

USE_CASE = "racks_learning"
CHAPTERS = (
    (("2026-10-05", "2026-10-06"), "day1-2.coco.json"),
    (("2026-10-07",), "day3.label-studio.json"),
)
"""Days that land, and the label export that arrives after them."""

INGEST_TIMEOUT = 1200.0
TRAINING_TIMEOUT = 7200.0
DAGSTER_DEV = ("dagster", "dev", "-h", "127.0.0.1", "-p", "3977")


def run() -> dict[str, float]:
    """Play it in a home of its own and print AP50 by class before and after, and the catalogue's score.

    Raises:
        FileNotFoundError: The photos are not there.
        subprocess.CalledProcessError: A step did not come to its end; its message stands above.
    """
    if not RACKS.is_dir():
        raise FileNotFoundError("This section needs the real photos of ../shared/data/racks, which are not here")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "dagster").mkdir()
        (home / "dagster" / "dagster.yaml").write_bytes((PROJECT / "local" / "dagster.yaml").read_bytes())
        settings = {
            "HOME": str(home),
            "USE_CASE": USE_CASE,
            "USE_CASE_FOLDER": str(PROJECT / "benchmarks" / "use_cases"),
            "SENSOR_INTERVAL": "5",
        }
        environment = {**os.environ, **{PREFIX + name: value for name, value in settings.items()}}
        environment["DAGSTER_HOME"] = str(home / "dagster")
        command = [sys.executable, "-m", "benchmarks.racks", str(home / "summary.json")]
        subprocess.run(command, cwd=PROJECT, env=environment, check=True)  # noqa: S603 our own command
        return dict(json.loads((home / "summary.json").read_text(encoding="utf-8"))["figures"])


def tell(summary_path: Path) -> None:
    """Land files and wait, in the deployment that the environment names.

    Raises:
        StoryError: A step did not come to its end.
    """
    started = time.time()
    settings = load_settings()
    use_case = load_use_case(settings.use_case_folder / f"{settings.use_case}.yaml")
    with dg.DagsterInstance.get() as instance:
        state = State(instance, settings, use_case)
        log = settings.home / "dagster-dev.log"
        with running_daemon(instance, PROJECT, log, {}, DAGSTER_DEV) as daemon:
            watch = Watch(instance, daemon, started)
            retrainings = []
            for days, labels in CHAPTERS:
                before = _retrainings(instance)
                _ingest(state, watch, days)
                _label(state, watch, labels)
                retrainings.append(_retrainings(instance) - before)
        summary = write_summary(summary_path, state, RACKS / "truth", time.time() - started)
    print_summary(summary)
    table = ap50_by_class(state)
    with pl.Config(tbl_rows=100, tbl_hide_column_data_types=True, tbl_hide_dataframe_shape=True):
        print(table)
    summary["figures"] = _figures(summary, table, retrainings)
    summary_path.write_text(json.dumps(summary), encoding="utf-8")


def ap50_by_class(state: State) -> pl.DataFrame:
    """AP50 on the one test snapshot of the last retraining's model and of the champion before it, a row a class."""
    weights, evaluation = state.table("detector_weights"), state.table("detector_evaluation")
    names = parse_class_map(weights.item(0, "class_map"))
    measured = evaluation.filter(pl.col("split") == "test", pl.col("class_id").is_not_null())
    is_after = pl.col("model_version") == weights.item(0, "model_version")
    after = measured.filter(is_after).select("class_id", "n", pl.col("ap50").alias("after"))
    before = measured.filter(~is_after).select("class_id", pl.col("ap50").alias("before"))
    return (
        pl.DataFrame({"class_id": list(names), "class": list(names.values())}, schema_overrides={"class_id": pl.Int32})
        .join(before, on="class_id", how="left")
        .join(after, on="class_id", how="left")
        .select("class", pl.col("n").alias("test boxes"), "before", "after")
    )


def _ingest(state: State, watch: Watch, days: tuple[str, ...]) -> None:
    for day in days:
        new = deliver(RACKS / "landing" / day, location(state.places.landing) / day)
        watch.say(f"{day}: {new} files landed")
    backfill_days(PROJECT, INGEST_DAY, days[0], days[-1])
    taken_in = partial(_all_materialized, state, days)
    watch.until(f"{' and '.join(days)} are taken in", taken_in, INGEST_TIMEOUT)


def _all_materialized(state: State, days: tuple[str, ...]) -> bool:
    return all(state.materialized_at("detections", day) > 0 for day in days)


def _label(state: State, watch: Watch, export: str) -> None:
    content = (RACKS / "labels" / export).read_bytes()
    state.drop.mkdir(parents=True, exist_ok=True)
    (state.drop / export).write_bytes(content)
    watch.say(f"{export} dropped")
    watch.until(f"{export} is learnt and every day looked at with the champion", state.has_learnt, TRAINING_TIMEOUT)
    watch.came_out(state.last_decision())


def _retrainings(instance: dg.DagsterInstance) -> int:
    return instance.get_runs_count(dg.RunsFilter(job_name=RETRAIN_DETECTOR))


def _figures(summary: dict[str, Any], table: pl.DataFrame, retrainings: list[int]) -> dict[str, float]:
    known = table.drop_nulls("before")
    catalogue = summary["catalogue"]
    figures = {
        "retrainings_first": retrainings[0],
        "retrainings_new_classes": retrainings[1],
        "classes_before": len(summary["models"][0]["classes"]),
        "classes_after": len(summary["models"][-1]["classes"]),
        "map50_known_before": known["before"].mean(),
        "map50_known_after": known["after"].mean(),
        "catalogue_precision": catalogue["precision"],
        "catalogue_recall": catalogue["recall"],
        "minutes": summary["seconds"] / 60,
    }
    return {name: float(value) for name, value in figures.items() if value is not None}


if __name__ == "__main__":
    tell(Path(sys.argv[1]))
