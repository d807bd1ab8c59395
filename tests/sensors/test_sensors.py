"""The sensors against a real instance: repeated ticks, a restart with the same cursor, a failed run asked for again."""

import datetime as dt
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from definitions import build_defs, build_resources
from mlops_assets.detector.schema import CHAMPION_DETECTOR
from mlops_assets.jobs import IMPORT_LABELS, RETRAIN_DETECTOR
from mlops_assets.labels.class_decisions import labels_digest
from mlops_assets.labels.drop_state import LABEL_STATE, PHOTO_DAYS, WAITING_LABELS, drop_digest
from mlops_assets.labels.schema import EQUIPMENT_CLASSES
from mlops_assets.use_case import UseCase
from resources.class_decisions import ClassDecisionRecords
from resources.label_drop import LabelDrop
from resources.settings import Settings
from resources.tables import Tables
from sensors.new_labels import new_labels

CASE = UseCase.model_validate(
    {"name": "case", "title": "Case", "start": "2026-10-01", "new_class": {"growth_step": 10}}
)


@cache
def definitions_of(name: str) -> dg.Definitions:
    return build_defs(Settings(sensor_interval=1), CASE.model_copy(update={"name": name}))


@dataclass
class Ticks:
    """One sensor, evaluated as the daemon does, its requests put into the instance."""

    instance: dg.DagsterInstance
    settings: Settings
    name: str
    case: UseCase = CASE
    cursor: str | None = None
    keys: list[str] = field(default_factory=list)
    said: str = ""

    def __post_init__(self) -> None:
        self.definitions = definitions_of(self.case.name)

    def tick(self) -> list[dg.DagsterRun]:
        sensor = self.definitions.get_repository_def().get_sensor_def(self.name)
        with dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, resources=build_resources(self.settings, self.case)
        ) as context:
            data = sensor.evaluate_tick(context)
        self.cursor, self.said = data.cursor, data.skip_message or ""
        fresh = [request for request in data.run_requests or [] if request.run_key not in self.keys]
        self.keys += [str(request.run_key) for request in fresh]
        return [self.submit(sensor.job_name, request.tags) for request in fresh]

    def submit(self, job: str, tags: dict[str, str]) -> dg.DagsterRun:
        job_def = self.definitions.resolve_job_def(job)  # whose tags every run gets, whoever submits it
        run_tags = {**job_def.run_tags, **tags, "dagster/sensor_name": self.name}
        return self.instance.create_run_for_job(job_def, tags=run_tags, status=dg.DagsterRunStatus.NOT_STARTED)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, sensor_interval=1)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def drop_label(settings: Settings, name: str) -> None:
    folder = Path(settings.places("case").labels)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("[]")


def write_classes(settings: Settings, **boxes: int) -> None:
    rows = [
        {"class_id": i, "class_name": name, "aliases": [], "status": "active", "boxes": count, "enclosures": 5}
        for i, (name, count) in enumerate(boxes.items())
    ]
    frame = pl.DataFrame(rows, schema=EQUIPMENT_CLASSES)
    Tables(root=settings.places("case").store).write("equipment_classes", frame, EQUIPMENT_CLASSES)


def write_champion(settings: Settings, class_map: str, class_boxes: str | None = None) -> None:
    row = {
        "model_version": "1",
        "promoted": True,
        "reasons": [],
        "champion_version": "1",
        "champion_class_map": class_map,
        "champion_thresholds": "{}",
        "champion_export": "",
        "class_boxes": class_boxes,
        "champion_references": None,
    }
    frame = pl.DataFrame([row], schema=CHAMPION_DETECTOR)
    Tables(root=settings.places("case").store).write("champion_detector", frame, CHAMPION_DETECTOR)


def end(instance: dg.DagsterInstance, run: dg.DagsterRun, status: str) -> None:
    if status == "failed":
        instance.report_run_failed(run)
    elif status == "canceled":
        instance.report_run_canceled(run)
    else:
        instance.handle_new_event(
            dg.EventLogEntry(
                error_info=None,
                user_message="",
                level="debug",
                run_id=run.run_id,
                timestamp=1.0,
                dagster_event=dg.DagsterEvent("PIPELINE_SUCCESS", run.job_name),
            )
        )


def test_labels_are_imported_once_and_again_only_after_a_change(
    instance: dg.DagsterInstance, settings: Settings
) -> None:
    ticks = Ticks(instance, settings, "new_labels")
    assert ticks.tick() == []
    drop_label(settings, "a.json")
    assert ticks.tick() == []  # still being copied, for all it knows
    (run,) = ticks.tick()
    assert run.job_name == IMPORT_LABELS
    assert ticks.tick() == []  # running
    end(instance, run, "succeeded")
    assert ticks.tick() == []
    restarted = Ticks(instance, settings, "new_labels", cursor=ticks.cursor)
    assert restarted.tick() == []
    assert Ticks(instance, settings, "new_labels").tick() == []  # cursor lost: waits a tick …
    drop_label(settings, "b.json")
    assert ticks.tick() == []
    assert len(ticks.tick()) == 1


@pytest.mark.parametrize("outcome", ["failed", "canceled"])
def test_a_failed_import_is_asked_for_again_a_bounded_number_of_times(
    instance: dg.DagsterInstance, settings: Settings, outcome: str
) -> None:
    drop_label(settings, "a.json")
    ticks = Ticks(instance, settings, "new_labels")
    attempts = []
    for _ in range(12):
        for run in ticks.tick():
            attempts.append(run.tags["mlops/attempt"])
            end(instance, run, outcome)
    assert attempts == ["1", "2", "3"]
    assert len(set(ticks.keys)) == 3


def test_a_run_that_dagster_retries_itself_is_not_asked_for_beside_it(
    instance: dg.DagsterInstance, settings: Settings
) -> None:
    drop_label(settings, "a.json")
    ticks = Ticks(instance, settings, "new_labels")
    ticks.tick()
    (run,) = ticks.tick()
    instance.add_run_tags(run.run_id, {"dagster/will_retry": "true"})
    end(instance, run, "failed")
    assert ticks.tick() == []


def test_classes_that_the_champion_lacks_are_trained_once(instance: dg.DagsterInstance, settings: Settings) -> None:
    ticks = Ticks(instance, settings, "new_equipment_classes")
    assert ticks.tick() == []  # no label yet
    write_classes(settings, battery=12, router=30)
    (run,) = ticks.tick()
    assert (run.job_name, run.tags["mlops/new_classes"]) == (RETRAIN_DETECTOR, "0,1")
    assert ticks.tick() == []
    end(instance, run, "succeeded")
    write_champion(settings, '{"0": "battery", "1": "router"}')
    assert ticks.tick() == []
    write_classes(settings, battery=12, router=30, meter=11)
    (run,) = ticks.tick()
    assert run.tags["mlops/new_classes"] == "2"
    end(instance, run, "succeeded")  # refused: the champion still lacks the class
    assert ticks.tick() == []
    assert Ticks(instance, settings, "new_equipment_classes", cursor=ticks.cursor).tick() == []
    write_classes(settings, battery=99, router=99, meter=19)
    assert ticks.tick() == []  # grown too little
    write_classes(settings, battery=99, router=99, meter=20)
    assert len(ticks.tick()) == 1


def test_no_retraining_beside_another_that_a_person_started(instance: dg.DagsterInstance, settings: Settings) -> None:
    ticks = Ticks(instance, settings, "new_equipment_classes")
    write_classes(settings, battery=12)
    own = ticks.submit(RETRAIN_DETECTOR, {})
    assert ticks.tick() == []
    end(instance, own, "canceled")
    assert len(ticks.tick()) == 1


def test_another_use_cases_retraining_keeps_none_from_its_own(instance: dg.DagsterInstance, settings: Settings) -> None:
    """Jobs of two code locations have the same names, whether a sensor or a person started them."""
    other = Ticks(instance, settings, "new_equipment_classes", CASE.model_copy(update={"name": "other"}))
    started = other.submit(RETRAIN_DETECTOR, {})
    assert started.tags["mlops/use_case"] == "other"
    write_classes(settings, battery=12)
    (run,) = Ticks(instance, settings, "new_equipment_classes").tick()
    assert run.tags["mlops/use_case"] == "case"


def test_a_failed_retraining_is_asked_for_under_the_next_attempt(
    instance: dg.DagsterInstance, settings: Settings
) -> None:
    ticks = Ticks(instance, settings, "new_equipment_classes")
    write_classes(settings, battery=12)
    (first,) = ticks.tick()
    end(instance, first, "failed")
    (second,) = ticks.tick()
    assert (first.tags["mlops/attempt"], second.tags["mlops/attempt"]) == ("1", "2")
    assert first.tags["mlops/request_key"] == second.tags["mlops/request_key"]


def test_after_a_rollback_to_a_champion_without_a_class_nothing_is_trained_until_enough_is_labelled(
    instance: dg.DagsterInstance, settings: Settings
) -> None:
    now = dt.datetime.now(dt.UTC)
    judged = {"promoted": True, "reasons": ["(a) passed"], "kind": "judged", "champion_thresholds": "{}"}
    back = "rolled back from version 2 to 1 by Ada because it found ghosts"
    rows = [
        judged | {"model_version": "1", "champion_version": "1", "class_boxes": '{"0": 30}', "run_id": "a" * 8},
        judged
        | {"model_version": "2", "champion_version": "2", "class_boxes": '{"0": 30, "1": 12}', "run_id": "b" * 8},
        judged | {"model_version": "1", "champion_version": "1", "reasons": [back], "kind": "rolled_back"},
        judged | {"model_version": "9", "champion_version": "9", "reasons": ["set in MLflow"], "kind": "moved_outside"},
    ]
    for days, row in enumerate(rows):
        known = {"0": "battery", "1": "router"} if row["champion_version"] == "2" else {"0": "battery"}
        row |= {"champion_class_map": json.dumps(known), "decided_at": now - dt.timedelta(days=9 - days)}
        row |= {"champion_export": "", "run_id": row.get("run_id", "c" * 8)}
    table = pl.DataFrame(rows, schema=CHAMPION_DETECTOR)
    tables = Tables(root=settings.places("case").store)
    for decisions in (table.head(3), table):
        tables.write("champion_detector", decisions, CHAMPION_DETECTOR)
        ticks = Ticks(instance, settings, "new_equipment_classes")
        write_classes(settings, battery=40, router=21)
        for _ in range(3):
            assert ticks.tick() == []
        assert f"({back}" in ticks.said
        assert "promote it by hand, or label more (router has 21 of 22 boxes)" in ticks.said
    write_classes(settings, battery=40, router=22)
    assert len(ticks.tick()) == 1


@pytest.mark.parametrize("case", ["case", "other"])
def test_assets_chosen_by_hand_count_as_a_retraining_of_their_use_case(
    instance: dg.DagsterInstance, settings: Settings, case: str
) -> None:
    ticks = Ticks(instance, settings, "new_equipment_classes")
    write_classes(settings, battery=12)
    chosen = frozenset({dg.AssetKey([case, "detector_weights"])})
    run = dg.DagsterRun("__ASSET_JOB", asset_selection=chosen, status=dg.DagsterRunStatus.STARTED)
    instance.add_run(run)
    if case == "other":
        assert len(ticks.tick()) == 1
        return
    assert ticks.tick() == []
    assert f"a retraining is under way (run {run.run_id[:8]} is running)" in ticks.said
    end(instance, run, "canceled")
    assert len(ticks.tick()) == 1


def test_a_tick_says_what_it_waits_for(instance: dg.DagsterInstance, settings: Settings) -> None:
    ticks = Ticks(instance, settings, "new_equipment_classes")
    ticks.tick()
    assert ticks.said == "no class is active yet"
    write_classes(settings, battery=12, router=30)
    row = {"class_id": 2, "class_name": "surge_arrester", "status": "proposed", "boxes": 14, "enclosures": 2}
    reason = "has 14 of 20 boxes, 2 of 3 enclosures"
    tables = Tables(root=settings.places("case").store)
    proposed = pl.DataFrame([row | {"reason": reason, "known_since": 2}], schema=EQUIPMENT_CLASSES)
    table = pl.concat([tables.read("equipment_classes", EQUIPMENT_CLASSES), proposed])
    tables.write("equipment_classes", table, EQUIPMENT_CLASSES)
    write_champion(settings, '{"0": "battery", "1": "router"}', class_boxes='{"0": 12, "1": 7}')
    ticks.tick()
    assert ticks.said == (
        "version 1, the champion, knows all 2 classes; waiting: surge_arrester has 14 of 20 boxes, 2 of 3 enclosures; "
        "23 labelled boxes are new since the champion's dataset, which alone asks for nothing"
    )


def materialize(instance: dg.DagsterInstance, asset: str, partition: str | None = None, **metadata: object) -> None:
    event = dg.AssetMaterialization(dg.AssetKey(["case", asset]), partition=partition, metadata=metadata)
    instance.report_runless_asset_event(event)


def test_labels_that_wait_for_photos_are_imported_again_after_these_were_taken_in(
    instance: dg.DagsterInstance, settings: Settings
) -> None:
    drop_label(settings, "a.json")
    ticks = Ticks(instance, settings, "new_labels")
    ticks.tick()
    (run,) = ticks.tick()
    materialize(instance, "raw_photos", "2026-10-05")
    state = labels_digest(drop_digest(settings.places("case").labels), [], CASE)
    materialize(instance, "annotations", **{LABEL_STATE: state, WAITING_LABELS: 2, PHOTO_DAYS: 1})
    materialize(instance, "equipment_classes")
    end(instance, run, "succeeded")
    assert ticks.tick() == []
    materialize(instance, "raw_photos", "2026-10-05")  # a day taken in again brings no photos for labels
    assert ticks.tick() == []
    assert ticks.said == "1 files: imported as it is; 2 labels wait for their photos"
    materialize(instance, "raw_photos", "2026-10-06")
    (again,) = ticks.tick()
    assert again.tags["mlops/reason"] == "2 labels wait for their photos: first request"
    materialize(instance, "annotations", **{LABEL_STATE: state, WAITING_LABELS: 0, PHOTO_DAYS: 2})
    materialize(instance, "equipment_classes")
    end(instance, again, "succeeded")
    assert ticks.tick() == []


def test_a_large_drop_is_listed_over_several_ticks(instance: dg.DagsterInstance, settings: Settings) -> None:
    for name in ("a.json", "b.json", "c.json"):
        drop_label(settings, name)
    seconds = itertools.count(0, 30)  # every look at the clock, half a minute has passed
    sensor = new_labels(CASE, 1, clock=lambda: next(seconds))
    places = settings.places("case")
    resources = {
        "label_drop": LabelDrop(address=places.labels),
        "class_decisions": ClassDecisionRecords(root=places.store),
    }
    cursor, said = None, []
    for _ in range(8):
        with dg.build_sensor_context(instance, cursor=cursor, resources=resources) as context:
            data = sensor.evaluate_tick(context)
        cursor = data.cursor
        said.append(data.skip_message or [request.tags["mlops/reason"] for request in data.run_requests or []])
    one_pass = [f"listing the label drop: {n} entries, {n} files so far" for n in (1, 2, 3)]
    still = "3 files: the labels changed; waiting until they stand still"
    assert said == [*one_pass, still, *one_pass, ["first request"]]
