"""Imports the label drop when it changed."""

import dagster as dg

from mlops_assets.jobs import IMPORT_LABELS
from mlops_assets.use_case import UseCase
from resources.class_decisions import ClassDecisionRecords
from resources.label_drop import LabelDrop
from sensors.decisions import DropCursor, decide_labels
from sensors.requests import earlier_attempts, run_request


def new_labels(use_case: UseCase, interval: int) -> dg.SensorDefinition:
    """The sensor of one use case; `interval` in seconds."""

    @dg.sensor(
        name="new_labels",
        job_name=IMPORT_LABELS,
        minimum_interval_seconds=interval,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks for annotations and equipment classes once a changed label drop, or what people decided "
        "about classes, stands still.",
    )
    def sensor(
        context: dg.SensorEvaluationContext, label_drop: LabelDrop, class_decisions: ClassDecisionRecords
    ) -> dg.SensorResult | dg.SkipReason:
        from mlops_assets.labels.class_decisions import labels_digest
        from mlops_assets.labels.importing import drop_digest

        digest = labels_digest(drop_digest(label_drop.path()), class_decisions.ids(), use_case)
        attempts = earlier_attempts(context.instance, use_case.name, f"labels-{digest}")
        decision, cursor = decide_labels(digest, DropCursor.parse(context.cursor), attempts)
        context.update_cursor(cursor.seen)
        if decision.attempt is None:
            return dg.SkipReason(decision.reason)
        return dg.SensorResult(run_requests=[run_request(use_case.name, decision)])

    return sensor
