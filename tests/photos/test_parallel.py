import threading

import pytest

from mlops_assets.photos.parallel import map_in_threads


def test_every_item_gives_one_result():
    assert sorted(map_in_threads(lambda n: n * n, range(50), workers=3)) == [n * n for n in range(50)]
    assert list(map_in_threads(str, [], workers=3)) == []


def test_items_are_taken_only_as_fast_as_results_are():
    taken = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    results = map_in_threads(lambda n: n, items(), workers=2)
    next(results)
    assert len(taken) <= 2 * 2 + 1


def test_the_first_error_is_raised_and_what_was_not_begun_is_left():
    called = []
    lock = threading.Lock()

    def fail_at_five(number: int) -> int:
        with lock:
            called.append(number)
        if number == 5:
            raise OSError("store is full")
        return number

    with pytest.raises(OSError, match="store is full"):
        list(map_in_threads(fail_at_five, range(10_000), workers=2))
    assert len(called) < 20
