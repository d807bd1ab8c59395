"""The sensors of labels and classes over many ticks, with everything that may happen between two of them.

Each state of the labels is imported by exactly one successful run, failures are asked for again a bounded number of
times, and what was trained and refused is not trained again on the same labels.
"""

import datetime as dt
import random
from collections import Counter

from automation_world import JOBS, World
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

SENSORS = st.sampled_from(sorted(JOBS))
OUTCOMES = st.sampled_from(["succeeded", "succeeded", "failed", "canceled", "retried"])
CLASSES = st.integers(0, 4)


class Automation(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @rule(class_id=CLASSES, boxes=st.integers(1, 25))
    def annotators_drop_a_file(self, class_id: int, boxes: int) -> None:
        self.world.label(class_id, boxes)

    @rule(number=st.integers(0, 9))
    def annotators_withdraw_a_file(self, number: int) -> None:
        self.world.withdraw(number)

    @rule(class_id=CLASSES)
    def a_class_is_deprecated(self, class_id: int) -> None:
        self.world.deprecate(class_id)

    @rule(name=SENSORS, at_once=st.integers(1, 2), crash=st.booleans())
    def a_sensor_ticks(self, name: str, at_once: int, crash: bool) -> None:
        self.world.tick(name, at_once=at_once, crash=crash and at_once == 1)

    @rule()
    def both_sensors_tick_until_labels_stand_still(self) -> None:
        for name in ("new_labels", "new_labels", "new_equipment_classes"):
            self.world.tick(name)

    @rule(name=SENSORS)
    def a_cursor_is_lost(self, name: str) -> None:
        self.world.cursors[name] = None

    @rule(name=SENSORS, back=st.integers(0, 5))
    def a_cursor_is_an_old_one(self, name: str, back: int) -> None:
        old = self.world.old_cursors.get(name)
        if old:
            self.world.cursors[name] = old[max(0, len(old) - 1 - back)]

    @rule()
    def runs_start(self) -> None:
        self.world.start()

    @rule(outcome=OUTCOMES, late=st.booleans(), promoted=st.booleans())
    def runs_end(self, outcome: str, late: bool, promoted: bool) -> None:
        self.world.end(outcome, late=late, promoted=promoted)

    @rule(outcome=OUTCOMES, promoted=st.booleans())
    def runs_start_and_end(self, outcome: str, promoted: bool) -> None:
        self.world.start()
        self.world.end(outcome, promoted=promoted)

    @rule(job=st.sampled_from(sorted(JOBS.values())), assets=st.booleans())
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
        self.world.instance.dispose()


TestAutomation = Automation.TestCase
TestAutomation.settings = settings(
    max_examples=8,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.slow
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
        if chance.random() < 0.5:
            world.start()
        if chance.random() < 0.4:
            promoted = chance.random() < 0.7
            world.end(chance.choice(outcomes), late=chance.random() < 0.2, promoted=promoted)
        world.now += dt.timedelta(minutes=chance.choice([1, 30, 240]))
    world.settle()
    world.check()
    assert (world.drops, world.ticks >= 1000) == (50, True)
    assert set(Counter(world.imports).values()) == {1}, "a state was imported twice"
    trained = [tuple(sorted(t.boxes.items())) for t in world.trained]
    assert len(trained) == len(set(trained)), "the same labels were trained twice"
    assert any(not t.promoted for t in world.trained)
    world.instance.dispose()
