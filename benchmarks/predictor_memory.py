"""Memory of the step that looks at a day's photos, for a small and a large day, each in a process of its own."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

from benchmarks.peak_memory import peak_mebibytes
from benchmarks.racks_detector import photo_bytes, racks_detector
from benchmarks.real_photos import RACKS
from mlops_assets.catalog.detecting import detect_day
from mlops_assets.catalog.looked_at import LookedAt
from mlops_assets.catalog.schema import UNKNOWN_EQUIPMENT
from mlops_assets.detector.champion import Champion
from mlops_assets.detector.export import export_onnx
from mlops_assets.detector.predictor import OnnxPredictor
from mlops_assets.detector.references import build_references
from resources.settings import PROJECT
from resources.tables import Tables

SMALL, LARGE = 200, 2000
IMAGE_SIZE = 416
DAY = "2026-10-05"


def run() -> dict[str, float]:
    """Print photos, seconds and the most memory; returns the growth from the small day to the large one."""
    threads = len(os.sched_getaffinity(0))
    detector = racks_detector(threads)
    with tempfile.TemporaryDirectory() as folder:
        model = export_onnx(detector.weights, Path(folder) / "model.onnx", IMAGE_SIZE, threads=threads)
        predictor = OnnxPredictor(model, detector.class_ids, threads=threads)
        build_references(predictor, detector.dataset, photo_bytes).save(Path(folder) / "references.npz")
        peaks = [_measured(folder, photos, threads) for photos in (SMALL, LARGE)]
    return {"memory_growth": peaks[1] / peaks[0]}


def _measured(folder: str, photos: int, threads: int) -> float:
    done = subprocess.run(  # noqa: S603 our own command
        [sys.executable, "-m", "benchmarks.predictor_memory", folder, str(photos), str(threads)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout.splitlines()[-1])
    print(
        f"  {photos:5} photos {told['seconds']:8.1f} s {photos / told['seconds']:8.1f} a second"
        f" {told['peak_mebibytes']:8.0f} MiB at most ({told['runtime']})",
        flush=True,
    )
    return float(told["peak_mebibytes"])


def look(folder: Path, photos: int, threads: int) -> None:
    """Look at a day of photos, the racks photos over and over under other names, and print what it cost as JSON."""
    names = sorted(f"{path.parent.name}-{path.name}" for path in (RACKS / "landing").rglob("*.jpg"))
    class_map = {class_id: f"device {class_id}" for class_id in range(10)}
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as store:
        tables = Tables(root=store)
        looked_at = LookedAt(tables, DAY, "code", "1")
        found = detect_day(
            pl.DataFrame({"photo_id": [f"{n:06d}" for n in range(photos)], "verdict": ["usable"] * photos}),
            looked_at=looked_at,
            champion=Champion("1", class_map, {}, "model", "references"),
            download=lambda _champion, name, _sha256: folder / Path(name).name,
            read_photo=lambda photo_id: photo_bytes(names[int(photo_id) % len(names)]),
            threads=threads,
            progress=lambda done, _todo: print(f"{done} photos", file=sys.stderr) if done % 500 == 0 else None,
        )
        tables.write("unknown_equipment", found.unknown_equipment, UNKNOWN_EQUIPMENT, DAY)
    peak = peak_mebibytes()
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "peak_mebibytes": peak, "runtime": found.runtime}))


if __name__ == "__main__":
    look(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
