"""Retrains when annotators have labelled equipment that the champion does not know."""

import datetime as dt
from collections.abc import Callable
from zoneinfo import ZoneInfo

import dagster as dg
import polars as pl

from mlops_assets.detector.champion import latest_champion, parse_class_boxes
from mlops_assets.detector.decisions import MOVES, kind_of, word_against
from mlops_assets.detector.schema import CHAMPION_DETECTOR
from mlops_assets.jobs import RETRAIN_DETECTOR
from mlops_assets.labels.class_links import ClassLinks
from mlops_assets.labels.schema import EQUIPMENT_CLASSES
from mlops_assets.use_case import UseCase
from resources.tables import Tables
from sensors.requests import earlier_attempts, in_progress, run_request
from sensors.retraining_decisions import Classes, Training, decide_retraining, new_boxes, retraining_key

CLASSES_TAG = "mlops/new_classes"

MAX_WAITING = 5
"""Classes not active yet that a tick names, the nearest first."""


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def new_equipment_classes(
    use_case: UseCase, interval: int, now: Callable[[], dt.datetime] = _now
) -> dg.SensorDefinition:
    """The sensor of one use case; `interval` in seconds, `now` tells the time, with its zone."""
    rules = use_case.new_class

    @dg.sensor(
        name="new_equipment_classes",
        job_name=RETRAIN_DETECTOR,
        minimum_interval_seconds=interval,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks for one retraining when active classes appear that the champion does not know.",
    )
    def sensor(context: dg.SensorEvaluationContext, tables: Tables) -> dg.SensorResult | dg.SkipReason:
        # Before the tables: a run that ends between the two looks is seen in one of them.
        busy = in_progress(context.instance, use_case.name, RETRAIN_DETECTOR)
        table = tables.read("equipment_classes", EQUIPMENT_CLASSES)
        classes = read_classes(table, tables)
        key = retraining_key(classes.missing, rules.growth_step)
        decision = decide_retraining(
            classes,
            earlier_attempts(context.instance, use_case.name, key),
            growth_step=rules.growth_step,
            cooldown=dt.timedelta(hours=rules.cooldown_hours),
            now=now().astimezone(ZoneInfo(use_case.timezone)),
            busy=busy,
        )
        if decision.attempt is None:
            return dg.SkipReason("; ".join([decision.reason, *_beside(table, classes, use_case)]))
        context.log.info("Asking for a retraining: %s", decision.reason)
        tags = {CLASSES_TAG: ",".join(map(str, sorted(classes.missing)))}
        return dg.SensorResult(run_requests=[run_request(use_case.name, decision, **tags)])

    return sensor


def read_classes(table: pl.DataFrame, tables: Tables) -> Classes:
    """Active classes of EQUIPMENT_CLASSES, and what the table of champions says of them."""
    active = table.filter(pl.col("status") == "active")
    champion = latest_champion(tables)
    links = ClassLinks.of(table)
    return Classes(
        boxes=dict(active.select("class_id", "boxes").iter_rows()),
        names=dict(active.select("class_id", "class_name").iter_rows()),
        known=frozenset(links.target(class_id) for class_id in (champion.class_map if champion else ())),
        champion=champion.version if champion else None,
        trainings=_trainings(tables.read("champion_detector", CHAMPION_DETECTOR)),
    )


def _trainings(decisions: pl.DataFrame) -> list[Training]:
    """The first decision on each candidate; a later one on the same, or a move of the alias, is no training."""
    found: dict[str, Training] = {}
    serving = None
    for row in decisions.iter_rows(named=True):
        if row["model_version"] not in found and kind_of(row) not in MOVES:
            boxes = row["class_boxes"]
            found[row["model_version"]] = Training(
                version=row["model_version"],
                promoted=row["promoted"],
                boxes=parse_class_boxes(boxes) if boxes is not None else None,
                run_id=row["run_id"] or "",
                decided_at=row["decided_at"],
                had_champion=serving is not None,
                left=word_against(decisions, row["model_version"]),
            )
        serving = row["champion_version"]
    return list(found.values())


def _beside(table: pl.DataFrame, classes: Classes, use_case: UseCase) -> list[str]:
    """What else a person may want to know: classes that are not active yet, and labels that nothing has learnt."""
    from mlops_assets.labels.class_states import waiting_words

    waiting = waiting_words(table, use_case.new_class)
    words = []
    if waiting:
        more = f", and {len(waiting) - MAX_WAITING} more" if len(waiting) > MAX_WAITING else ""
        words.append("waiting: " + ", ".join(waiting[:MAX_WAITING]) + more)
    grown = new_boxes(classes)
    if grown:
        words.append(f"{grown} labelled boxes are new since the champion's dataset, which alone asks for nothing")
    return words
