"""The sensors of labels and classes over many ticks, with everything that may happen between two of them.

Each state of the labels is imported by exactly one successful run, failures are asked for again a bounded number of
times, and what was trained and refused is not trained again on the same labels.
"""

import datetime as dt
import random
from itertools import pairwise

import pytest
from automation_world import JOBS, World
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mlops_assets.jobs import IMPORT_LABELS, RETRAIN_DETECTOR

SENSORS = st.sampled_from(sorted(JOBS))
OUTCOMES = st.sampled_from(["succeeded", "succeeded", "failed", "canceled", "retried"])
CLASSES = st.integers(0, 4)
JOB = st.sampled_from(sorted(JOBS.values()))


class Automation(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @rule(class_id=CLASSES, boxes=st.integers(1, 25))
    def annotators_drop_a_file(self, class_id: int, boxes: int) -> None:
        self.world.label(class_id, boxes)

    @rule(back=st.integers(0, 2))
    def annotators_withdraw_a_file(self, back: int) -> None:
        self.world.withdraw(back)

    @rule(class_id=CLASSES)
    def a_class_is_deprecated(self, class_id: int) -> None:
        self.world.deprecate(class_id)

    @rule(name=SENSORS, at_once=st.integers(1, 2), crash=st.booleans())
    def a_sensor_ticks(self, name: str, at_once: int, crash: bool) -> None:
        self.world.tick(name, at_once=at_once, crash=crash and at_once == 1)

    @rule(class_id=CLASSES, boxes=st.integers(1, 25), outcome=OUTCOMES)
    def labels_are_dropped_and_imported(self, class_id: int, boxes: int, outcome: str) -> None:
        self.world.label(class_id, boxes)
        self._import(outcome)

    @rule(outcome=OUTCOMES)
    def a_file_is_withdrawn_and_labels_are_imported(self, outcome: str) -> None:
        self.world.withdraw(0)
        self._import(outcome)

    @rule(outcome=OUTCOMES, promoted=st.booleans())
    def classes_are_trained(self, outcome: str, promoted: bool) -> None:
        self.world.tick("new_equipment_classes")
        self.world.start(RETRAIN_DETECTOR)
        self.world.end(outcome, RETRAIN_DETECTOR, promoted=promoted)

    def _import(self, outcome: str) -> None:
        for _ in range(2):
            self.world.tick("new_labels")
        self.world.start(IMPORT_LABELS)
        self.world.end(outcome, IMPORT_LABELS)

    @rule(name=SENSORS)
    def a_cursor_is_lost(self, name: str) -> None:
        self.world.cursors[name] = None

    @rule(name=SENSORS, back=st.integers(0, 5))
    def a_cursor_is_an_old_one(self, name: str, back: int) -> None:
        old = self.world.old_cursors.get(name)
        if old:
            self.world.cursors[name] = old[max(0, len(old) - 1 - back)]

    @rule(job=JOB)
    def runs_start(self, job: str) -> None:
        self.world.start(job)

    @rule(job=JOB, outcome=OUTCOMES, late=st.booleans(), promoted=st.booleans())
    def runs_end(self, job: str, outcome: str, late: bool, promoted: bool) -> None:
        self.world.end(outcome, job, late=late, promoted=promoted)

    @rule(job=JOB, assets=st.booleans())
    def a_person_starts_one(self, job: str, assets: bool) -> None:
        self.world.by_hand(job, assets=assets)

    @rule(hours=st.integers(1, 30))
    def time_passes(self, hours: int) -> None:
        self.world.now += dt.timedelta(hours=hours)

    @rule()
    def the_champion_is_set_back(self) -> None:
        self.world.roll_back()

    @rule()
    def dagsters_database_is_lost(self) -> None:
        self.world.new_instance()

    @invariant()
    def no_key_is_used_twice_and_failures_are_bounded(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        self.world.settle()
        self.world.close()


class TestAutomation(Automation.TestCase):  # type: ignore[misc]
    settings = settings(max_examples=5, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.slow
class TestAutomationForLong(Automation.TestCase):  # type: ignore[misc]
    settings = settings(max_examples=60, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck))


def test_a_thousand_ticks_over_fifty_drops() -> None:
    """Labels are dropped minutes or days apart; between ticks things restart, fail and are evaluated twice."""
    world, chance = World(), random.Random(6)  # noqa: S311 a scenario, no secret
    outcomes = ["succeeded", "succeeded", "succeeded", "failed", "canceled", "retried"]
    while world.drops < 50 or world.ticks < 1000:
        if world.drops < 50 and chance.random() < 0.06:
            world.label(chance.randrange(12), chance.randint(4, 25))
        name = chance.choice(sorted(JOBS))
        world.tick(name, at_once=chance.choice([1, 1, 2]), crash=chance.random() < 0.05)
        if chance.random() < 0.05:
            world.cursors[name] = chance.choice([None, *world.old_cursors.get(name, [])])
        if chance.random() < 0.02:
            world.withdraw(0)
        if chance.random() < 0.5:
            world.start()
        for job, ends in ((IMPORT_LABELS, 0.4), (RETRAIN_DETECTOR, 0.1)):
            if chance.random() < ends:
                promoted, late = chance.random() < 0.7, chance.random() < 0.2
                world.end(chance.choice(outcomes), job, late=late, promoted=promoted)
        world.now += dt.timedelta(minutes=chance.choice([1, 30, 240]))
    world.settle()
    world.check()
    assert (world.drops, world.ticks >= 1000) == (50, True)
    assert all(one != next_one for one, next_one in pairwise(world.imports)), "a state was imported twice"
    assert len(world.imports) > 25
    trained = [tuple(sorted(t.boxes.items())) for t in world.trained]
    assert len(trained) == len(set(trained)), "the same labels were trained twice"
    assert len(trained) > 5
    assert any(not t.promoted for t in world.trained)
    world.close()
