"""The code location as a whole: both profiles load, every asset says what a person wants to know of it."""

import importlib.util
import json
from pathlib import Path

import dagster as dg
import pytest

import definitions
from definitions import build_defs, build_resources
from mlops_assets.compute import K8S_TAG, PROFILE_TAG
from mlops_assets.use_case import UseCase, UseCaseError, load_use_case
from resources.settings import PROJECT, Settings

CASE = UseCase.model_validate({"name": "case", "title": "Case", "start": "2026-10-01", "owner": "team:case"})
DAILY = {"raw_photos", "clean_photos", "detections"}
ASSETS = DAILY | {
    *("annotations", "equipment_classes", "split_assignments", "training_dataset"),
    *("detector_weights", "detector_evaluation", "champion_detector", "champion_history"),
    *("visit_inventory", "equipment_catalog", "equipment_changes", "catalog_pages", "review_queue"),
}


@pytest.fixture(scope="module", params=["local", "k8s"])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return build_defs(Settings(profile=request.param, home=tmp_path_factory.mktemp("home")), CASE)


def test_both_profiles_hold_the_whole_graph(loaded: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(loaded)
    graph = loaded.resolve_asset_graph()
    assert {key.path[-1] for key in graph.get_all_asset_keys()} == ASSETS
    assert {key.path[0] for key in graph.get_all_asset_keys()} == {"case"}


def test_every_asset_says_what_it_is(loaded: dg.Definitions) -> None:
    graph = loaded.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description, key
        assert node.group_name in {"photos", "labels", "dataset", "detector", "catalog", "monitoring"}
        assert node.owners == ["team:case"]
        assert node.kinds, key
        assert node.code_version, key
        assert (node.partitions_def is not None) == (key.path[-1] in DAILY)


def test_days_begin_with_the_use_case(loaded: dg.Definitions) -> None:
    days = loaded.resolve_asset_graph().get(dg.AssetKey(["case", "raw_photos"])).partitions_def
    assert isinstance(days, dg.DailyPartitionsDefinition)
    assert (days.get_first_partition_key(), str(days.timezone)) == ("2026-10-01", "Europe/Budapest")


def test_every_step_asks_for_what_it_needs_and_only_training_for_a_gpu(loaded: dg.Definitions) -> None:
    steps = {step.op.name: step.op for step in [*(loaded.assets or []), *(loaded.asset_checks or [])]}
    assert len(steps) == len(ASSETS) + 7
    with_gpu = set()
    for name, op in steps.items():
        config = json.loads(op.tags[K8S_TAG])
        assert config["job_spec_config"]["active_deadline_seconds"] > 0, name
        assert config["job_spec_config"]["backoff_limit"] == 0, name
        resources = config["container_config"]["resources"]
        assert {"cpu", "memory"} <= set(resources["requests"]) & set(resources["limits"]), name
        if "nvidia.com/gpu" in resources["limits"]:
            with_gpu.add(name)
            assert op.tags[PROFILE_TAG].startswith("gpu")
        else:
            assert op.tags[PROFILE_TAG] == "cpu_check" if "checks" in name else op.tags[PROFILE_TAG].startswith("cpu")
    assert with_gpu == {"detector_weights"}


def test_checks_on_day_assets_are_by_day(loaded: dg.Definitions) -> None:
    graph = loaded.resolve_asset_graph()
    checked = {key.asset_key.path[-1]: graph.get(key).partitions_def for key in graph.asset_check_keys}
    assert set(checked) == {
        *(
            "raw_photos",
            "clean_photos",
            "annotations",
            "training_dataset",
            "detections",
            "equipment_catalog",
            "review_queue",
        )
    }
    assert {asset for asset, days in checked.items() if days is not None} == DAILY


def test_schedule_and_sensors_run_from_the_start(loaded: dg.Definitions) -> None:
    repository = loaded.get_repository_def()
    (schedule,) = repository.schedule_defs
    assert (schedule.name, schedule.cron_schedule) == ("nightly_ingestion", "0 2 * * *")
    assert schedule.execution_timezone == "Europe/Budapest"
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    assert {sensor.name for sensor in repository.sensor_defs} == {
        *(
            "late_photos",
            "new_labels",
            "new_equipment_classes",
            "run_failures",
            "runs_canceled",
            "runs_succeeded",
            "lineage",
            "review",
        ),
        *("champion_changed", "component_changed", "late_photos"),
    }
    assert {sensor.default_status for sensor in repository.sensor_defs} == {dg.DefaultSensorStatus.RUNNING}


def test_the_review_queue_has_runs_of_its_own(loaded: dg.Definitions) -> None:
    """A queue that fails, or takes long, is none of the catalogue's business."""
    repository = loaded.get_repository_def()
    graph = loaded.resolve_asset_graph()
    followed = {
        sensor.name: {key.path[-1] for key in sensor.asset_selection.resolve(graph)}
        for sensor in repository.sensor_defs
        if isinstance(sensor, dg.AutomationConditionSensorDefinition) and sensor.asset_selection
    }
    assert followed == {"review": {"review_queue"}, "lineage": ASSETS - {"review_queue"}}


def test_two_use_cases_live_in_one_process(tmp_path: Path) -> None:
    other = CASE.model_copy(update={"name": "other"})
    settings = Settings(home=tmp_path)
    keys = [set(build_defs(settings, case).resolve_asset_graph().get_all_asset_keys()) for case in (CASE, other)]
    assert not keys[0] & keys[1]


def test_a_resource_can_be_put_in_place_of_the_deployments_own(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    own = build_resources(settings, CASE)["machine"]
    given = build_defs(settings, CASE, {"machine": "another"}).resources
    assert given is not None
    assert given["machine"] == "another"
    assert own != "another"


def test_another_use_case_is_an_attribute_of_the_module() -> None:
    assert isinstance(definitions.enclosures, dg.Definitions)
    with pytest.raises(UseCaseError, match=r"No use case file .*no_such\.yaml; use cases beside it: .*enclosures"):
        _ = definitions.no_such


def test_a_wrong_use_case_names_file_and_setting(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("name: wrong\ntitle: Wrong\nstart: 2026-10-01\ntraining: {epochs: 0}\nclases: []\n")
    with pytest.raises(UseCaseError) as caught:
        load_use_case(path)
    assert str(path) in str(caught.value)
    assert "training.epochs" in str(caught.value)
    assert "clases" in str(caught.value)


def test_the_shipped_use_cases_are_valid() -> None:
    names = [load_use_case(path).name for path in sorted((PROJECT / "use_cases").glob("*.yaml"))]
    assert "enclosures" in names


def test_what_steps_find_loaded_still_has_its_name() -> None:
    """The fork server skips a module that is gone without a word, and every step pays for it again."""
    gone = [name for name in definitions._PRELOADED if importlib.util.find_spec(name) is None]
    assert gone == []


def test_an_erasure_keeps_away_who_writes_the_same_tables(loaded: dg.Definitions) -> None:
    job = loaded.resolve_job_def("erase_photo")
    assert job.tags == {"mlops/use_case": "case", "mlops/one_at_a_time": "case/ingest_day"}
    ops = {op.name: op for op in job.all_node_defs if isinstance(op, dg.OpDefinition)}
    pools = {name: op.pool for name, op in ops.items() if op.pool}
    assert pools == {"erase_labels": "labels", "erase_from_datasets": "dataset", "erase_from_catalogue": "catalogue"}
    assets = {step.op.name: step.op.pool for step in loaded.assets or [] if isinstance(step, dg.AssetsDefinition)}
    for table, op in {
        "annotations": "erase_labels",
        "training_dataset": "erase_from_datasets",
        "visit_inventory": "erase_from_catalogue",
        "equipment_catalog": "erase_from_catalogue",
        "equipment_changes": "erase_from_catalogue",
        "catalog_pages": "erase_from_catalogue",
    }.items():
        assert assets[table] == pools[op], table
    for op in ops.values():
        assert op.tags[PROFILE_TAG] == "cpu_light"
        assert op.retry_policy is not None
