"""Labels at the scale of years: imported, counted, split and made a dataset version, then once more after one new box.

200,000 photos of 20,000 enclosures with 1,000,000 boxes of 30 classes, from 620,000 boxes down to 700 of one, in COCO
files of 10,000 photos. Each asset, and the checks of each, runs by the real definitions in a process of its own, and
every table goes through the real store in a local folder. What is not in it: the photos are stand-ins of 64 bytes, so
that a version's photos are read, hashed and kept 200,000 times, but not the 40 GB or so that real ones have; their
intake and near-duplicates come from tables that are written here; nothing is exported or trained; and the start of a
process, some seconds a step, is what the section `start` measures.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.labels_step import CASE
from mlops_assets.photos.schema import CLEAN_PHOTOS, PHOTO_MEASURES, RAW_PHOTOS
from resources.locations import location
from resources.settings import PROJECT, Settings
from resources.tables import write_parquet

PHOTOS, SMALL = 200_000, 20_000
BOXES_A_PHOTO = 5
PHOTOS_AN_ENCLOSURE, PHOTOS_A_DAY, PHOTOS_A_FILE = 10, 5_000, 10_000
CLASSES = 30
NEAR_DUPLICATES, ELSEWHERE = 0.02, 0.1
"""Share of photos that repeat an earlier one, and of these the share that repeat one of another enclosure."""

STEPS = (
    ("annotations", "asset"),
    ("annotations", "checks"),
    ("equipment_classes", "asset"),
    ("split_assignments", "asset"),
    ("training_dataset", "asset"),
    ("training_dataset", "checks"),
)
WIDTH, HEIGHT = 1280, 960


@dataclass(frozen=True)
class Cost:
    """Of one step; cpu_seconds with what its process cost to start."""

    seconds: float
    cpu_seconds: float
    peak_gib: float


def run() -> dict[str, float]:
    """Measure and print; returns the ratios."""
    large, again = _measure(PHOTOS)
    small, _ = _measure(SMALL)
    print(f"\n{'seconds':34}{'100,000 boxes':>14}{'1,000,000':>12}{'one box more':>14}{'peak GiB':>10}")
    for step in STEPS:
        name = " ".join(step)
        peak = max(large[step].peak_gib, again[step].peak_gib)
        print(f"{name:34}{small[step].seconds:14.1f}{large[step].seconds:12.1f}{again[step].seconds:14.1f}{peak:10.2f}")
    seconds = {name: _total(costs) for name, costs in (("small", small), ("large", large), ("again", again))}
    print(f"{'together':34}{seconds['small']:14.1f}{seconds['large']:12.1f}{seconds['again']:14.1f}")
    return {
        "seconds_1m_boxes": seconds["large"],
        "peak_gb": max(cost.peak_gib for costs in (large, again) for cost in costs.values()) * 2**30 / 1e9,
        "growth_10x": seconds["large"] / seconds["small"],
        "second_build": seconds["again"] / seconds["large"],
    }


def _total(costs: dict[tuple[str, str], Cost]) -> float:
    return sum(cost.seconds for cost in costs.values())


def _measure(photos: int) -> tuple[dict[tuple[str, str], Cost], dict[tuple[str, str], Cost]]:
    """What each step costs at first, and after one photo has got one box more."""
    kept = PROJECT / "bench-output"
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept) as folder:
        places = Settings(home=Path(folder)).places(CASE.name)
        ids = _write_photos(Path(places.store), Path(places.landing), photos)
        _write_labels(Path(places.labels), ids)
        os.sync()
        first = {step: _step(Path(folder), step) for step in STEPS}
        time.sleep(1)  # a labelling is later than the one that it replaces
        _write_coco(Path(places.labels) / "later.json", ids[:1], boxes=BOXES_A_PHOTO + 1)
        return first, {step: _step(Path(folder), step) for step in STEPS}


def _step(home: Path, step: tuple[str, str]) -> Cost:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.labels_step", str(home), *step]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)  # noqa: S603 our own code
    if done.returncode:
        raise RuntimeError(f"{' '.join(step)} failed:\n{done.stderr[-3000:]}")
    cost = Cost(**json.loads(done.stdout.splitlines()[-1]))
    print(
        f"  {' '.join(step):34}{cost.seconds:8.1f} s{cost.cpu_seconds:8.1f} s of CPU{cost.peak_gib:8.2f} GiB",
        flush=True,
    )
    return cost


def _write_photos(store: Path, landing: Path, photos: int) -> list[str]:
    """Stand-ins for the normalised photos, and the tables of their days; photo_ids in the order of landing."""
    shutil.rmtree(store, ignore_errors=True)
    ids = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(photos)]
    for digits in sorted({photo_id[:2] for photo_id in ids}):
        (store / "photos" / digits).mkdir(parents=True)
    for photo_id in ids:
        (store / "photos" / photo_id[:2] / f"{photo_id}.jpg").write_bytes(photo_id.encode())
    random = np.random.default_rng(0)
    near = random.random(photos) < NEAR_DUPLICATES
    near[0] = False
    back = np.where(random.random(photos) < ELSEWHERE, random.integers(1, photos, photos), 1)
    rows = pl.DataFrame(
        {
            "photo_id": ids,
            "enclosure_id": [_enclosure(number) for number in range(photos)],
            "near_duplicate_of": [ids[max(n - int(back[n]), 0)] if near[n] else None for n in range(photos)],
            "number": range(photos),
        }
    )
    first_day = pl.date(2026, 1, 1)
    rows = rows.with_columns(day=(first_day + pl.duration(days=pl.col("number") // PHOTOS_A_DAY)).cast(pl.String))
    for (day,), frame in rows.group_by("day", maintain_order=True):
        _write_day(store, str(landing), str(day), frame)
    return ids


def _enclosure(number: int) -> str:
    return f"CAB-{number // PHOTOS_AN_ENCLOSURE:06d}"


def _write_day(store: Path, landing: str, day: str, photos: pl.DataFrame) -> None:
    uri = pl.format(f"{landing}/{day}/{{}}/{{}}.jpg", "enclosure_id", pl.col("number").cast(pl.String).str.zfill(7))
    facts = photos.with_columns(
        landing_uri=uri,
        visit_id=pl.format("{}/" + day, "enclosure_id"),
        width=pl.lit(WIDTH, pl.Int32),
        height=pl.lit(HEIGHT, pl.Int32),
        format=pl.lit("JPEG"),
        byte_size=pl.lit(64, pl.Int64),
        status=pl.lit("accepted"),
        verdict=pl.lit("usable"),
        uri=pl.format("photos/{}.jpg", "photo_id"),
        perceptual_hash=pl.col("photo_id").str.head(16),
        examined_by=pl.lit("bench"),
    )
    schemas = {"raw_photos": RAW_PHOTOS, "clean_photos": CLEAN_PHOTOS, "photo_measures": PHOTO_MEASURES}
    for name, schema in schemas.items():
        table = facts.select(
            pl.col(column).cast(dtype) if column in facts.columns else pl.lit(None, dtype).alias(column)
            for column, dtype in schema.items()
        )
        write_parquet(table, location(str(store)) / "tables" / name / f"{day}.parquet")


def _write_labels(drop: Path, ids: list[str]) -> None:
    drop.mkdir(parents=True)
    for begin in range(0, len(ids), PHOTOS_A_FILE):
        _write_coco(drop / f"{begin:07d}.json", ids[begin : begin + PHOTOS_A_FILE], begin=begin)


def _write_coco(path: Path, ids: list[str], *, begin: int = 0, boxes: int = BOXES_A_PHOTO) -> None:
    random = np.random.default_rng(begin)
    share = 1 / np.arange(1, CLASSES + 1) ** 2
    classes = random.choice(CLASSES, (len(ids), boxes), p=share / share.sum())
    corners = random.integers(0, (WIDTH - 200, HEIGHT - 200), (len(ids), boxes, 2))
    images = [
        {"id": n, "file_name": f"{_enclosure(begin + n)}/{begin + n:07d}.jpg", "width": WIDTH, "height": HEIGHT}
        for n in range(len(ids))
    ]
    annotations: list[dict[str, Any]] = [
        {"id": n * boxes + b, "image_id": n, "category_id": int(classes[n, b]) + 1, "bbox": [*map(int, corners[n, b])]}
        for n in range(len(ids))
        for b in range(boxes)
    ]
    for number, annotation in enumerate(annotations):
        annotation["bbox"] += [100 + number % 97, 100 + number % 89]
    categories = [{"id": number + 1, "name": f"device_{number:02d}"} for number in range(CLASSES)]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
