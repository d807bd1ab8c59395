"""Faults on production's deployment, tried on the stand-in cluster: each run ends right, and nothing is left behind."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from rehearsal.cluster.isolation import isolation_possible
from rehearsal.faults.__main__ import try_all
from rehearsal.faults.scenarios import SCENARIOS, Scenario
from rehearsal.faults.trial import Outcome

pytestmark = [
    pytest.mark.production,
    pytest.mark.skipif(bool(isolation_possible()), reason=f"production's pods need namespaces: {isolation_possible()}"),
    pytest.mark.timeout(1800),
]
FAST = [each for each in SCENARIOS if each.fast]
SLOW = [each for each in SCENARIOS if not each.fast]


def _tried(scenarios: list[Scenario]) -> Mapping[str, Outcome]:
    # Not pytest's folder: each session that starts takes it from other users again, and PostgreSQL runs as one.
    with tempfile.TemporaryDirectory() as folder:
        outcomes = try_all(scenarios, Path(folder))
    return {outcome.scenario.name: outcome for outcome in outcomes}


@pytest.fixture(scope="module")
def fast() -> Mapping[str, Outcome]:
    return _tried(FAST)


@pytest.fixture(scope="module")
def slow() -> Mapping[str, Outcome]:
    return _tried(SLOW)


@pytest.mark.parametrize("scenario", FAST, ids=lambda each: each.name)
def test_fault_ends_right(fast: Mapping[str, Outcome], scenario: Scenario) -> None:
    assert fast[scenario.name].wrong == [], fast[scenario.name].happened


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SLOW, ids=lambda each: each.name)
def test_longer_fault_ends_right(slow: Mapping[str, Outcome], scenario: Scenario) -> None:
    assert slow[scenario.name].wrong == [], slow[scenario.name].happened


def test_scenarios_are_told_apart_and_bounded() -> None:
    names = [each.name for each in SCENARIOS]
    assert len(set(names)) == len(names)
    assert {"SUCCESS", "FAILURE", "CANCELED"} == {each.ends for each in SCENARIOS}
    assert all(each.deadline < each.seconds for each in SCENARIOS)
