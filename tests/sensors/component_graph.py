"""The real asset graph without its work, deployed with any code versions on an instance."""

import dagster as dg
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleCauseCategory, StaleStatus
from dagster._core.loader import LoadingContextForTest

from definitions import build_defs
from mlops_assets.jobs import STEPS, build_jobs
from mlops_assets.use_case import ComponentRules, UseCase
from resources.settings import Settings
from sensors.component_changed import component_changed

CASE = UseCase.model_validate({"name": "case", "title": "Case", "start": "2026-10-05"})
DAYS = ["2026-10-05", "2026-10-06", "2026-10-07"]
DAILY = {"raw_photos", "clean_photos", "detections"}
CATALOGUE = set(STEPS["rebuild_catalog"])
LABELS = set(STEPS["import_labels"])
TRAINING = set(STEPS["retrain_detector"])
NO_RULES = ComponentRules()
PARTITIONS = dg.DailyPartitionsDefinition("2026-10-05", end_date="2027-02-01", timezone="Europe/Budapest")
REAL = build_defs(Settings(), CASE).resolve_asset_graph()
TODAY = {key.path[-1]: str(REAL.get(key).code_version) for key in REAL.get_all_asset_keys()}


def key(name: str) -> dg.AssetKey:
    return dg.AssetKey(["case", name])


def graph(versions: dict[str, str], rules: ComponentRules = NO_RULES) -> dg.Definitions:
    """The real graph: lineage, conditions, jobs and this sensor, with given code versions and without its work."""

    def without_its_work(name: str) -> dg.AssetsDefinition:
        node = REAL.get(key(name))

        @dg.asset(
            key=key(name),
            deps=list(node.parent_keys),
            partitions_def=PARTITIONS if name in DAILY else None,
            automation_condition=node.automation_condition,
            code_version=versions[name],
        )
        def made(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
            if "fail" in context.run.tags:
                raise RuntimeError("asked to fail")
            # As in the real asset: only a promotion gives another data version.
            return dg.MaterializeResult(data_version=dg.DataVersion("1") if name == "champion_detector" else None)

        return made

    case = CASE.model_copy(update={"component_changes": rules})
    jobs = build_jobs(case, {})
    return dg.Definitions(
        assets=[without_its_work(name) for name in sorted(versions)],
        jobs=list(jobs.values()),
        sensors=[component_changed(case, jobs, 30)],
    )


class Deployment:
    """One instance and what is deployed on it."""

    def __init__(
        self,
        instance: dg.DagsterInstance,
        rules: ComponentRules = NO_RULES,
        versions: dict[str, str] = TODAY,
    ) -> None:
        self.instance = instance
        self.rules = rules
        self.cursor: str | None = None
        self.lineage: object = None
        self.keys: set[str] = set()
        self.deploy(versions)

    def deploy(self, versions: dict[str, str]) -> None:
        self.definitions = graph(versions, self.rules)

    def run(self, names: set[str], day: str | None = None, **tags: str) -> bool:
        job = self.definitions.resolve_implicit_global_asset_job_def().get_subset(
            asset_selection={key(name) for name in names}
        )
        return job.execute_in_process(
            instance=self.instance, partition_key=day, tags=tags, raise_on_error=False
        ).success

    def make_everything(self, days: list[str] = DAYS) -> None:
        for day in days:
            assert self.run({"raw_photos", "clean_photos"}, day)
        assert self.run(LABELS | TRAINING)
        for day in days:
            assert self.run({"detections"}, day)
        assert self.run(CATALOGUE)
        self.conditions()
        self.conditions()

    def ask(self) -> list[dg.RunRequest]:
        """One tick of the sensor."""
        repository = self.definitions.get_repository_def()
        with dg.build_sensor_context(instance=self.instance, cursor=self.cursor, repository_def=repository) as context:
            data = repository.get_sensor_def("component_changed").evaluate_tick(context)
        self.cursor = data.cursor
        fresh = [request for request in data.run_requests or [] if request.run_key not in self.keys]
        self.keys |= {str(request.run_key) for request in fresh}
        return fresh

    def do(self, request: dg.RunRequest, **tags: str) -> bool:
        names = {asset.path[-1] for asset in request.asset_selection or ()}
        return self.run(names, request.partition_key, **{**request.tags, **tags})

    def conditions(self) -> dict[str, set[str | None]]:
        """One tick of the conditions: partitions by asset, but for the review queue, which has a sensor of its own."""
        result = dg.evaluate_automation_conditions(self.definitions, self.instance, cursor=self.lineage)  # type: ignore[arg-type]
        self.lineage = result.cursor
        followed = (key(name) for name in TODAY if name != "review_queue")
        asked = {a.path[-1]: set(result.get_requested_partitions(a)) for a in followed}
        return {name: partitions for name, partitions in asked.items() if partitions}

    def changed_code(self) -> set[str]:
        """Assets that the UI shows as stale because of their own code, on all days or as a whole."""
        resolver = CachingStaleStatusResolver(
            self.instance, self.definitions.resolve_asset_graph(), LoadingContextForTest(self.instance)
        )
        return {
            name
            for name in TODAY
            for day in (DAYS if name in DAILY else [None])
            if resolver.get_status(key(name), day) == StaleStatus.STALE
            and any(
                cause.category == StaleCauseCategory.CODE and cause.key.asset_key == key(name)  # type: ignore[union-attr]
                for cause in resolver.get_stale_causes(key(name), day)
            )
        }


def described(requests: list[dg.RunRequest]) -> list[tuple[str | None, str | None, set[str]]]:
    return [(r.job_name, r.partition_key, {a.path[-1] for a in r.asset_selection or ()}) for r in requests]
