"""Whether the demo knows that it was told before; the story itself is tested by `make demo` in test_commands.py."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from demo.state import State
from demo.story import PHASES, SENSOR_INTERVAL, _told_before
from mlops_assets.use_case import UseCase
from resources.settings import Settings

CASE = UseCase.model_validate({"name": "case", "title": "Case", "start": "2026-10-01"})
DAEMON_LOOP_S = 5


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with dg.instance_for_test() as instance:
        yield State(instance, Settings(home=tmp_path), CASE)


def test_a_fresh_home_was_told_nothing(state: State) -> None:
    assert not _told_before(state)


def test_labels_that_were_delivered_but_not_learnt_are_not_a_told_story(state: State) -> None:
    for phase in PHASES:
        folder = Path(state.places.labels) / phase
        folder.mkdir(parents=True)
        (folder / "export.json").write_text("[]")
    assert not _told_before(state)


def test_sensors_are_due_at_every_round_of_the_daemon() -> None:
    assert SENSOR_INTERVAL < DAEMON_LOOP_S
