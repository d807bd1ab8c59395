"""The sensor component_changed against an instance: nothing is lost, asked for twice or for ever."""

from collections.abc import Iterator

import dagster as dg
import pytest
from component_graph import CATALOGUE, DAILY, DAYS, PARTITIONS, TODAY, TRAINING, Deployment, described, graph, key

from mlops_assets.jobs import INGEST_DAY, ONE_AT_A_TIME_TAG
from mlops_assets.use_case import ComponentRules
from sensors.component_changed import LIMIT
from sensors.decisions import MAX_ATTEMPTS


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def test_what_costs_much_follows_where_the_use_case_says_so(instance: dg.DagsterInstance) -> None:
    deployment = Deployment(instance, ComponentRules(retrain=True, ingest_photos_again=True))
    deployment.make_everything()
    deployment.deploy({**TODAY, "raw_photos": "other", "training_dataset": "other"})
    asked = described(deployment.ask())
    assert asked[:-1] == [(INGEST_DAY, day, DAILY) for day in DAYS]
    assert asked[-1] == ("retrain_detector", None, TRAINING - {"split_assignments"})


def test_a_day_never_made_is_left_to_the_schedule_and_only_what_exists_is_made_again(
    instance: dg.DagsterInstance,
) -> None:
    deployment = Deployment(instance)
    assert deployment.run({"raw_photos", "clean_photos"}, DAYS[1])
    deployment.deploy({**TODAY, "clean_photos": "other"})
    assert described(deployment.ask()) == [(INGEST_DAY, DAYS[1], {"clean_photos"})]


def test_days_whose_order_matters_go_one_after_the_other_and_others_side_by_side(
    instance: dg.DagsterInstance,
) -> None:
    deployment = Deployment(instance)
    deployment.make_everything()
    deployment.deploy({**TODAY, "detections": "other"})
    side_by_side = [request.tags[ONE_AT_A_TIME_TAG] for request in deployment.ask()]
    assert len(set(side_by_side)) == len(DAYS)
    deployment.deploy({**TODAY, "clean_photos": "other"})
    assert [request.tags.get(ONE_AT_A_TIME_TAG) for request in deployment.ask()] == [None] * len(DAYS)  # as the job


def test_a_change_while_its_run_is_under_way_is_not_lost(instance: dg.DagsterInstance) -> None:
    deployment = Deployment(instance)
    deployment.make_everything(DAYS[:1])
    deployment.deploy({**TODAY, "detections": "second"})
    (request,) = deployment.ask()
    deployment.deploy({**TODAY, "detections": "third"})  # before the run of the second has made anything
    deployment.definitions = graph({**TODAY, "detections": "second"})
    assert deployment.do(request)
    deployment.deploy({**TODAY, "detections": "third"})
    (again,) = deployment.ask()
    assert deployment.do(again)
    assert deployment.ask() == []


def test_going_back_and_forth_asks_each_time(instance: dg.DagsterInstance) -> None:
    deployment = Deployment(instance)
    deployment.make_everything(DAYS[:1])
    for version in ("second", "first", "second", "first"):
        deployment.deploy({**TODAY, "visit_inventory": version})
        (request,) = deployment.ask()
        assert deployment.ask() == [], "asked for twice"
        assert deployment.do(request)
        assert deployment.ask() == []


def test_a_run_that_fails_is_asked_for_again_a_bounded_number_of_times_until_the_code_changes(
    instance: dg.DagsterInstance,
) -> None:
    deployment = Deployment(instance)
    deployment.make_everything(DAYS[:1])
    deployment.deploy({**TODAY, "detections": "broken"})
    for attempt in range(1, MAX_ATTEMPTS + 1):
        (request,) = deployment.ask()
        assert request.tags["mlops/attempt"] == str(attempt)
        assert not deployment.do(request, fail="")
    assert deployment.ask() == []
    deployment.deploy({**TODAY, "detections": "mended"})
    (request,) = deployment.ask()
    assert deployment.do(request)


def test_the_catalogue_waits_for_days_and_follows_once(instance: dg.DagsterInstance) -> None:
    deployment = Deployment(instance)
    deployment.make_everything()
    deployment.deploy({**TODAY, "detections": "other", "equipment_catalog": "other"})
    requests = deployment.ask()
    assert {request.job_name for request in requests} == {INGEST_DAY}
    assert all(deployment.do(request) for request in requests)
    assert set(deployment.conditions()) == CATALOGUE
    assert deployment.run(CATALOGUE)
    assert deployment.ask() == []


def test_a_day_that_something_else_makes_is_left_alone(instance: dg.DagsterInstance) -> None:
    deployment = Deployment(instance)
    deployment.make_everything()
    deployment.deploy({**TODAY, "detections": "other"})
    job = deployment.definitions.resolve_implicit_global_asset_job_def()
    started = instance.create_run_for_job(
        job.get_subset(asset_selection={key("detections")}),
        asset_selection=frozenset({key("detections")}),
        tags={"dagster/partition": DAYS[0]},
        status=dg.DagsterRunStatus.STARTED,
    )
    assert [request.partition_key for request in deployment.ask()] == DAYS[1:]
    instance.report_run_canceled(started)
    assert [request.partition_key for request in deployment.ask()] == DAYS[:1]


def test_many_days_are_asked_for_in_portions(instance: dg.DagsterInstance) -> None:
    deployment = Deployment(instance)
    days = PARTITIONS.get_partition_keys()[: LIMIT + 10]
    for day in days:
        instance.report_runless_asset_event(dg.AssetMaterialization(key("detections"), partition=day))
    asked = deployment.ask()
    assert [request.partition_key for request in asked] == days[:LIMIT]
    for request in asked:
        assert deployment.do(request)
    assert [request.partition_key for request in deployment.ask()] == days[LIMIT:]


def test_a_restart_without_a_cursor_finds_the_same(instance: dg.DagsterInstance) -> None:
    deployment = Deployment(instance)
    deployment.make_everything()
    deployment.deploy({**TODAY, "detections": "other"})
    first = [request.run_key for request in deployment.ask()]
    deployment.cursor, deployment.keys = None, set()
    assert [request.run_key for request in deployment.ask()] == first
