import dataclasses
import datetime as dt
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from sensors.decisions import MAX_ATTEMPTS, Attempt, Decision, decide_attempt
from sensors.label_decisions import Imported, LabelCursor, decide_labels, label_key
from sensors.retraining_decisions import (
    Classes,
    Training,
    decide_retraining,
    missing_classes,
    new_boxes,
    retraining_key,
    trained_before,
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


def test_attempts_that_came_to_work_on_other_inputs_do_not_count() -> None:
    spent = [Attempt(1, "failed"), Attempt(2, "succeeded")]
    assert decide_attempt("key", spent).attempt is None
    assert decide_attempt("key", spent, spent=2).attempt == 3
    failed = [*spent, *(Attempt(number, "failed") for number in (3, 4, 5))]
    assert decide_attempt("key", failed[:-1], spent=2).attempt == 5
    assert decide_attempt("key", failed, spent=2).attempt is None


def label_reason(state: str, seen: str, imported: Imported | None = None, busy: str | None = None) -> str:
    decision = decide_labels(state, seen, imported, [], busy=busy)
    assert decision.attempt is None
    return decision.reason


def test_labels_wait_until_they_stand_still_and_are_imported_once() -> None:
    assert "until they stand still" in label_reason("d2", "d1")
    assert decide_labels("d2", "d2", None, [], busy=None).attempt == 1
    assert "being imported" in label_reason("d2", "d2", busy="run 1 is queued")
    assert "imported as it is by run 12345678" in label_reason("d2", "d2", Imported("d2", 7, "123456789", None, True))
    assert "empty; what was imported stays" in label_reason("", "", Imported("d2", 7))
    assert label_reason("", "") == "the label drop is empty"


def test_a_state_that_comes_back_is_another_request() -> None:
    """A file is dropped and taken away again: the tables must follow both times."""
    assert label_key("a", None) != label_key("a", Imported("b", 9))
    assert decide_labels("a", "a", Imported("b", 9), [], busy=None).attempt == 1


def test_a_run_that_failed_after_it_had_written_the_tables_is_asked_for_again_under_its_key() -> None:
    failed = Imported("a", 9, "run", "labels-a-0", succeeded=False)
    assert label_key("a", failed) == "labels-a-0"
    assert decide_labels("a", "a", failed, [Attempt(1, "failed")], busy=None).attempt == 2


def test_labels_that_came_before_their_photos_are_imported_again_when_photos_were_taken_in() -> None:
    waiting = Imported("a", 9, "12345678-run", "labels-a-0", succeeded=True, waiting=3)
    assert label_reason("a", "a", waiting) == "imported as it is by run 12345678; 3 labels wait for their photos"
    came = dataclasses.replace(waiting, photo_days=12)
    again = decide_labels("a", "a", came, [], busy=None)
    assert (again.key, again.attempt) == ("labels-a-days-12", 1)
    assert again.reason == "3 labels wait for their photos: first request"
    during = decide_labels("a", "a", came, [], busy=None, taking_in="run 2 is running")
    assert during.reason == "3 labels wait for their photos, which are being taken in: run 2 is running"
    after = decide_labels("a", "a", came, [Attempt(1, "succeeded")], busy=None)
    assert after.reason == "imported as it is by run 12345678; 3 labels wait for their photos"
    assert label_key("b", came) == "labels-b-9"


def test_cursors_of_other_releases_count_as_nothing_seen() -> None:
    for text in (None, "", "0badc0de", "[]", '{"listing": {"unknown": 1}}', '{"seen": "x", "listing": 3}'):
        assert LabelCursor.parse(text).listing.files == 0
    assert LabelCursor.parse(LabelCursor("x").text()) == LabelCursor("x")


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


STEP = 20
NOW = dt.datetime(2026, 10, 9, 11, 30, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


def training(
    version: str, boxes: dict[int, int] | None, *, promoted: bool, at: dt.datetime = NOW - 30 * HOUR, had: bool = True
) -> Training:
    return Training(version, promoted, boxes, f"run-of-version-{version}", at, had)


def classes(boxes: dict[int, int], known: set[int], champion: str | None, *trainings: Training) -> Classes:
    return Classes(boxes, {c: f"class {c}" for c in boxes}, frozenset(known), champion, trainings)


def ask(found: Classes, attempts: Sequence[Attempt] = (), *, busy: str | None = None, hours: float = 20) -> Decision:
    cooldown = dt.timedelta(hours=hours)
    return decide_retraining(found, attempts, growth_step=STEP, cooldown=cooldown, now=NOW, busy=busy)


FIRST = training("1", {0: 30}, promoted=True, had=False)


def test_every_missing_class_is_asked_for_at_once_and_never_beside_another_training() -> None:
    found = classes({0: 30, 1: 12, 2: 15}, {0}, "1", FIRST)
    assert ask(found).attempt == 1
    assert "does not know class 1, class 2" in ask(found).reason
    assert ask(found, busy="run 1 is running").attempt is None
    assert "(run 1 is running)" in ask(found, busy="run 1 is running").reason
    assert ask(classes({}, set(), None)).reason == "no class is active yet"
    assert "knows all 1 classes" in ask(classes({0: 99}, {0}, "1", FIRST)).reason


def test_a_refused_candidate_does_not_train_again_on_the_same_labels() -> None:
    refused = training("2", {0: 30, 1: 12}, promoted=False)
    decision = ask(classes({0: 90, 1: 31}, {0}, "1", FIRST, refused))
    assert decision.attempt is None
    assert "version 2 of run run-of-v, was refused on these labels: label more (class 1 has 31 of 32" in decision.reason
    assert ask(classes({0: 90, 1: 32}, {0}, "1", FIRST, refused)).attempt == 1
    assert ask(classes({0: 90, 1: 12, 2: 10}, {0}, "1", FIRST, refused)).attempt == 1  # another class beside it
    assert ask(classes({0: 90, 1: 10}, {0}, "1", FIRST, refused)).attempt is None  # labels were withdrawn
    later = training("3", {0: 30, 1: 12, 2: 10}, promoted=False)
    back = classes({0: 90, 1: 12}, {0}, "1", FIRST, refused, later)  # class 2 was deprecated since
    assert ask(back).attempt is None


def test_what_was_trained_counts_and_not_what_was_asked_for() -> None:
    """Labels came between the request and the start of its run, which was refused; a class of them went again."""
    other = training("2", {0: 30, 1: 12, 2: 10}, promoted=False)
    asked_for = [Attempt(1, "succeeded", other.run_id)]
    assert ask(classes({0: 30, 1: 12}, {0}, "1", FIRST, other), asked_for).attempt == 2
    assert ask(classes({0: 30, 1: 12, 2: 10}, {0}, "1", FIRST, other), asked_for).attempt is None
    unrecorded = training("2", None, promoted=False)
    before_the_column = ask(classes({0: 30, 1: 12}, {0}, "1", FIRST, unrecorded), asked_for)
    assert before_the_column.attempt is None
    assert "was for these labels" in before_the_column.reason


def test_a_champion_that_was_set_back_is_not_trained_over_and_the_tick_says_so() -> None:
    second = training("2", {0: 30, 1: 12}, promoted=True)
    decision = ask(classes({0: 30, 1: 12}, {0}, "1", FIRST, second))
    assert decision.attempt is None
    assert "was promoted, but version 1 serves now: promote it by hand" in decision.reason


def test_a_busy_day_gives_one_retraining() -> None:
    recent = training("2", {0: 30, 1: 12}, promoted=True, at=NOW - 17 * HOUR)
    found = classes({0: 30, 1: 12, 2: 15}, {0, 1}, "2", FIRST, recent)
    assert "cooldown until 14:30, then a retraining" in ask(found).reason
    assert "cooldown until 2026-10-10 09:30" in ask(found, hours=39).reason
    assert ask(found, hours=16.9).attempt == 1
    assert ask(found, hours=0).attempt == 1


def test_the_first_champion_starts_no_cooldown_and_without_a_champion_none_is_waited_for() -> None:
    just_now = training("1", {0: 30}, promoted=True, at=NOW, had=False)
    assert ask(classes({0: 30, 1: 12}, {0}, "1", just_now)).attempt == 1
    refused = training("1", {0: 30}, promoted=False, at=NOW, had=False)
    assert ask(classes({0: 30, 1: 12}, set(), None, refused)).attempt == 1
    assert ask(classes({0: 49}, set(), None, refused)).attempt is None


def test_labels_that_the_champion_has_not_learnt_are_counted() -> None:
    assert new_boxes(classes({0: 45, 1: 2}, {0}, "1", FIRST)) == 17
    assert new_boxes(classes({0: 10}, {0}, "1", FIRST)) == 0
    assert new_boxes(classes({0: 10}, {0}, "9", FIRST)) is None


@given(class_boxes, st.sets(st.integers(0, 50)), st.lists(st.tuples(class_boxes, st.booleans()), max_size=4))
def test_no_training_is_asked_for_on_labels_that_were_trained(
    boxes: dict[int, int], known: set[int], before: list[tuple[dict[int, int], bool]]
) -> None:
    trainings = [training(str(n), b, promoted=p) for n, (b, p) in enumerate(before)]
    found = classes(boxes, known, "0", *trainings)
    again = classes(boxes, known, "0", *trainings, training("last", boxes, promoted=False))
    assert ask(again).attempt is None
    if ask(found).attempt is not None:
        assert found.missing
        assert trained_before(found, STEP) is None
        assert all(t.boxes != boxes for t in trainings)
