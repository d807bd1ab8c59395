"""A day of photos whose intake is killed again and again, two runs of it at once: nothing lost, doubled or half."""

import hashlib
import io
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from PIL import Image
from polars.testing import assert_frame_equal
from upload_samples import DAY, picture

from mlops_assets.photos.intake import conservation
from mlops_assets.photos.schema import CLEAN_PHOTOS, PHOTO_MEASURES, RAW_PHOTOS
from resources.settings import PROJECT, Settings
from resources.tables import Tables

WORKER = Path(__file__).with_name("day_worker.py")
DAY_TABLES = {"raw_photos": RAW_PHOTOS, "photo_measures": PHOTO_MEASURES, "clean_photos": CLEAN_PHOTOS}


def begin(home: Path) -> subprocess.Popen[str]:
    """A run of the day, from the moment at which it begins to work."""
    process = subprocess.Popen(
        [sys.executable, str(WORKER), str(home), DAY],
        cwd=PROJECT,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join([str(PROJECT), *sys.path])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "begun":
            return process
    raise AssertionError(f"the run ended before it began: {process.communicate()[1]}")


def finish(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors


def land_a_day(home: Path, photos: int) -> None:
    folder = Path(Settings(home=home).places("enclosures").landing) / DAY / "CAB-1"
    folder.mkdir(parents=True)
    for number in range(photos):
        content = picture(number % (photos - 5), size=(1600, 1200))  # the last five are uploads for the second time
        (folder / f"{number:04}.jpg").write_bytes(content if number % 10 else content[: len(content) // 2])


def whole_files(store: Path) -> dict[str, bytes]:
    """Everything that a reader of the store can see, each file held against what its name promises."""
    found = {}
    for path in sorted(file for file in store.rglob("*") if file.is_file()):
        if "incoming" in path.parts or path.name.startswith("."):
            continue
        name, content = str(path.relative_to(store)), path.read_bytes()
        if name.startswith("originals"):
            assert hashlib.sha256(content).hexdigest() == path.stem
        elif name.startswith("photos"):
            Image.open(io.BytesIO(content)).load()
        elif name.endswith(".csv"):
            pl.read_csv(content)
        else:
            pl.read_parquet(io.BytesIO(content))
        found[name] = content
    return found


def tables(home: Path) -> dict[str, pl.DataFrame]:
    store = Tables(root=Settings(home=home).places("enclosures").store)
    return {name: store.read(name, schema, DAY) for name, schema in DAY_TABLES.items()}


def without_home(frame: pl.DataFrame, home: Path) -> pl.DataFrame:
    """Addresses below the home, and times at which files were landed, differ between two homes."""
    texts = pl.col(pl.String).str.replace_all(str(home), "", literal=True)
    return frame.with_columns(texts).drop("modified_at", "etag", strict=False)


def kill_again_and_again(home: Path, kills: int, longest: float, seed: int) -> int:
    """Begin two runs at a time and kill them at random moments; returns how many were killed while at work."""
    moments, killed = random.Random(seed), 0  # noqa: S311 no secret
    while killed < kills:
        runs = [begin(home), begin(home)]
        for run in runs:
            time.sleep(moments.uniform(0, longest))
            run.send_signal(signal.SIGKILL)
        killed += sum(run.wait() == -signal.SIGKILL for run in runs)
        whole_files(Path(Settings(home=home).places("enclosures").store))
    return killed


@pytest.mark.parametrize(
    ("photos", "kills"),
    [pytest.param(40, 4, id="short"), pytest.param(200, 30, id="long", marks=pytest.mark.slow)],
)
def test_a_day_that_is_killed_again_and_again_ends_as_one_that_is_not(tmp_path, photos, kills):
    calm, harried = tmp_path / "calm", tmp_path / "harried"
    for home in (calm, harried):
        land_a_day(home, photos)
    run = begin(calm)
    begun = time.monotonic()
    finish(run)
    took = time.monotonic() - begun
    assert kill_again_and_again(harried, kills, 1.2 * took, seed=kills) >= kills
    for run in (begin(harried), begin(harried)):
        finish(run)
    expected, found = tables(calm), tables(harried)
    for name in DAY_TABLES:
        assert_frame_equal(without_home(found[name], harried), without_home(expected[name], calm))
    counts = conservation(found["raw_photos"])
    assert counts["landed"] == photos == counts["accepted"] + counts["duplicate"] + counts["quarantined"]
    stores = [Path(Settings(home=home).places("enclosures").store) for home in (calm, harried)]
    calm_files, harried_files = (whole_files(store) for store in stores)
    pictures = [
        {name: content for name, content in files.items() if name.startswith(("originals", "photos"))}
        for files in (calm_files, harried_files)
    ]
    assert pictures[0] == pictures[1]
    assert len(pictures[0]) == 2 * counts["accepted"]
