"""A day of photos whose intake is killed again and again, two runs of it at once: nothing lost, doubled or half."""

import hashlib
import io
import random
import shutil
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
BATCH = 10
LONG = (pytest.mark.slow, pytest.mark.timeout(1800))
DAY_TABLES = {"raw_photos": RAW_PHOTOS, "photo_measures": PHOTO_MEASURES, "clean_photos": CLEAN_PHOTOS}


def begin(home: Path, runs: int = 1) -> list[subprocess.Popen[str]]:
    """Runs of the day, from the moment at which they begin to work."""
    processes = [
        subprocess.Popen(
            [sys.executable, str(WORKER), str(home), DAY],
            cwd=PROJECT,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join([str(PROJECT), *sys.path])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(runs)
    ]
    for process in processes:
        assert process.stdout is not None
        if not any(line.strip() == "begun" for line in process.stdout):
            raise AssertionError(f"the run ended before it began: {process.communicate()[1]}")
    return processes


def finish(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors


def land(home: Path, batch: int) -> None:
    """Ten uploads: one truncated, one that was in the batch before."""
    folder = landing(home) / DAY / f"CAB-{batch}"
    folder.mkdir(parents=True)
    for number in range(BATCH):
        again = number == 1 and batch > 0  # what is the third of the batch before
        content = picture(batch * BATCH + number - (9 if again else 0), size=(1600, 1200))
        (folder / f"{number:04}.jpg").write_bytes(content if number else content[: len(content) // 2])


def landing(home: Path) -> Path:
    return Path(Settings(home=home).places("enclosures").landing)


def store(home: Path) -> Path:
    return Path(Settings(home=home).places("enclosures").store)


def whole_files(root: Path) -> dict[str, bytes]:
    """Everything that a reader of the store can see, each file held against what its name promises."""
    found = {}
    for path in sorted(file for file in root.rglob("*") if file.is_file()):
        if "incoming" in path.parts or path.name.startswith("."):
            continue
        name, content = str(path.relative_to(root)), path.read_bytes()
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
    texts = pl.col(pl.String).str.replace_all(str(home), "", literal=True)  # addresses below the home
    of_day = Tables(root=str(store(home)))
    return {name: of_day.read(name, schema, DAY).with_columns(texts) for name, schema in DAY_TABLES.items()}


def kill_again_and_again(home: Path, kills: int, longest: float) -> int:
    """Land a batch, begin two runs and kill them at random moments, again and again; returns how many batches.

    A run that was done before its moment does not count.
    """
    moments, killed, batches = random.Random(kills), 0, 0  # noqa: S311 no secret
    while killed < kills:
        land(home, batches)
        batches += 1
        runs = begin(home, 2)
        for run in runs:
            time.sleep(moments.uniform(0, longest))
            run.send_signal(signal.SIGKILL)
        killed += sum(run.wait() == -signal.SIGKILL for run in runs)
        whole_files(store(home))
    return batches


def pictures_of(home: Path) -> dict[str, bytes]:
    return {name: file for name, file in whole_files(store(home)).items() if name.startswith(("originals", "photos"))}


def seconds_of_a_batch(home: Path) -> float:
    land(home, 0)
    (run,) = begin(home)
    begun = time.monotonic()
    finish(run)
    return time.monotonic() - begun


@pytest.mark.parametrize("kills", [pytest.param(2, id="short"), pytest.param(30, id="long", marks=LONG)])
def test_a_day_that_is_killed_again_and_again_ends_as_one_that_is_not(tmp_path: Path, kills: int) -> None:
    calm, harried = tmp_path / "calm", tmp_path / "harried"
    batches = kill_again_and_again(harried, kills, 1.2 * seconds_of_a_batch(tmp_path / "first"))
    for run in begin(harried, 2):
        finish(run)
    shutil.copytree(landing(harried), landing(calm))  # with the times at which files were landed
    (run,) = begin(calm)
    finish(run)
    expected, found = tables(calm), tables(harried)
    for name in DAY_TABLES:
        assert_frame_equal(found[name], expected[name])
    counts = conservation(found["raw_photos"])
    assert (counts["landed"], counts["quarantined"]) == (BATCH * batches, batches)
    assert counts["duplicate"] == batches - 1
    assert counts["landed"] == counts["accepted"] + counts["duplicate"] + counts["quarantined"]
    pictures = [pictures_of(home) for home in (calm, harried)]
    assert pictures[0] == pictures[1]
    assert len(pictures[0]) == 2 * counts["accepted"]
