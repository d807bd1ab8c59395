"""The sensor of late photos against a real instance, with a landing zone and ledgers on disk."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from definitions import build_defs, build_resources
from mlops_assets.jobs import INGEST_DAY
from mlops_assets.photos.landing import pair
from mlops_assets.photos.schema import RAW_PHOTOS
from mlops_assets.use_case import UseCase
from resources.photo_store import PhotoStore
from resources.settings import Settings
from resources.tables import Tables
from sensors.decisions import Attempt, LandedDay, decide_late

TODAY = dt.datetime.now(ZoneInfo("Europe/Budapest")).date()
CASE = UseCase.model_validate(
    {"name": "case", "title": "Case", "start": str(TODAY - dt.timedelta(30)), "intake": {"late_days": 5}}
)


def day(back: int) -> str:
    return str(TODAY - dt.timedelta(back))


@dataclass
class Sensor:
    instance: dg.DagsterInstance
    settings: Settings
    cursor: str | None = None

    def tick(self) -> dict[str, str]:
        """Days asked for with the reason why; the runs are put into the instance as the daemon does."""
        definitions = build_defs(self.settings, CASE)
        repository = definitions.get_repository_def()
        sensor = repository.get_sensor_def("late_photos")
        resources = build_resources(self.settings, CASE)
        with dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, repository_def=repository, resources=resources
        ) as context:
            data = sensor.evaluate_tick(context)
        self.cursor, self.said = data.cursor, data.skip_message or ""
        job = definitions.resolve_job_def(INGEST_DAY)
        for request in data.run_requests or []:
            tags = {**job.run_tags, **request.tags, "dagster/partition": request.partition_key}
            self.instance.create_run_for_job(job, tags=tags, status=dg.DagsterRunStatus.NOT_STARTED)
        return {str(request.partition_key): request.tags["mlops/reason"] for request in data.run_requests or []}

    def land(self, back: int, name: str) -> None:
        path = Path(self.settings.places("case").landing) / day(back) / "CAB-1" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())

    def take_in(self, back: int) -> None:
        """The ledger as the day's run leaves it, and the run's end."""
        places = self.settings.places("case")
        uploads = pair(PhotoStore(landing=places.landing, root=places.store).list_day(day(back)))
        rows = [{"landing_uri": upload.file.uri, "etag": upload.etag} for upload in uploads]
        ledger = pl.DataFrame(rows, schema_overrides=RAW_PHOTOS).select(
            pl.col(name) if name in ("landing_uri", "etag") else pl.lit(None, dtype).alias(name)
            for name, dtype in RAW_PHOTOS.items()
        )
        Tables(root=places.store).write("raw_photos", ledger, RAW_PHOTOS, day(back))

    def end(self, *, failed: bool = False) -> None:
        for run in self.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.NOT_STARTED])):
            if failed:
                self.instance.report_run_failed(run)
            else:
                self.instance.report_run_canceled(run)


@pytest.fixture
def sensor(tmp_path: Path) -> Iterator[Sensor]:
    with dg.instance_for_test() as instance:
        yield Sensor(instance, Settings(home=tmp_path, sensor_interval=1))


def test_a_day_is_asked_for_once_its_landing_stands_still_and_never_beside_its_run(sensor: Sensor) -> None:
    sensor.land(3, "a.jpg")
    sensor.take_in(3)
    assert (sensor.tick(), sensor.said) == ({}, "nothing landed late")
    sensor.land(3, "b.jpg")
    assert sensor.tick() == {}
    assert "waiting until the day's landing stands still" in sensor.said
    sensor.land(3, "c.jpg")
    assert sensor.tick() == {}
    assert sensor.tick() == {day(3): "2 late uploads: first request"}
    assert sensor.tick() == {}
    sensor.land(3, "d.jpg")  # while the run is under way
    assert sensor.tick() == {}
    assert sensor.tick() == {}
    assert "the day is being taken in" in sensor.said
    sensor.end()
    sensor.take_in(3)
    assert sensor.tick() == {}


def test_a_failed_run_is_asked_for_again_a_bounded_number_of_times(sensor: Sensor) -> None:
    sensor.land(2, "a.jpg")
    assert sensor.tick() == {}
    for attempt in (1, 2, 3):
        assert len(sensor.tick()) == 1, attempt
        sensor.end(failed=True)
    assert sensor.tick() == {}
    assert "failed 3 times" in sensor.said


def test_yesterday_is_the_nights_today_and_days_out_of_the_window_are_left_alone(sensor: Sensor) -> None:
    for back in (0, 1, 2, 6):
        sensor.land(back, "a.jpg")
    assert sensor.tick() == {}
    assert list(sensor.tick()) == [day(2)]
    sensor.take_in(1)
    sensor.land(1, "b.jpg")
    sensor.tick()
    assert list(sensor.tick()) == [day(1)]


def test_no_landing_zone_is_told_and_is_no_error(sensor: Sensor) -> None:
    assert sensor.tick() == {}
    assert "No landing zone" in sensor.said


@given(
    st.builds(LandedDay, st.just("2026-10-06"), st.sampled_from("ab"), st.integers(0, 2), st.booleans(), st.booleans()),
    st.sampled_from(["", "a", "b"]),
    st.lists(st.builds(Attempt, st.integers(1, 3), st.sampled_from(["running", "succeeded", "failed"])), max_size=3),
)
def test_a_request_is_for_late_uploads_that_stand_still_and_for_nothing_else(
    landed: LandedDay, seen: str, attempts: list[Attempt]
) -> None:
    decision = decide_late(landed, seen, attempts)
    used = {attempt.number for attempt in attempts}
    if decision.attempt is not None:
        assert landed.late
        assert landed.digest == seen
        assert not landed.awaited
        assert not landed.busy
        assert all(attempt.status == "failed" for attempt in attempts)
        assert decision.attempt not in used
    elif landed.late and landed.digest == seen and not (landed.awaited or landed.busy):
        assert attempts
