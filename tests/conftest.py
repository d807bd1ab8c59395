"""How the suite is shared among processes (`pytest -n`, pytest-xdist)."""

import os

import pytest

LONGEST_FIRST = (
    "test_whole_path.py",
    "test_second_use_case.py",
    "test_kills.py",
    "test_erasing.py",
    "test_erase_photo.py",
    "test_commands.py",
    "test_without_dagster.py",
    "test_real_photos.py",
)
"""Modules of half a minute and more: begun last, one of them would run alone while the other processes are done."""


def pytest_configure() -> None:
    """Give each process a core of its own, so that the threads of one test do not slow those of another."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is not None:
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules stay whole and in order, but for the longest ones, which come first."""
    places = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))
