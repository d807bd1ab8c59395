"""Which moves of the alias are asked to be recorded."""

from hypothesis import given
from hypothesis import strategies as st

from sensors.champion_decisions import champion_key, decide_champion
from sensors.decisions import Attempt

VERSIONS = st.one_of(st.none(), st.sampled_from(["1", "2", "3"]))
ATTEMPTS = st.lists(st.builds(Attempt, st.integers(1, 4), st.sampled_from(["running", "succeeded", "failed"])))


def test_a_champion_as_recorded_asks_for_nothing() -> None:
    assert decide_champion("2", "2", 7, [], None).reason == "version 2 serves, as recorded"
    assert decide_champion(None, None, 0, [], None).reason == "no champion yet"


def test_a_moved_alias_is_asked_for_by_version_and_last_decision() -> None:
    decision = decide_champion("1", "2", 7, [], None)
    assert (decision.key, decision.attempt) == ("champion-1-7", 1)
    assert decision.reason == "the alias names version 1, recorded is version 2: first request"
    assert champion_key("1", 8) != decision.key, "after another decision the same move is another one"
    assert decide_champion("1", None, 3, [], None).attempt == 1, "all candidates were refused, and a person set one"


def test_before_anything_was_trained_here_there_is_no_table_to_record_in() -> None:
    decision = decide_champion("1", None, 0, [], None)
    assert decision.attempt is None
    assert "nothing was trained here yet" in decision.reason


def test_what_is_deciding_just_now_is_waited_for() -> None:
    decision = decide_champion("1", "2", 7, [], "run 1a2b3c4d is running")
    assert decision.attempt is None
    assert decision.reason.endswith("run 1a2b3c4d is running, which may be what moved it")


def test_an_alias_that_is_gone_leaves_the_catalogue_as_it_is() -> None:
    decision = decide_champion(None, "2", 7, [], None)
    assert decision.attempt is None
    assert "version 2 goes on serving the catalogue" in decision.reason


def test_a_record_that_fails_is_asked_for_three_times() -> None:
    attempts: list[Attempt] = []
    asked = []
    for number in range(1, 6):
        asked.append(decide_champion("1", "2", 7, attempts, None).attempt)
        attempts.append(Attempt(number, "failed"))
    assert asked == [1, 2, 3, None, None]


@given(VERSIONS, VERSIONS, st.integers(0, 3), ATTEMPTS, st.one_of(st.none(), st.just("run x is queued")))
def test_nothing_is_asked_for_without_a_move_beside_a_run_or_twice(
    alias: str | None, recorded: str | None, last: int, attempts: list[Attempt], busy: str | None
) -> None:
    decision = decide_champion(alias, recorded, last, attempts, busy)
    assert decision.key == champion_key(alias, last)
    assert decision.reason
    if decision.attempt is not None:
        assert alias is not None
        assert alias != recorded
        assert busy is None
        assert not any(attempt.status in ("running", "succeeded") for attempt in attempts)
        assert decision.attempt not in {attempt.number for attempt in attempts}
