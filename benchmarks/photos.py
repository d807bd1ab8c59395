"""What it costs to take in a photo: beside two libraries that do a part of it, and beside the least it can cost.

Single photos are of 12 megapixels, as phones take them; days are of rendered photos of 1280 x 960 pixels.
"""

import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from benchmarks import near_duplicates
from mlops_assets.photos.examination import examine, glance
from mlops_assets.photos.parallel import map_in_threads
from mlops_assets.use_case import IntakeRules
from resources.settings import PROJECT

PHOTOS = PROJECT.parent / "shared" / "data" / "switch_photos_unlabelled" / "images"
RIVALS = PROJECT / ".tools" / "bench"
"""The libraries without what the project has of what they need; `make bench` installs them."""
ROUNDS = 5
COPIES = 4
"""Of each photo, so that a round takes seconds."""

SMALL_DAY, LARGE_DAY = 500, 5000

_RULES, _UTC = IntakeRules(), ZoneInfo("UTC")


@dataclass(frozen=True)
class Day:
    """What one day cost.

    Attributes:
        photos: Landed.
        seconds: From the first file that was read to the last table that was written.
        peak_mebibytes: Memory of the process, the most that it held.
    """

    photos: int
    seconds: float
    peak_mebibytes: float

    @property
    def milliseconds_a_photo(self) -> float:
        """Of wall-clock time."""
        return 1000 * self.seconds / self.photos


def run() -> dict[str, float]:
    """Print the tables and return the ratios.

    Raises:
        FileNotFoundError: The photos are not there.
    """
    if not PHOTOS.is_dir():
        raise FileNotFoundError(f"This section needs the 12-megapixel photos of {PHOTOS}, which are not here")
    return {**_single_photos(), **_days(), **near_duplicates.recall_and_precision()}


def _single_photos() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        paths = _copies(Path(folder))
        with _one_core():
            took = _alternately(
                {
                    "floor": partial(_each, _floor, paths),
                    "pass": partial(_each, lambda content: glance(content, _RULES, _UTC), paths),
                    "pass and normalised photo": partial(_each, lambda content: examine(content, _RULES, _UTC), paths),
                    "imagededup": partial(_rival, "imagededup", paths),
                    "cleanvision": partial(_rival, "cleanvision", paths),
                }
            )
        print(f"Milliseconds a photo of 12 megapixels, one core, median of {ROUNDS} alternating rounds\n")
        for name, seconds in took.items():
            print(f"  {name:28}{1000 * seconds:8.1f}")
        scaling = _core_scaling(paths)
        print(f"\nTwo threads on two cores take in {scaling:.2f} times as many photos as one")
    return {
        "vs_cleanvision": took["cleanvision"] / took["pass"],
        "vs_imagededup": took["imagededup"] / took["pass"],
        "over_floor": took["pass"] / took["floor"],
        "core_scaling": scaling,
    }


def _copies(folder: Path) -> list[Path]:
    contents = [path.read_bytes() for path in sorted(PHOTOS.iterdir())]
    paths = []
    for number in range(COPIES * len(contents)):
        path = folder / f"{number}.jpg"
        path.write_bytes(contents[number % len(contents)])
        paths.append(path)
    return paths


def _alternately(tasks: Mapping[str, Callable[[], float]]) -> dict[str, float]:
    """Median seconds a photo of each task; a round of all warms up."""
    took: dict[str, list[float]] = {name: [] for name in tasks}
    for number in range(ROUNDS + 1):
        for name, task in tasks.items():
            seconds = task()
            if number:
                took[name].append(seconds)
    return {name: statistics.median(all_seconds) for name, all_seconds in took.items()}


def _each(work: Callable[[bytes], object], paths: Sequence[Path]) -> float:
    begun = time.perf_counter()
    for path in paths:
        content = path.read_bytes()
        hashlib.sha256(content).hexdigest()
        work(content)
    return (time.perf_counter() - begun) / len(paths)


def _floor(content: bytes) -> object:
    import cv2

    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)


def _rival(name: str, paths: Sequence[Path]) -> float:
    """Seconds a photo of a library in a process of its own, without its start."""
    (packages,) = RIVALS.glob("lib/python3*/site-packages")
    command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("rivals.py")), name, *map(str, paths)]
    environment = {**os.environ, "PYTHONPATH": str(packages), "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 no input from outside
    return float(done.stdout.split()[-1]) / len(paths)


def _core_scaling(paths: Sequence[Path]) -> float:
    """Throughput of two threads over that of one, with normalised photos; both on two cores."""

    def work(path: Path) -> None:
        examine(path.read_bytes(), _RULES, _UTC)

    def seconds(workers: int) -> float:
        begun = time.perf_counter()
        for _ in map_in_threads(work, paths, workers=workers):
            pass
        return time.perf_counter() - begun

    seconds(2)
    return statistics.median(seconds(1) / seconds(2) for _ in range(ROUNDS))


@contextmanager
def _one_core() -> Iterator[None]:
    import cv2

    cores = os.sched_getaffinity(0)
    before = cv2.getNumThreads()
    os.sched_setaffinity(0, {min(cores)})
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
        cv2.setNumThreads(before)


def _days() -> dict[str, float]:
    """Small days before and after the large one, since a machine is not as fast at all times."""
    before, large, *after = (_day(photos) for photos in (SMALL_DAY, LARGE_DAY, SMALL_DAY, SMALL_DAY))
    small = [before, *after]
    print("\nDays of rendered photos, taken in and cleaned by the assets themselves, on all cores\n")
    for day in (*small, large):
        print(
            f"  {day.photos:5} photos {day.seconds:8.1f} s {day.milliseconds_a_photo:8.1f} ms a photo"
            f" {day.peak_mebibytes:8.0f} MiB at most"
        )
    return {
        "memory_growth": large.peak_mebibytes / max(day.peak_mebibytes for day in small),
        "cost_growth": large.milliseconds_a_photo / statistics.median(day.milliseconds_a_photo for day in small),
    }


def _day(photos: int) -> Day:
    """One day in a process of its own, whose memory nothing else has grown."""
    done = subprocess.run(  # noqa: S603 no input from outside
        [sys.executable, "-m", "benchmarks.photo_day", str(photos)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Day(**json.loads(done.stdout.splitlines()[-1]))
