from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from sensors.decisions import (
    MAX_ATTEMPTS,
    Attempt,
    DropCursor,
    decide_attempt,
    decide_labels,
    decide_retraining,
    missing_classes,
    retraining_key,
)

statuses = st.sampled_from(["running", "succeeded", "failed"])
attempt_lists = st.lists(st.builds(Attempt, number=st.integers(1, 5), status=statuses), max_size=6)
class_boxes = st.dictionaries(st.integers(0, 50), st.integers(0, 5000), max_size=8)


@given(attempt_lists)
def test_nothing_is_asked_for_beside_a_run_or_after_a_success(attempts: Sequence[Attempt]) -> None:
    decision = decide_attempt("key", attempts)
    if any(a.status in ("running", "succeeded") for a in attempts):
        assert decision.attempt is None
    elif decision.attempt is not None:
        assert decision.attempt not in {a.number for a in attempts}
        assert 1 <= decision.attempt <= MAX_ATTEMPTS


@given(st.lists(st.sampled_from(["failed", "succeeded"]), min_size=1, max_size=10))
def test_a_failing_run_is_asked_for_a_bounded_number_of_times(outcomes: list[str]) -> None:
    attempts: list[Attempt] = []
    for outcome in outcomes:
        decision = decide_attempt("key", attempts)
        if decision.attempt is None:
            break
        attempts.append(Attempt(decision.attempt, outcome))  # type: ignore[arg-type]
    assert len(attempts) <= MAX_ATTEMPTS
    assert [a.number for a in attempts] == list(range(1, len(attempts) + 1))
    assert sum(a.status == "succeeded" for a in attempts) <= 1


def test_labels_wait_until_the_drop_stands_still() -> None:
    first, cursor = decide_labels("d1", DropCursor.parse(None), [])
    assert first.attempt is None
    changed, cursor = decide_labels("d2", cursor, [])
    assert changed.attempt is None
    still, after = decide_labels("d2", cursor, [])
    assert (still.key, still.attempt, after) == ("labels-d2", 1, cursor)


def test_an_empty_drop_asks_for_nothing() -> None:
    decision, cursor = decide_labels("", DropCursor.parse(None), [])
    assert decision.attempt is None
    assert cursor == DropCursor("")


@given(class_boxes, st.sets(st.integers(0, 50)))
def test_what_the_champion_knows_is_never_missing(active: dict[int, int], known: set[int]) -> None:
    missing = missing_classes(active, known)
    assert not set(missing) & known
    assert set(missing) | (set(active) & known) == set(active)


@given(class_boxes, st.integers(1, 100))
def test_the_key_changes_only_with_classes_or_enough_growth(boxes: dict[int, int], step: int) -> None:
    key = retraining_key(boxes, step)
    rounded = {c: n // step * step for c, n in boxes.items()}
    assert retraining_key(dict(reversed(list(rounded.items()))), step) == key
    if boxes:
        grown = {c: n + step for c, n in boxes.items()}
        assert retraining_key(grown, step) != key
        assert retraining_key({**boxes, 99: 0}, step) != key


def test_no_retraining_beside_another() -> None:
    assert decide_retraining("k", [], busy=True).attempt is None
    assert decide_retraining("k", [], busy=False).attempt == 1
