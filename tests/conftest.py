"""How the suite is shared among processes (`pytest -n`, pytest-xdist), and what takes long to make and is shared."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from resources.mlflow_client import open_client

LONGEST_FIRST = (
    "test_whole_path.py",
    "test_second_use_case.py",
    "test_kills.py",
    "test_mlflow_status.py",
    "test_erasing.py",
    "test_erase_photo.py",
    "test_commands.py",
    "test_without_dagster.py",
    "test_real_photos.py",
    "test_killed_training.py",
    "test_one_line_changes.py",
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


@pytest.fixture(scope="session")
def new_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], str]:
    """Puts a new MLflow in SQLite into a folder and gives its address: a copy, as its tables take seconds to make."""
    place = tmp_path_factory.getbasetemp()
    made = (place.parent if "PYTEST_XDIST_WORKER" in os.environ else place) / "new-mlflow" / "mlflow.db"
    open_client(f"sqlite:///{made}")

    def put(folder: Path) -> str:
        shutil.copyfile(made, folder / "mlflow.db")
        return f"sqlite:///{folder / 'mlflow.db'}"

    return put
