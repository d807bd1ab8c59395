"""The conditions champion → detections → catalogue, evaluated by Dagster on the real asset graph."""

from collections.abc import Iterator

import dagster as dg
import pytest

from definitions import build_defs
from mlops_assets.use_case import UseCase
from resources.settings import Settings

DAYS = ["2026-10-05", "2026-10-06", "2026-10-07"]
CASE = UseCase.model_validate({"name": "case", "title": "Case", "start": "2026-10-05"})
PARTITIONS = dg.DailyPartitionsDefinition("2026-10-05", end_date="2026-10-12", timezone="Europe/Budapest")


def key(name: str) -> dg.AssetKey:
    return dg.AssetKey(["case", name])


REAL = build_defs(Settings(), CASE).resolve_asset_graph()


def without_its_work(asset_key: dg.AssetKey) -> dg.AssetsDefinition:
    """An asset of the real graph: its name, lineage and condition."""
    node = REAL.get(asset_key)

    @dg.asset(
        key=asset_key,
        deps=list(node.parent_keys),
        partitions_def=PARTITIONS if node.partitions_def else None,
        automation_condition=node.automation_condition,
    )
    def made(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        return dg.MaterializeResult(
            data_version=dg.DataVersion(context.run.tags["version"]) if "version" in context.run.tags else None
        )

    return made


@dg.asset_check(asset=key("clean_photos"), blocking=True, partitions_def=PARTITIONS)
def cleaned(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed="bad" not in context.run.tags)


@dg.asset_check(asset=key("equipment_catalog"), blocking=True)
def catalogued() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


ASSETS = [without_its_work(asset_key) for asset_key in sorted(REAL.get_all_asset_keys())]
DEFINITIONS = dg.Definitions(assets=ASSETS, asset_checks=[cleaned, catalogued])
CATALOGUE = {"visit_inventory", "equipment_catalog", "equipment_changes", "catalog_pages"}


class Automation:
    """Ticks of the automation sensor against one instance."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.cursor: object = None
        self.queue_asked = 0

    def _job(self, *names: str) -> dg.JobDefinition:
        whole = DEFINITIONS.resolve_implicit_global_asset_job_def()
        return whole.get_subset(asset_selection={key(name) for name in names})

    def run(self, *names: str, day: str | None = None, **tags: str) -> bool:
        return (
            self._job(*names)
            .execute_in_process(instance=self.instance, partition_key=day, tags=tags, raise_on_error=False)
            .success
        )

    def start(self, name: str, day: str) -> None:
        """A run that is still going on, as the daemon would have started it."""
        job = self._job(name)
        tags = {"dagster/partition": day}
        self.started = self.instance.create_run_for_job(
            job, asset_selection=frozenset({key(name)}), tags=tags, status=dg.DagsterRunStatus.STARTED
        )

    def finish(self) -> None:
        """The run that was started is canceled."""
        self.instance.report_run_canceled(self.started)

    def tick(self) -> dict[str, set[str | None]]:
        result = dg.evaluate_automation_conditions(DEFINITIONS, self.instance, cursor=self.cursor)  # type: ignore[arg-type]
        self.cursor = result.cursor
        asked = {a.key.path[-1]: set(result.get_requested_partitions(a.key)) for a in ASSETS}
        # The queue has a sensor, and runs, of its own.
        self.queue_asked += bool(asked.pop("review_queue"))
        return {name: partitions for name, partitions in asked.items() if partitions}


@pytest.fixture
def automation() -> Iterator[Automation]:
    with dg.DagsterInstance.ephemeral() as instance:
        automation = Automation(instance)
        automation.tick()
        for day in DAYS[:2]:
            automation.run("raw_photos", "clean_photos", "detections", day=day)
        automation.tick()
        yield automation


def test_nothing_is_made_before_there_is_a_champion(automation: Automation) -> None:
    automation.run("equipment_classes")
    assert automation.tick() == {}


def test_a_new_champion_asks_for_the_days_looked_at_and_then_once_for_the_catalogue(automation: Automation) -> None:
    automation.run("equipment_classes")
    automation.run("champion_detector", version="1")
    assert automation.tick() == {"detections": set(DAYS[:2])}
    automation.start("detections", day=DAYS[0])
    assert automation.tick() == {}
    automation.finish()
    for day in DAYS[:2]:
        automation.run("detections", day=day)
    assert automation.tick() == {name: {None} for name in CATALOGUE}
    assert automation.tick() == {}


def test_a_refused_candidate_asks_for_nothing(automation: Automation) -> None:
    automation.run("equipment_classes")
    automation.run("champion_detector", version="1")
    automation.tick()
    for day in DAYS[:2]:
        automation.run("detections", day=day)
    automation.tick()
    automation.run(*CATALOGUE)
    automation.tick()
    automation.run("champion_detector", version="1")
    assert automation.tick() == {}
    automation.run("champion_detector", version="2")
    assert automation.tick() == {"detections": set(DAYS[:2])}


def test_a_bad_day_stops_itself_and_not_the_catalogue(automation: Automation) -> None:
    automation.run("equipment_classes")
    automation.run("champion_detector", version="1")
    automation.tick()
    assert not automation.run("raw_photos", "clean_photos", "detections", day=DAYS[2], bad="yes")
    for day in DAYS[:2]:
        automation.run("detections", day=day)
    assert set(automation.tick()) == CATALOGUE
    automation.run(*CATALOGUE)
    automation.run("champion_detector", version="2")
    asked = automation.tick()
    assert asked == {"detections": set(DAYS[:2])}


def test_a_new_day_reaches_the_catalogue(automation: Automation) -> None:
    automation.run("equipment_classes")
    automation.run("champion_detector", version="1")
    automation.tick()
    automation.run(*CATALOGUE)
    automation.tick()
    automation.run("raw_photos", "clean_photos", "detections", day=DAYS[2])
    assert set(automation.tick()) == CATALOGUE


def test_the_review_queue_follows_days_labels_and_decisions_once_each(automation: Automation) -> None:
    assert automation.queue_asked == 1  # by the first days, before there is a label or a champion
    automation.run("review_queue")
    automation.tick()
    automation.run("annotations", "equipment_classes")
    automation.tick()
    assert automation.queue_asked == 2
    automation.run("review_queue")
    automation.tick()
    assert automation.queue_asked == 2


def test_the_review_queue_waits_for_the_days_of_a_new_champion(automation: Automation) -> None:
    automation.run("review_queue")
    automation.run("champion_detector", version="1")
    assert automation.tick() == {"detections": set(DAYS[:2])}
    automation.start("detections", day=DAYS[0])
    automation.tick()
    assert automation.queue_asked == 1
    automation.finish()
    automation.run("detections", day=DAYS[1])
    automation.run("detections", day=DAYS[0])
    automation.tick()
    automation.tick()
    assert automation.queue_asked == 2


def test_a_refused_candidate_asks_for_the_review_queue_alone(automation: Automation) -> None:
    automation.run("equipment_classes")
    automation.run("champion_detector", version="1")
    automation.tick()
    for day in DAYS[:2]:
        automation.run("detections", day=day)
    automation.tick()
    automation.run("review_queue", *CATALOGUE)
    automation.tick()
    before = automation.queue_asked
    automation.run("champion_detector", version="1")
    assert automation.tick() == {}
    assert automation.tick() == {}
    assert automation.queue_asked == before + 1


def test_a_bad_day_does_not_stop_the_review_queue(automation: Automation) -> None:
    automation.run("review_queue")
    automation.tick()
    assert not automation.run("raw_photos", "clean_photos", "detections", day=DAYS[2], bad="yes")
    automation.run("detections", day=DAYS[0])
    automation.tick()
    assert automation.queue_asked == 2
