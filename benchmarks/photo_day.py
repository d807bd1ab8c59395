"""One day of rendered photos through raw_photos and clean_photos, for `photos`: `python -m benchmarks.photo_day 500`.

Prints what it cost as JSON. Photos are rendered once and kept in bench-output/.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import dagster as dg

from benchmarks.peak_memory import peak_mebibytes
from definitions import build_defs
from demo.render.run import render_demo
from mlops_assets.use_case import load_use_case
from resources.settings import PROJECT, Settings

DAY = "2026-10-06"
SIZE = (1280, 960)
ENCLOSURES = 850
"""About six photos each."""

RENDERED = PROJECT / "bench-output" / "rendered"


def main() -> None:
    """Take in the day in a fresh home."""
    photos = int(sys.argv[1])
    case = load_use_case(PROJECT / "use_cases" / "enclosures.yaml")
    keys = {dg.AssetKey([case.name, name]) for name in ("raw_photos", "clean_photos")}
    with tempfile.TemporaryDirectory() as home, dg.DagsterInstance.ephemeral() as instance:
        settings = Settings(home=Path(home))
        _land(photos, Path(settings.places(case.name).landing) / DAY)
        os.sync()  # what was landed is on disk; a real day's was landed hours ago
        job = build_defs(settings, case).resolve_implicit_global_asset_job_def()
        begun = time.perf_counter()
        job.get_subset(asset_selection=keys, asset_check_selection=set()).execute_in_process(
            instance=instance, partition_key=DAY
        )
        seconds = time.perf_counter() - begun
    peak = peak_mebibytes()
    print(json.dumps({"photos": photos, "seconds": seconds, "peak_mebibytes": peak}))


def _land(photos: int, day: Path) -> None:
    for path in _rendered(photos):
        folder = day / path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / path.name)


def _rendered(photos: int) -> list[Path]:
    """As many photos of 1280 x 960 pixels, in a folder an enclosure."""
    kept = PROJECT / "bench-output" / "photos-1280"
    render_demo(RENDERED, enclosures=ENCLOSURES)
    for path in sorted((RENDERED / "landing").rglob("*.jpg")):
        target = kept / path.parent.name / f"{path.parent.parent.name}-{path.name}"
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            _resized(path, target)
    found = sorted(path for path in kept.rglob("*.jpg") if path.stat().st_size)[:photos]
    if len(found) < photos:
        raise ValueError(f"{len(found)} photos were rendered, {photos} are wanted: raise ENCLOSURES")
    return found


def _resized(source: Path, target: Path) -> None:
    """An empty file stands for one of the demo's bad uploads."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(source) as image:
            ImageOps.fit(image.convert("RGB"), SIZE).save(target, "JPEG", quality=90)
    except (UnidentifiedImageError, OSError):
        target.write_bytes(b"")


if __name__ == "__main__":
    main()
