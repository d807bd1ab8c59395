"""Photos a second from original bytes to boxes: the live path beside Ultralytics, on the CPU, on the same photos.

The photos are of 12 megapixels, racks of ../shared/data scaled up and encoded as a phone does; the detector was trained
on other enclosures. Every contender has a process of its own, is warmed up, and is measured in turns with the others;
of batch sizes and kinds of input the best of a first round counts. Ultralytics does not save pictures here, which the
command line would.
"""

import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from benchmarks.inference_parts import print_parts
from benchmarks.racks_detector import RULES, RacksDetector, photo_bytes, racks_detector
from mlops_assets.detector.evaluation import evaluate
from mlops_assets.detector.export import export_onnx
from mlops_assets.detector.runtimes import RUNTIMES, import_openvino
from mlops_assets.detector.ultralytics_setup import prepare_ultralytics
from mlops_assets.photos.examination import examine
from mlops_assets.use_case import IntakeRules, load_use_case
from resources.atomic_write import write_atomically
from resources.locations import location
from resources.settings import PROJECT

KEPT = PROJECT / "bench-output" / "inference"
LONG_SIDE, JPEG_QUALITY, NOISE = 4000, 92, 2.0
"""12 megapixels; sensor noise in grey levels, without which the files would be far smaller than a phone's."""

PHOTOS, TRIED, ROUNDS = 16, 8, 5
"""Photos of a round, of the first round that chooses, and rounds."""

BATCHES = (1, 2, 4, 8)
BATCH = "ours, normalised photos"
"""What the step that looks at a day's photos reads; the others read originals."""

TARGET_OTHERS = ("torch, all threads", "its ONNX export", "its OpenVINO export")


@dataclass(frozen=True)
class Contender:
    """A way to look at photos.

    Attributes:
        name: For people.
        settings: Those of `inference_process`.
        folder: Where it finds photos of the same names that are not the originals.
    """

    name: str
    settings: Mapping[str, Any]
    folder: Path | None = None

    def words(self) -> str:
        """What it was measured with."""
        told = (f"{key} {self.settings[key]}" for key in ("batch", "input", "kind") if key in self.settings)
        return ", ".join(told)


def run() -> dict[str, float]:
    """At 640 px, and at the use case's image size.

    Raises:
        FileNotFoundError: The photos are not there.
    """
    threads = len(os.sched_getaffinity(0))
    detector = racks_detector(threads)
    files = _photos(detector)
    _normalise(files[:PHOTOS], KEPT / "normalised")
    size = load_use_case(PROJECT / "use_cases" / "enclosures.yaml").training.image_size
    ratios = _compare(detector, files, RULES.image_size, threads, BATCHES)
    smaller = _compare(detector, files, size, threads, BATCHES[:2])
    return ratios | {f"{name}_{size}": value for name, value in smaller.items()}


def _compare(
    detector: RacksDetector, files: Sequence[Path], size: int, threads: int, batches: Sequence[int]
) -> dict[str, float]:
    models = _exports(detector, size, threads)
    measured = list(files[:PHOTOS])
    ours, rivals = _contenders(detector, models, size, threads, batches)
    chosen = [*ours, *(_best(variants, measured[:TRIED]) for variants in rivals)]
    took = _in_turns(chosen, measured)
    print(f"\n{size} px, {threads} cores, ms a photo of 12 megapixels, median of {ROUNDS} rounds in turns\n")
    for contender in chosen:
        spread = f"{1000 * min(took[contender.name]):.0f} to {1000 * max(took[contender.name]):.0f}"
        median = 1000 * statistics.median(took[contender.name])
        print(f"  {contender.name:28}{median:8.1f}  ({spread}) {contender.words()}")
    print_parts(models["ours"], detector.class_ids, [path.read_bytes() for path in measured], threads)
    ratio = {
        name: statistics.median(a / b for a, b in zip(seconds, took["ours"], strict=True))
        for name, seconds in took.items()
    }
    return {
        "vs_yolo_predict": ratio["yolo predict"],
        "vs_best_other": min(ratio[name] for name in TARGET_OTHERS),
        "batch_over_live": 1 / ratio[BATCH],
        "map_difference": _map_difference(detector, models, files, size, threads),
    }


def _contenders(
    detector: RacksDetector, models: Mapping[str, Path], size: int, threads: int, batches: Sequence[int]
) -> tuple[list[Contender], list[list[Contender]]]:
    """Ours, and the variants of each rival."""
    base = {"way": "ours", "model": str(models["ours"]), "class_ids": detector.class_ids, "threads": threads}
    rival = {"way": "ultralytics", "size": size, "batch": 1}
    weights = {**rival, "model": str(detector.weights)}
    ours = [
        Contender("ours", base),
        *(Contender(f"ours, in {name}", {**base, "runtime": name}) for name in RUNTIMES),
        Contender(BATCH, base, KEPT / "normalised"),
    ]
    as_it_comes = [Contender("yolo predict", {**weights, "threads": None, "input": "folder"})]
    torch = [
        Contender("torch, all threads", {**weights, "threads": threads, "batch": batch, "input": kind})
        for batch, kind in [(1, "folder"), *((batch, "list") for batch in batches)]
    ]
    exported = [
        [
            Contender(name, {**rival, "threads": threads, "model": str(models[key]), "kind": kind, "batch": batch})
            for kind, key, sizes in (("static", static, (1,)), ("dynamic", dynamic, batches))
            for batch in sizes
        ]
        for name, static, dynamic in (
            ("its ONNX export", "onnx", "onnx_dynamic"),
            ("its OpenVINO export", "openvino", "openvino_dynamic"),
        )
    ]
    return ours, [as_it_comes, torch, *exported]


def _best(variants: Sequence[Contender], files: Sequence[Path]) -> Contender:
    if len(variants) == 1:
        return variants[0]
    seconds = {}
    for number, variant in enumerate(variants):
        with _opened(variant, files) as look:
            seconds[number] = min(look(files), look(files)) / len(files)
        print(f"  tried: {variant.name}, {variant.words()}: {1000 * seconds[number]:.0f} ms a photo", flush=True)
    return variants[min(seconds, key=lambda number: seconds[number])]


def _in_turns(contenders: Sequence[Contender], files: Sequence[Path]) -> dict[str, list[float]]:
    """Seconds a photo in each round, of each contender."""
    took: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    with ExitStack() as stack:
        looks = {c.name: stack.enter_context(_opened(c, files)) for c in contenders}
        for _ in range(ROUNDS):
            for name, look in looks.items():
                took[name].append(look(files) / len(files))
    return took


@contextmanager
def _opened(contender: Contender, files: Sequence[Path]) -> Iterator[Any]:
    """A function that has the contender look at files, warmed up."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.inference_process", json.dumps(contender.settings)]
    process = subprocess.Popen(  # noqa: S603 our own command
        command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("no pipes")
    sending, receiving = process.stdin, process.stdout

    with tempfile.TemporaryDirectory(dir=KEPT) as folder:

        def look(paths: Sequence[Path]) -> float:
            linked = [Path(folder) / path.name for path in paths]
            for path, link in zip(paths, linked, strict=True):
                if not link.exists():
                    os.link(path if contender.folder is None else contender.folder / path.name, link)
            sending.write(json.dumps([str(link) for link in linked]) + "\n")
            sending.flush()
            for line in receiving:  # Ultralytics prints as well
                if line.startswith("seconds "):
                    return float(line.split()[1])
            raise RuntimeError(f"{contender.name} ended; its message stands above")

        try:
            look(files)
            yield look
        finally:
            sending.close()
            process.wait()


def _map_difference(
    detector: RacksDetector, models: Mapping[str, Path], files: Sequence[Path], size: int, threads: int
) -> float:
    """By how much our mAP on the held-out photos is below that of `yolo predict`; the larger of two kinds of mAP."""
    ways = {
        "ours": {"way": "ours", "model": str(models["ours"]), "threads": threads},
        "yolo predict": {"way": "ultralytics", "model": str(detector.weights), "size": size, "threads": threads},
    }
    figures = {}
    truth = detector.dataset.filter(pl.col("split") == "test")
    for name, way in ways.items():
        with tempfile.NamedTemporaryFile(suffix=".parquet") as target:
            settings = json.dumps({**way, "class_ids": detector.class_ids})
            command = [sys.executable, "-W", "ignore", "-m", "benchmarks.inference_process", settings, target.name]
            subprocess.run(  # noqa: S603 our own command
                command, cwd=PROJECT, input=json.dumps([str(path) for path in files]) + "\n", text=True, check=True
            )
            found = pl.read_parquet(target.name)
        table = evaluate(
            truth,
            found.with_columns(photo_id=pl.col("photo_id") + ".jpg"),
            model_version=name,
            split="test",
            class_ids=detector.class_ids,
            thresholds=dict.fromkeys(detector.class_ids, 0.25),
        )
        figures[name] = table.filter(pl.col("class_id").is_null()).select("ap50", "ap50_95").row(0)
    photos = truth["photo_id"].n_unique()
    print(f"\nmAP50 and mAP50-95 on {photos} photos of {truth['enclosure_id'].n_unique()} held-out enclosures\n")
    for name, (ap50, ap50_95) in figures.items():
        print(f"  {name:28}{ap50:8.4f}{ap50_95:8.4f}")
    pairs = zip(figures["yolo predict"], figures["ours"], strict=True)
    return float(max(theirs - own for theirs, own in pairs))


def _photos(detector: RacksDetector) -> list[Path]:
    """The held-out photos at 12 megapixels, made once."""
    import cv2

    ids = detector.dataset.filter(pl.col("split") == "test")["photo_id"].unique().sort().to_list()
    folder = KEPT / "photos"
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for photo_id in ids:
        if (folder / photo_id).exists():
            continue
        image = np.asarray(cv2.imdecode(np.frombuffer(photo_bytes(photo_id), np.uint8), cv2.IMREAD_COLOR))
        scale = LONG_SIDE / max(image.shape[:2])
        large = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        noisy = large + rng.normal(0, NOISE, large.shape).astype(np.float32)
        encoded = cv2.imencode(
            ".jpg", np.clip(noisy, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        )
        write_atomically(location(str(folder / photo_id)), encoded[1].tobytes())
    return [folder / photo_id for photo_id in ids]


def _normalise(files: Sequence[Path], folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for path in files:
        examined = examine(path.read_bytes(), IntakeRules(), ZoneInfo("UTC"))
        write_atomically(location(str(folder / path.name)), examined.photo)


def _exports(detector: RacksDetector, size: int, threads: int) -> dict[str, Path]:
    """Our export and those of Ultralytics, made once for these weights."""
    name = hashlib.sha256(detector.weights.read_bytes()).hexdigest()[:12]
    folder = KEPT / f"exports-{name}-{size}"
    models = {"ours": folder / "ours.onnx"}
    if not models["ours"].exists():
        export_onnx(detector.weights, models["ours"], size, threads=threads)
    prepare_ultralytics(threads)
    import_openvino()
    from ultralytics import YOLO

    kinds: dict[str, dict[str, Any]] = {
        "onnx": {"format": "onnx"},
        "onnx_dynamic": {"format": "onnx", "dynamic": True},
        "openvino": {"format": "openvino"},
        "openvino_dynamic": {"format": "openvino", "dynamic": True},
    }
    for key, options in kinds.items():
        suffix = ".onnx" if options["format"] == "onnx" else "_openvino_model"
        models[key] = folder / key / f"model{suffix}"
        if not models[key].exists():
            (folder / key).mkdir(parents=True, exist_ok=True)
            copy = folder / key / "model.pt"
            copy.write_bytes(detector.weights.read_bytes())
            # simplify needs onnxslim, which is not among the project's packages; the runtimes simplify by themselves.
            extra = {"simplify": False} if options["format"] == "onnx" else {}
            YOLO(copy).export(imgsz=size, device="cpu", **options, **extra)
    return models
