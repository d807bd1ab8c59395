"""Records a champion that was set outside Dagster, as in MLflow's page, so that detections and catalogue follow it."""

import dagster as dg

from mlops_assets.detector.champion import latest_champion
from mlops_assets.jobs import DECIDE_CHAMPION, RETRAIN_DETECTOR, ROLLBACK, champion_config
from mlops_assets.use_case import UseCase
from resources.alias_lookup import alias_version
from resources.mlflow_address import MlflowUnavailableError
from resources.model_registry import CHAMPION, ModelRegistry
from resources.tables import Tables
from sensors.champion_decisions import champion_key, decide_champion
from sensors.requests import earlier_attempts, in_progress, run_request

TIMEOUT = 10.0
"""Seconds that a tick waits for MLflow, of the 60 that it may take."""


def champion_changed(use_case: UseCase, interval: int) -> dg.SensorDefinition:
    """The sensor of one use case; `interval` in seconds."""

    @dg.sensor(
        name="champion_changed",
        job_name=DECIDE_CHAMPION,
        minimum_interval_seconds=interval,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Records it when the alias of the champion was moved outside Dagster.",
    )
    def sensor(
        context: dg.SensorEvaluationContext, tables: Tables, model_registry: ModelRegistry
    ) -> dg.SensorResult | dg.SkipReason:
        # Before alias and table: a run that ends between the looks is seen in one of them.
        jobs = (RETRAIN_DETECTOR, DECIDE_CHAMPION, ROLLBACK)
        busy = next((run for job in jobs if (run := in_progress(context.instance, use_case.name, job))), None)
        try:
            alias = alias_version(model_registry.tracking_uri, model_registry.model_name, CHAMPION, TIMEOUT)
        except MlflowUnavailableError as error:
            return dg.SkipReason(f"{error}; asked again at the next tick")
        champion = latest_champion(tables)
        last = _last_decision(context.instance, use_case.name)
        attempts = earlier_attempts(context.instance, use_case.name, champion_key(alias, last))
        decision = decide_champion(alias, champion.version if champion else None, last, attempts, busy)
        if decision.attempt is None:
            return dg.SkipReason(decision.reason)
        context.log.info("Asking for a record: %s", decision.reason)
        request = run_request(use_case.name, decision)
        config = champion_config(decision="follow_alias")
        return dg.SensorResult(run_requests=[request._replace(run_config=config)])

    return sensor


def _last_decision(instance: dg.DagsterInstance, use_case: str) -> int:
    records = instance.fetch_materializations(dg.AssetKey([use_case, "champion_detector"]), limit=1).records
    return records[0].storage_id if records else 0
