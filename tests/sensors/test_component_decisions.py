"""What is made again, decided from plain facts."""

from hypothesis import given
from hypothesis import strategies as st

from sensors.component_decisions import WHOLE, Group, Made, decide_group, stale
from sensors.decisions import MAX_ATTEMPTS, Attempt

VERSIONS = st.sampled_from(["1", "2"])
NAMES = ("a", "b", "c")
GROUP = Group("job", NAMES, daily=True)
MADE = st.dictionaries(
    st.sampled_from(NAMES),
    st.dictionaries(st.sampled_from(["1", "2", "3"]), st.builds(Made, st.integers(1, 99), VERSIONS)),
)
CURRENT = st.fixed_dictionaries(dict.fromkeys(NAMES, VERSIONS))


@given(CURRENT, MADE)
def test_nothing_current_is_made_again_and_nothing_outdated_left(
    current: dict[str, str], made: dict[str, dict[str, Made]]
) -> None:
    found = stale(GROUP, current, made)
    for name, partitions in made.items():
        for partition, entry in partitions.items():
            if entry.code_version != current[name]:
                assert name in found[partition]
    for partition, assets in found.items():
        assert made[assets[0]][partition].code_version != current[assets[0]]
        assert all(partition in made[name] for name in assets)
        assert list(assets) == [name for name in NAMES if name in assets]


@given(CURRENT, MADE, st.sets(st.sampled_from(["1", "2", "3"])), st.integers(0, 3))
def test_requests_are_bounded_and_their_keys_are_made_of_what_there_was(
    current: dict[str, str], made: dict[str, dict[str, Made]], busy: set[str], limit: int
) -> None:
    attempts: dict[str, list[Attempt]] = {}
    for _ in range(MAX_ATTEMPTS * 3 + 1):
        outcome = decide_group(GROUP, current, made, attempts, busy=busy, limit=limit)
        assert outcome == decide_group(GROUP, current, made, attempts, busy=busy, limit=limit)
        assert len(outcome.runs) <= limit
        assert not {run.partition for run in outcome.runs} & busy
        for run in outcome.runs:
            attempts.setdefault(run.key, []).append(Attempt(run.attempt, "failed"))
    assert limit == 0 or not outcome.runs
    assert all(len(tried) <= MAX_ATTEMPTS for tried in attempts.values())


def test_a_whole_table_is_one_partition() -> None:
    group = Group("job", ("a",), daily=False)
    outcome = decide_group(group, {"a": "2"}, {"a": {WHOLE: Made(7, "1")}}, {}, busy=(), limit=1)
    assert [(run.partition, run.assets) for run in outcome.runs] == [("", ("a",))]
