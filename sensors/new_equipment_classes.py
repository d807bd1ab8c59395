"""Retrains when annotators have labelled equipment that the champion does not know."""

import dagster as dg
import polars as pl

from mlops_assets.detector.champion import latest_champion
from mlops_assets.jobs import RETRAIN_DETECTOR
from mlops_assets.labels.schema import EQUIPMENT_CLASSES
from mlops_assets.use_case import UseCase
from resources.tables import Tables
from sensors.decisions import decide_retraining, missing_classes, retraining_key
from sensors.requests import earlier_attempts, is_busy, run_request

CLASSES_TAG = "mlops/new_classes"


def new_equipment_classes(use_case: UseCase, interval: int) -> dg.SensorDefinition:
    """The sensor of one use case; `interval` in seconds."""

    @dg.sensor(
        name="new_equipment_classes",
        job_name=RETRAIN_DETECTOR,
        minimum_interval_seconds=interval,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks for a retraining, once, when active classes appear that the champion does not know.",
    )
    def sensor(context: dg.SensorEvaluationContext, tables: Tables) -> dg.SensorResult | dg.SkipReason:
        active, names = active_classes(tables.read("equipment_classes", EQUIPMENT_CLASSES))
        champion = latest_champion(tables)
        missing = missing_classes(active, champion.class_map if champion else ())
        if not missing:
            return dg.SkipReason("no active class is labelled yet" if not active else "the champion knows every class")
        key = retraining_key(missing, use_case.new_class.growth_step)
        decision = decide_retraining(
            key,
            earlier_attempts(context.instance, use_case.name, key),
            busy=is_busy(context.instance, use_case.name, RETRAIN_DETECTOR),
        )
        wanted = ", ".join(names[class_id] for class_id in sorted(missing))
        if decision.attempt is None:
            return dg.SkipReason(f"{wanted}: {decision.reason}")
        tags = {CLASSES_TAG: ",".join(map(str, sorted(missing)))}
        context.log.info("Asking for a retraining: the champion does not know %s", wanted)
        return dg.SensorResult(run_requests=[run_request(use_case.name, decision, **tags)])

    return sensor


def active_classes(classes: pl.DataFrame) -> tuple[dict[int, int], dict[int, str]]:
    """Boxes and names of the active classes, by class_id."""
    active = classes.filter(pl.col("status") == "active")
    boxes = dict(active.select("class_id", "boxes").iter_rows())
    return boxes, dict(active.select("class_id", "class_name").iter_rows())
