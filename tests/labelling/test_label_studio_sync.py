"""Synchronisations with a small server on loopback that fails at every moment in turn."""

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from label_studio_double import TOKEN, Fault, LabelStudioDouble
from labelling_rows import CLASSES, classes, photo, queue, region, typed_name

from mlops_assets.labelling.interface import UNLISTED
from mlops_assets.labelling.schema import LABEL_STUDIO_TASKS
from mlops_assets.labelling.sync import Inputs, Synced, synchronise
from mlops_assets.labels.drop import list_drop
from mlops_assets.labels.schema import ANNOTATIONS
from resources.label_drop import LabelDrop
from resources.label_studio import LabelStudio, LabelStudioError, LabelStudioUnavailableError

FAULTS: tuple[Fault, ...] = ("500", "reset", "500 after", "reset after")


@dataclass
class Sides:
    """Both sides of a synchronisation, and what is remembered between two."""

    double: LabelStudioDouble
    folder: Path
    token: str = TOKEN
    known: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=LABEL_STUDIO_TASKS))
    hours: int = 0

    @property
    def server(self) -> LabelStudio:
        store = self.folder / "home" / "store"
        return LabelStudio(
            url=self.double.url,
            token=self.token,
            title="case",
            photos=str(store / "photos"),
            document_root=str(self.folder / "home"),
            timeout_seconds=5,
        )

    @property
    def drop(self) -> LabelDrop:
        return LabelDrop(address=str(self.folder / "labels"))

    def sync(self, *numbers: int, drop: LabelDrop | None = None, **more: Any) -> Synced:
        given = {
            "queue": queue(*numbers),
            "classes": CLASSES,
            "annotations": pl.DataFrame(schema=ANNOTATIONS),
            "erased": (),
            "keep": dt.timedelta(days=3),
        } | more
        now = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC) + dt.timedelta(hours=self.hours)
        synced = synchronise(self.server, drop or self.drop, Inputs(previous=self.known, **given), lambda: now)
        self.known = synced.tasks  # written last: a synchronisation that fails leaves it as it was
        return synced

    def sync_until_it_works(self, *numbers: int, **more: Any) -> int:
        """As Dagster's retries do; returns how often it failed."""
        for failures in range(5):
            try:
                self.sync(*numbers, **more)
            except LabelStudioUnavailableError:
                continue
            return failures
        raise AssertionError("it fails for ever")

    def labelled(self) -> dict[str, str]:
        """What is in the label drop, without numbers that differ from one history to another."""
        found = {}
        for file in list_drop(self.drop.path()):
            text = file.path.read_text()
            names = [name for name in ("router", "fan tray", "surge arrester", UNLISTED) if f'"{name}"' in text]
            (shown,) = [photo(number) for number in range(20) if f'"photo_id": "{photo(number)}"' in text]
            found[shown] = ", ".join(names)
        return found

    def held(self) -> list[tuple[str, int, int]]:
        tasks = self.double.tasks.values()
        return sorted((each["data"]["photo_id"], len(each["predictions"]), len(each["annotations"])) for each in tasks)


@pytest.fixture
def sides(tmp_path: Path) -> Iterator[Sides]:
    with LabelStudioDouble() as double:
        yield Sides(double, tmp_path)


def task_of(sides: Sides, number: int) -> int:
    (task,) = sides.double.by_photo()[photo(number)]
    return int(task["id"])


def test_the_queue_becomes_tasks_once(sides: Sides) -> None:
    assert dict(sides.sync(2, 1).done)["tasks added"] == 2
    before = len(sides.double.asked)
    assert not any(sides.sync(2, 1).done.values())
    assert {method for method, _ in sides.double.asked[before:]} == {"GET"}
    assert [task["data"]["photo_id"] for task in sides.double.tasks.values()] == [photo(2), photo(1)]
    (project,) = sides.double.projects.values()
    assert (project["title"], project["model_version"]) == ("case", "champion")


def test_only_normalised_photos_are_shown(sides: Sides) -> None:
    sides.sync(1)
    sides.sync(1)
    (storage,) = sides.double.storages
    assert storage["path"] == str(sides.folder / "home" / "store" / "photos")
    (task,) = sides.double.tasks.values()
    assert task["data"]["image"] == f"/data/local-files/?d=store/photos/{photo(1)[:2]}/{photo(1)}.jpg"


def test_photos_in_an_object_store_are_shown_by_their_address(sides: Sides) -> None:
    given = {"url": "http://127.0.0.1:1", "token": TOKEN, "title": "case"}
    in_bucket = LabelStudio(**given, photos="s3://bucket/case/store/photos")
    assert in_bucket.photo_address(photo(1)) == f"s3://bucket/case/store/photos/{photo(1)[:2]}/{photo(1)}.jpg"
    with pytest.raises(LabelStudioError, match="DOCUMENT_ROOT"):
        LabelStudio(**given, photos="/elsewhere/photos", document_root="/home").photo_address(photo(1))


def test_what_is_submitted_comes_back_once(sides: Sides) -> None:
    sides.sync(1, 2)
    sides.double.annotate(task_of(sides, 1), [region(UNLISTED), typed_name("surge arrester"), region("router", 2)])
    sides.double.draft(task_of(sides, 2), [region("router")])
    assert sides.sync(1, 2).done["labellings brought back"] == 1
    (file,) = list_drop(sides.drop.path())
    assert not any(sides.sync(1, 2).done.values())
    assert list_drop(sides.drop.path()) == [file], "an untouched file asks for no import"
    assert sides.labelled() == {photo(1): "router, surge arrester"}
    assert dict(sides.known.select("photo_id", "state").iter_rows()) == {photo(1): "labelled", photo(2): "begun"}


def test_changed_and_deleted_annotations_change_and_delete_the_labels(sides: Sides) -> None:
    sides.sync(1)
    task = task_of(sides, 1)
    first = sides.double.annotate(task, [region("router")])
    sides.sync(1)
    sides.double.change(task, first["id"], [region("fan tray")])
    sides.sync(1)
    assert sides.labelled() == {photo(1): "fan tray"}
    sides.double.withdraw(task, first["id"])
    assert sides.sync(1).done["labellings taken back"] == 1
    assert sides.labelled() == {}


def test_a_deleted_task_takes_its_labels_with_it(sides: Sides) -> None:
    sides.sync(1, 2)
    sides.double.annotate(task_of(sides, 1), [region("router")])
    sides.double.annotate(task_of(sides, 2), [region("router")])
    sides.sync(1, 2)
    del sides.double.tasks[task_of(sides, 1)]
    assert sides.sync(2).done["tasks gone"] == 1
    assert sides.labelled() == {photo(2): "router"}


def test_a_page_that_misses_a_task_deletes_nothing(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    sides.sync(1, 2)
    sides.double.annotate(task_of(sides, 1), [region("router")])
    sides.sync(1, 2)
    whole = sides.double._list
    monkeypatch.setattr(sides.double, "_list", lambda query: (200, {"tasks": whole(query)[1]["tasks"][1:]}))
    sides.hours = 48  # compares everything
    assert not any(sides.sync(1, 2).done.values())
    assert sides.labelled() == {photo(1): "router"}


def test_a_server_that_began_anew_deletes_no_labels(sides: Sides) -> None:
    sides.sync(1)
    sides.double.annotate(task_of(sides, 1), [region("router")])
    sides.sync(1)
    sides.double.started_anew()
    sides.sync(2)
    assert sides.labelled() == {photo(1): "router"}
    assert sides.held() == [(photo(2), 1, 0)]


def test_a_lost_table_doubles_nothing(sides: Sides) -> None:
    sides.sync(1, 2)
    sides.double.annotate(task_of(sides, 1), [region("router")])
    sides.sync(1, 2)
    before = sides.held(), sides.labelled()
    sides.known = sides.known.clear()
    sides.sync(1, 2)
    assert (sides.held(), sides.labelled()) == before


def test_a_file_that_somebody_removed_comes_back_with_the_daily_comparison(sides: Sides) -> None:
    sides.sync(1)
    sides.double.annotate(task_of(sides, 1), [region("router")])
    sides.sync(1)
    sides.drop.remove(sides.drop.names()[0])
    sides.hours = 48
    sides.sync(1)
    assert sides.labelled() == {photo(1): "router"}


def test_an_erased_photos_task_is_deleted_with_its_labels(sides: Sides) -> None:
    sides.sync(1, 2)
    for number in (1, 2):
        sides.double.annotate(task_of(sides, number), [region("router")])
    sides.sync(1, 2)
    sides.known = sides.known.filter(pl.col("photo_id") != photo(1))  # the erasure took the row out of the table
    sides.sync(2, erased={photo(1)})
    assert sides.held() == [(photo(2), 1, 1)]
    assert sides.labelled() == {photo(2): "router"}


def test_who_begins_at_the_last_moment_keeps_the_task(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    sides.sync(1)
    sides.hours = 100
    task = task_of(sides, 1)
    whole = sides.double._task

    def begun_meanwhile(method: str, number: int, body: Any) -> tuple[int, Any]:
        if not sides.double.tasks[task]["drafts"]:
            sides.double.draft(task, [region("router")])
        return whole(method, number, body)

    monkeypatch.setattr(sides.double, "_task", begun_meanwhile)
    sides.sync()
    assert list(sides.double.tasks) == [task]
    assert sides.known["state"].to_list() == ["begun"]


def test_the_page_follows_the_vocabulary(sides: Sides) -> None:
    sides.sync(1)
    sides.double.annotate(task_of(sides, 1), [region("fan tray")])
    after = classes(router="active", battery_pack="active", fan_tray="merged", surge_arrester="active")
    sides.sync(1, classes=after)
    (project,) = sides.double.projects.values()
    assert 'value="surge arrester"' in project["label_config"]
    assert 'value="fan tray"' in project["label_config"], "an annotation carries it"


def test_many_tasks_are_read_page_by_page(sides: Sides) -> None:
    numbers = range(1, 121)
    sides.sync(*numbers)
    sides.known = sides.known.clear()
    assert not any(sides.sync(*numbers).done.values())
    assert len(sides.double.tasks) == sides.known.height == 120


# -- when a side is down ------------------------------------------------------------------------------------------


def story(sides: Sides, sync: Callable[..., Any]) -> tuple[Any, Any]:
    """Labelling over three synchronisations; returns what both sides hold in the end."""
    sync(1, 2, 3)
    sides.double.annotate(task_of(sides, 1), [region("router")])
    sides.double.annotate(task_of(sides, 2), [region(UNLISTED), typed_name("surge arrester")])
    sync(1, 2, 3)
    annotation = sides.double.tasks[task_of(sides, 1)]["annotations"][0]
    sides.double.change(task_of(sides, 1), annotation["id"], [region("fan tray")])
    sides.hours = 100
    sync(2, 4, 5, erased={photo(2)}, classes=classes(router="active", fan_tray="active", surge_arrester="proposed"))
    return sides.held(), sides.labelled()


@pytest.mark.parametrize("ways", [1, pytest.param(len(FAULTS), marks=pytest.mark.slow)])
def test_whenever_the_server_fails_nothing_is_lost_or_doubled(tmp_path: Path, ways: int) -> None:
    """Each request of a story fails once, in one way or in each; the story ends as without."""
    with LabelStudioDouble() as double:
        expected = story(undisturbed := Sides(double, tmp_path / "whole"), undisturbed.sync)
        requests = len(double.asked)
    assert expected[0] == [(photo(1), 1, 1), (photo(4), 1, 0), (photo(5), 1, 0)]
    assert expected[1] == {photo(1): "fan tray"}
    for number in range(1, requests + 1):
        for fault in (FAULTS * 2)[number % len(FAULTS) :][:ways]:
            with LabelStudioDouble() as double:
                double.fault = lambda n, method, path, at=number, how=fault: how if n == at else None
                sides = Sides(double, tmp_path / f"{number}-{fault}")
                failures: list[int] = []
                ended = story(sides, lambda *a, s=sides, f=failures, **k: f.append(s.sync_until_it_works(*a, **k)))
                assert sum(failures) == 1, f"request {number}"
                assert ended == expected, f"request {number} fails: {fault}"
                assert len(double.projects) == 1


def test_a_pull_that_dies_after_any_file_is_taken_up_again(sides: Sides) -> None:
    sides.sync(1, 2, 3)
    for number in (1, 2, 3):
        sides.double.annotate(task_of(sides, number), [region("router")])

    class Dying(LabelDrop):
        def put(self, name: str, content: bytes) -> None:
            super().put(name, content)
            raise KeyboardInterrupt

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            sides.sync(1, 2, 3, drop=Dying(address=sides.drop.address))
    sides.sync(1, 2, 3)
    assert sides.labelled() == dict.fromkeys(map(photo, (1, 2, 3)), "router")
    assert sides.held() == [(photo(number), 1, 1) for number in (1, 2, 3)]


def test_a_server_that_is_away_is_said_to_be(tmp_path: Path) -> None:
    with LabelStudioDouble() as double:
        sides = Sides(double, tmp_path)
    with pytest.raises(LabelStudioUnavailableError, match=r"does not answer \(ConnectError\): is it running"):
        sides.sync(1)


def test_a_wrong_token_is_said_and_never_shown(sides: Sides) -> None:
    sides.token = "not-the-token"  # noqa: S105 - nobody's
    with pytest.raises(LabelStudioError, match="refuses the token") as caught:
        sides.sync(1)
    assert "not-the-token" not in f"{caught.value!r} {sides.server!r}"
    assert caught.value.__suppress_context__
