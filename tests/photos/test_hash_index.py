import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.photos import hash_index
from mlops_assets.photos.hash_index import HashIndex

# Few bits differ, so that near ones are among them.
HASHES = st.integers(0, 255).map(lambda value: value | value << 48)
DAYS = st.lists(st.lists(HASHES, max_size=9), min_size=1, max_size=5)


def hashes(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.uint64)


def named(days: list[list[int]]) -> list[tuple[str, np.ndarray]]:
    return [(f"2026-10-{number + 1:02d}", hashes(values)) for number, values in enumerate(days)]


@settings(deadline=None)  # threads start late on a busy machine
@given(DAYS, st.lists(HASHES, max_size=5), st.integers(0, 12), st.integers(1, 30), st.integers(1, 3), st.integers(1, 7))
def test_what_is_found_is_what_comparing_all_finds(days, wanted, distance, limit, workers, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hash_index, "_BLOCK", block)
        index = HashIndex(named(days))
        found = index.near(hashes(wanted), distance, limit=limit, workers=workers)
    everything = [value for day in days for value in day]
    assert len(found) == len(wanted)
    for value, hits in zip(wanted, found, strict=True):
        apart = sorted(((value ^ other).bit_count(), position) for position, other in enumerate(everything))
        near = [(bits, position) for bits, position in apart if bits <= distance][:limit]
        assert list(zip(hits.distances.tolist(), hits.positions.tolist(), strict=True)) == near


@settings(deadline=None)
@given(DAYS, st.integers(1, 7))
def test_a_position_leads_to_its_day_row_and_hash(days, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hash_index, "_BLOCK", block)
        index = HashIndex(named(days))
        places = [(day, row) for day, values in named(days) for row in range(len(values))]
        assert len(index) == len(places)
        assert [index.place(position) for position in range(len(index))] == places
        everywhere = np.arange(len(index))
        assert index.hashes_at(everywhere).tolist() == [value for day in days for value in day]
        ordinals = index.day_numbers(everywhere) - index.day_numbers(everywhere[:1]).sum()
        first = int(places[0][0][-2:]) if places else 0
        assert ordinals.tolist() == [int(day[-2:]) - first for day, _ in places]
        for day, values in named(days):
            assert index.hashes_of(day).tolist() == values.tolist()
            assert index.start_of(day) == sum(len(other) for name, other in named(days) if name < day)


def test_memory_is_eight_bytes_a_photo_and_days_are_let_go():
    index = HashIndex((f"{year}-01-01", np.full(30_000, year, np.uint64)) for year in range(2000, 2010))
    assert sum(block.nbytes for block in index._blocks) == 8 * 300_000
    assert all(block.base is None for block in index._blocks)


def test_no_photos_at_all_find_nothing():
    index = HashIndex([])
    assert len(index) == 0
    (hits,) = index.near(hashes([1]), 64, limit=5)
    assert hits.positions.tolist() == []
    assert index.near(hashes([]), 3, limit=5) == []
