"""When a synchronisation with Label Studio is asked for: the pure decision, and the sensor against a small server."""

import dataclasses
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "labelling"))
from label_studio_double import TOKEN, LabelStudioDouble
from labelling_rows import CLASSES, queue, region

from definitions import build_defs, build_resources
from mlops_assets.labels.schema import EQUIPMENT_CLASSES
from mlops_assets.monitoring.schema import REVIEW_QUEUE
from mlops_assets.use_case import UseCase
from resources.settings import Settings
from resources.tables import Tables
from sensors.decisions import Attempt
from sensors.label_studio import Seen, decide_sync

CASE = UseCase.model_validate({"name": "case", "title": "Case", "start": "2026-11-01"})
SEEN = Seen("queue-1", "classes-1", "none", "2026-11-26", "2026-11-26T08:00:00", 3, "2026-11-26T08:00:00", 3)


def test_what_is_the_same_here_and_there_is_asked_for_once() -> None:
    assert decide_sync(SEEN, [], busy=False).attempt == 1
    assert decide_sync(SEEN, [Attempt(1, "succeeded")], busy=False).attempt is None
    later = dataclasses.replace(SEEN, newest="2026-11-26T09:00:00", known_newest="2026-11-26T09:00:00")
    assert later.key == SEEN.key, "what a synchronisation itself changed asks for no other"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"newest": "2026-11-26T09:00:00"}, "tasks or annotations changed"),
        ({"tasks": 2}, "2 tasks where 3 are known"),
        ({"tasks": None, "newest": ""}, "there is no project yet"),
        ({"queue": "queue-2"}, "queue, classes, erasures or day changed"),
        ({"erased": "one"}, "queue, classes, erasures or day changed"),
        ({"day": "2026-11-27"}, "queue, classes, erasures or day changed"),
    ],
)
def test_each_change_asks_for_another(change: dict[str, object], why: str) -> None:
    changed = dataclasses.replace(SEEN, **change)
    assert changed.key != SEEN.key
    decision = decide_sync(changed, [], busy=False)
    assert (decision.attempt, decision.reason) == (1, f"{why}: first request")


def test_nothing_is_asked_for_beside_another_or_without_a_queue() -> None:
    assert decide_sync(SEEN, [], busy=True).attempt is None
    empty = dataclasses.replace(SEEN, tasks=None, queue="")
    assert decide_sync(empty, [], busy=False).reason == "there is no review queue yet"


@given(st.lists(st.sampled_from(["failed", "running", "succeeded"]), max_size=5))
def test_failures_are_asked_for_again_a_bounded_number_of_times(statuses: list) -> None:
    attempts = [Attempt(number, status) for number, status in enumerate(statuses, 1)]
    decision = decide_sync(SEEN, attempts, busy=False)
    again = set(statuses) <= {"failed"} and len(statuses) < 3
    assert decision.attempt == (len(statuses) + 1 if again else None)
    assert decision.key == SEEN.key


# -- the sensor ---------------------------------------------------------------------------------------------------


@pytest.fixture
def double() -> Iterator[LabelStudioDouble]:
    with LabelStudioDouble() as double:
        yield double


@pytest.fixture
def settings(tmp_path: Path, double: LabelStudioDouble) -> Settings:
    settings = Settings(home=tmp_path, label_studio_url=double.url, label_studio_token=TOKEN)
    tables = Tables(root=settings.places("case").store)
    tables.write("review_queue", queue(1, 2), REVIEW_QUEUE)
    tables.write("equipment_classes", CLASSES, EQUIPMENT_CLASSES)
    return settings


@cache
def loaded(settings: Settings) -> dg.Definitions:
    return build_defs(settings, CASE)


@dataclasses.dataclass(frozen=True)
class Tick:
    requests: list[dg.RunRequest]
    said: str | None


def tick(settings: Settings, instance: dg.DagsterInstance) -> Tick:
    repository = loaded(settings).get_repository_def()
    resources = build_resources(settings, CASE)
    with dg.build_sensor_context(instance=instance, repository_def=repository, resources=resources) as context:
        data = repository.get_sensor_def("label_studio").evaluate_tick(context)
    return Tick(list(data.run_requests or []), data.skip_message)


def synchronise(settings: Settings, instance: dg.DagsterInstance, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
    job = loaded(settings).resolve_job_def("sync_label_studio")
    return job.execute_in_process(instance=instance, tags=request.tags)


def agree(settings: Settings, instance: dg.DagsterInstance) -> list[str]:
    """Tick and synchronise until nothing is asked for any more; returns why it was."""
    reasons = []
    while requests := tick(settings, instance).requests:
        (request,) = requests
        reasons.append(request.tags["mlops/reason"])
        assert synchronise(settings, instance, request).success
        assert len(reasons) < 5
    return reasons


def test_the_sensor_asks_until_both_sides_agree_and_then_for_what_changes(
    settings: Settings, double: LabelStudioDouble
) -> None:
    with dg.instance_for_test() as instance:
        tables = Tables(root=settings.places("case").store)
        tables.write("review_queue", queue(), REVIEW_QUEUE)
        assert tick(settings, instance).said == "there is no review queue yet"
        tables.write("review_queue", queue(1, 2), REVIEW_QUEUE)
        assert agree(settings, instance) == [
            "there is no project yet: first request",
            "queue, classes, erasures or day changed: first request",
        ]
        assert len(double.tasks) == 2
        assert tick(settings, instance).said == "already done"
        double.annotate(min(double.tasks), [region("router")])
        (request,) = tick(settings, instance).requests
        assert request.tags["mlops/reason"] == "tasks or annotations changed: first request"
        result = synchronise(settings, instance, request)
        (event,) = result.asset_materializations_for_node("label_studio_tasks")
        assert event.metadata["labellings brought back"].value == 1
        (project,) = double.projects
        assert event.metadata["project"].value == f"{double.url}/projects/{project}"
        (file,) = (settings.home / "case" / "labels").iterdir()
        assert file.name.startswith(f"label-studio-{project}-")
        assert tick(settings, instance).said == "already done"


def test_a_queue_that_comes_back_to_what_it_was_is_synchronised_again(settings: Settings) -> None:
    with dg.instance_for_test() as instance:
        tables = Tables(root=settings.places("case").store)
        agree(settings, instance)
        for photos in ((1, 2, 3), (1, 2), (1, 2, 3)):
            tables.write("review_queue", queue(*photos), REVIEW_QUEUE)
            assert agree(settings, instance), photos
        assert tick(settings, instance).said == "already done"


def test_a_server_that_is_down_fails_no_tick(settings: Settings, double: LabelStudioDouble) -> None:
    double.fault = lambda number, method, path: "reset"
    with dg.instance_for_test() as instance:
        assert "does not answer" in (tick(settings, instance).said or "")


def test_without_a_server_there_is_nothing_of_it(tmp_path: Path) -> None:
    defs = build_defs(Settings(home=tmp_path), CASE)
    assert "label_studio_tasks" not in {key.path[-1] for key in defs.resolve_asset_graph().get_all_asset_keys()}
    assert "label_studio" not in {sensor.name for sensor in defs.get_repository_def().sensor_defs}


def test_the_token_is_shown_nowhere(settings: Settings) -> None:
    defs = loaded(settings)
    shown = defs.get_repository_def().get_top_level_resources()["label_studio"]
    assert TOKEN not in f"{settings!r} {defs.resources!r} {shown.config_schema!r} {shown.description}"
