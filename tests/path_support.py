"""Runs the real definitions step by step in one process, against a real instance; shared by tests of whole paths."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from definitions import build_defs
from mlops_assets.jobs import IMPORT_LABELS, INGEST_DAY, RETRAIN_DETECTOR
from mlops_assets.tables import SCHEMAS
from mlops_assets.use_case import UseCase
from resources.settings import Places, Settings
from resources.tables import Tables

CATALOGUE = ("visit_inventory", "equipment_catalog", "equipment_changes", "catalog_pages")


@dataclass
class WholePath:
    """One use case from landing to catalogue."""

    settings: Settings
    use_case: UseCase
    instance: dg.DagsterInstance

    @property
    def places(self) -> Places:
        return self.settings.places(self.use_case.name)

    def table(self, name: str, day: str | None = None) -> pl.DataFrame:
        return Tables(root=self.places.store).read(name, SCHEMAS[name], day)

    def ingest(self, day: str) -> dg.ExecuteInProcessResult:
        return self.run(INGEST_DAY, day)

    def import_labels(self) -> dg.ExecuteInProcessResult:
        return self.run(IMPORT_LABELS)

    def retrain(self, **config: Any) -> dg.ExecuteInProcessResult:
        return self.run(RETRAIN_DETECTOR, config={"ops": {"detector_weights": {"config": config}}} if config else None)

    def run(self, job: str, day: str | None = None, config: Mapping[str, Any] | None = None) -> Any:
        definitions = build_defs(self.settings, self.use_case)
        return definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance, partition_key=day, run_config=config, raise_on_error=False
        )

    def materialize(self, *names: str, day: str | None = None) -> dg.ExecuteInProcessResult:
        definitions = build_defs(self.settings, self.use_case)
        keys = {dg.AssetKey([self.use_case.name, name]) for name in names}
        checks = {k for k in definitions.resolve_asset_graph().asset_check_keys if k.asset_key in keys}
        job = definitions.resolve_implicit_global_asset_job_def().get_subset(
            asset_selection=keys, asset_check_selection=checks
        )
        return job.execute_in_process(instance=self.instance, partition_key=day, raise_on_error=False)


def failed_checks(result: dg.ExecuteInProcessResult, *, warnings: bool = False) -> dict[str, str | None]:
    """Names of failed checks with what they say; also of those that only warn, if asked for."""
    return {
        e.check_name: e.description
        for e in result.get_asset_check_evaluations()
        if not e.passed and (warnings or e.severity is dg.AssetCheckSeverity.ERROR)
    }


def checks_run(result: dg.ExecuteInProcessResult) -> set[str]:
    return {evaluation.check_name for evaluation in result.get_asset_check_evaluations()}


def why(result: dg.ExecuteInProcessResult) -> str:
    """What made a run fail, for the message of an assertion."""
    events = [e for e in result.all_events if e.is_step_failure]
    return "\n".join(str(e.step_failure_data.error) for e in events)[-3000:]


def prepare(home: Path, case: Mapping[str, Any], instance: dg.DagsterInstance, **settings: Any) -> WholePath:
    path = WholePath(Settings(home=home, **settings), UseCase.model_validate(case), instance)
    Path(path.places.landing).mkdir(parents=True)
    return path
