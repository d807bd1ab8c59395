"""Live serving beside the predictor alone: photos a second, latency, and a champion change under load.

`python -m benchmarks.serving --minutes 0.5` is the short form. The bundled base weights are exported and registered
twice; the server is the real command on a registry in SQLite; one request in twenty is malformed. The predictor runs in
this process with as many threads as the server, before and after the load, while the server is idle. The client shares
the processors with the server: what it takes of them is printed, and the ratio is not corrected for it.
"""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import psutil

from benchmarks.photos import PHOTOS
from mlops_assets.class_keys import class_key
from mlops_assets.detector import files
from mlops_assets.detector.bundled import bundled_weights
from mlops_assets.detector.export import export_onnx
from mlops_assets.detector.mlflow_model import write_mlflow_model
from mlops_assets.detector.predictor import OnnxPredictor
from mlops_assets.photos.examination import examine
from mlops_assets.use_case import IntakeRules, registered_model
from rehearsal.environment import answers, basics
from rehearsal.processes import Command, Service, free_port, running
from resources.mlflow_client import ensure_experiment, open_client
from resources.model_registry import ModelRegistry
from resources.settings import PROJECT

MINUTES = 10.0
CONNECTIONS = 4
THREADS = 2
IMAGE_SIZE = 640
CONFIDENCE = 0.25
POLL_SECONDS = 2
USE_CASE = "enclosures"
DRAWN = 4
"""Photos that are drawn where the real ones are not there."""


@dataclass(frozen=True)
class Load:
    """What a client saw.

    Attributes:
        photos_a_second: Valid requests that were answered with 200.
        failed: Valid requests that were not, and connections that broke.
        malformed: Answers to malformed requests by status.
        versions: Answers by the version that gave them.
        latencies: Of valid requests, seconds, sorted.
        client_ms: Of a processor that the client took for a photo.
        server_ms: Likewise the server.
    """

    photos_a_second: float
    failed: int
    malformed: Mapping[int, int]
    versions: Mapping[str, int]
    latencies: Sequence[float]
    client_ms: float
    server_ms: float

    def quantile(self, share: float) -> float:
        """Latency in milliseconds that this share of requests met."""
        return 1000 * self.latencies[min(int(share * len(self.latencies)), len(self.latencies) - 1)]

    def client_share(self) -> float:
        """Of what client and server took of the processors, the client's part."""
        return self.client_ms / (self.client_ms + self.server_ms)

    def refused(self) -> float:
        """Share of malformed requests that were answered with a 4xx."""
        wrong = sum(count for status, count in self.malformed.items() if not 400 <= status < 500)
        return 1 - wrong / max(sum(self.malformed.values()), 1)


@dataclass(frozen=True)
class Alone:
    """What the predictor did in this process: photos, and its seconds on the clock and of processors."""

    photos: int
    seconds: float
    cpu_seconds: float

    @property
    def photos_a_second(self) -> float:
        """On the clock."""
        return self.photos / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Of a processor for a photo."""
        return 1000 * self.cpu_seconds / self.photos

    def and_then(self, other: "Alone") -> "Alone":
        """Both together."""
        return Alone(self.photos + other.photos, self.seconds + other.seconds, self.cpu_seconds + other.cpu_seconds)


def run(minutes: float = MINUTES, connections: int = CONNECTIONS) -> dict[str, float]:
    """Print the table and return the ratios.

    Raises:
        RuntimeError: A valid request failed, a malformed one was not refused, or the new champion did not take over.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        large = _large_photos()
        sets = {"normalised": [_normalised(photo) for photo in large], "12 megapixels": large}
        places = {name: _written(folder / name.replace(" ", "-"), photos) for name, photos in sets.items()}
        onnx, class_ids = _export(folder)
        uri = f"sqlite:///{folder}/mlflow.db"
        registry = ModelRegistry(tracking_uri=uri, model_name=registered_model(USE_CASE))
        versions = [_register(registry, folder, onnx, class_ids) for _ in range(2)]
        registry.set_champion(versions[0])
        predictor = OnnxPredictor(onnx, class_ids, threads=THREADS)
        short = max(60 * minutes / 10, 5.0)
        with _server(folder, uri) as (service, port):
            asked = _Asked(service, port, folder, connections)
            rows = {
                "normalised": asked.beside(
                    predictor,
                    sets["normalised"],
                    places["normalised"],
                    60 * minutes,
                    short / 2,
                    "raw",
                    lambda: registry.set_champion(versions[1]),
                ),
                "12 megapixels": asked.beside(predictor, large, places["12 megapixels"], short, short / 2, "raw"),
                "normalised, MLflow's JSON": asked.beside(
                    predictor, sets["normalised"], places["normalised"], short, short / 2, "json"
                ),
            }
    _print(rows, connections)
    load, _ = rows["normalised"]
    _require(load, versions)
    for other, _ in rows.values():
        _require(other, versions[1:] if other is not load else versions)
    ratios = {name: load.photos_a_second / alone.photos_a_second for name, (load, alone) in rows.items()}
    return {
        "over_predictor": ratios["normalised"],
        "over_predictor_12_megapixels": ratios["12 megapixels"],
        "over_predictor_json": ratios["normalised, MLflow's JSON"],
        "failed_valid": float(sum(each.failed for each, _ in rows.values())),
        "malformed_refused": min(each.refused() for each, _ in rows.values()),
        "p50_ms": load.quantile(0.5),
        "p95_ms": load.quantile(0.95),
        "client_share": load.client_share(),
    }


class _Asked:
    """The server that runs, and how it is asked."""

    def __init__(self, service: Service, port: int, folder: Path, connections: int) -> None:
        self._service, self._port, self._folder, self._connections = service, port, folder, connections

    def beside(
        self,
        predictor: OnnxPredictor,
        photos: Sequence[bytes],
        place: Path,
        seconds: float,
        alone_seconds: float,
        kind: str,
        half_way: Callable[[], None] | None = None,
    ) -> tuple[Load, Alone]:
        """Load for some seconds, and the predictor's photos a second before and after it."""
        before = _alone(predictor, photos, alone_seconds)
        load = self._load(place, seconds, kind, half_way)
        after = _alone(predictor, photos, alone_seconds)
        print(
            f"{place.name}, {kind}: predictor {before.photos_a_second:.1f} and {after.photos_a_second:.1f} photos/s, "
            f"server {load.photos_a_second:.1f}",
            flush=True,
        )
        return load, before.and_then(after)

    def _load(self, place: Path, seconds: float, kind: str, half_way: Callable[[], None] | None) -> Load:
        report = self._folder / "report.json"
        arguments = [self._port, place, seconds, self._connections, kind, report]
        server = psutil.Process(self._service.process.pid)
        before = server.cpu_times()
        client = subprocess.Popen(  # noqa: S603 our own module
            [sys.executable, "-m", "benchmarks.serving_load", *map(str, arguments)], cwd=PROJECT
        )
        if half_way is not None:
            time.sleep(seconds / 2)
            half_way()
        if client.wait():
            raise RuntimeError("the client failed")
        self._service.raise_if_ended()
        after = server.cpu_times()
        return _read(report, after.user + after.system - before.user - before.system)


def _read(report: Path, server_cpu: float) -> Load:
    content = json.loads(report.read_text(encoding="utf-8"))
    seen, seconds = content["seen"], content["seconds"]

    def total(name: str) -> Counter[str]:
        return sum((Counter(each[name]) for each in seen), Counter())

    valid, malformed = total("valid"), total("malformed")
    broken = [text for each in seen for text in each["broken"]]
    for text in broken[:5]:
        print(f"  broken: {text}")
    unnamed = sum(each["without_version"] for each in seen)
    return Load(
        photos_a_second=valid["200"] / seconds,
        failed=sum(valid.values()) - valid["200"] + len(broken) + unnamed,
        malformed={int(status): count for status, count in malformed.items()},
        versions=total("versions"),
        latencies=sorted(itertools.chain.from_iterable(each["latencies"] for each in seen)),
        client_ms=1000 * content["cpu_seconds"] / max(valid["200"], 1),
        server_ms=1000 * server_cpu / max(valid["200"], 1),
    )


def _alone(predictor: OnnxPredictor, photos: Sequence[bytes], seconds: float) -> Alone:
    """The predictor in this process."""
    names = itertools.cycle([str(number) for number in range(len(photos))])
    looked = predictor.predict(names, lambda name: photos[int(name)], confidence=CONFIDENCE)
    for _ in range(5):
        next(looked)
    begun, used, count = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() < begun + seconds:
        next(looked)
        count += 1
    return Alone(count, time.perf_counter() - begun, time.process_time() - used)


def _require(load: Load, versions: Sequence[str]) -> None:
    if load.failed:
        raise RuntimeError(f"{load.failed} valid requests failed")
    if load.refused() < 1:
        raise RuntimeError(f"malformed requests were answered with {dict(load.malformed)}")
    if set(load.versions) != set(versions):
        raise RuntimeError(f"versions {dict(load.versions)} answered, not {versions}")


def _print(rows: Mapping[str, tuple[Load, Alone]], connections: int) -> None:
    print(f"\n{connections} connections, {THREADS} threads, 5 % malformed; times in milliseconds\n")
    print(f"{'':28}{'photos a second':>24}{'latency':>21}{'processor a photo':>27}")
    rates, latencies, used = ("alone", "served"), ("ratio", "p50", "p95", "p99"), ("alone", "server", "client")
    print(f"{'':28}{rates[0]:>9}{rates[1]:>8}" + "".join(f"{name:>7}" for name in latencies), end="")
    print("".join(f"{name:>9}" for name in used))
    for name, (load, alone) in rows.items():
        speeds = f"{alone.photos_a_second:9.1f}{load.photos_a_second:8.1f}"
        ratio = load.photos_a_second / alone.photos_a_second
        quantiles = "".join(f"{load.quantile(share):7.0f}" for share in (0.5, 0.95, 0.99))
        took = f"{alone.cpu_ms:9.1f}{load.server_ms:9.1f}{load.client_ms:9.1f}"
        print(f"{name:28}{speeds}{ratio:7.2f}{quantiles}{took}")
    for name, (load, _) in rows.items():
        print(
            f"{name}: {len(load.latencies)} valid requests, {load.failed} failed; malformed {dict(load.malformed)}; "
            f"by version {dict(load.versions)}"
        )


@contextmanager
def _server(folder: Path, uri: str) -> Iterator[tuple[Service, int]]:
    port = free_port()
    environment = basics(
        {
            "MLOPS_HOME": str(folder / "home"),
            "MLOPS_USE_CASE": USE_CASE,
            "MLOPS_MLFLOW_TRACKING_URI": uri,
            "MLOPS_THREADS": str(THREADS),
            "MLOPS_SERVING_POLL_SECONDS": str(POLL_SECONDS),
        }
    )
    arguments = [sys.executable, "-m", "mlops_assets.serving", "--port", str(port)]
    healthy = answers(f"http://127.0.0.1:{port}/ready")
    with running(Command("serving", arguments, environment, healthy, folder=PROJECT), folder) as service:
        yield service, port


def _export(folder: Path) -> tuple[Path, list[int]]:
    """The bundled base weights as a use case's training would export them: classes by their stable names."""
    import torch

    from mlops_assets.detector.weights import load_model

    bundled = bundled_weights("yolo11n")
    if bundled is None:
        raise RuntimeError("There are no bundled base weights; make them with `make base-weights`")
    model: Any = load_model(bundled.path)
    class_ids = list(range(len(model.names)))
    model.names = {class_id: class_key(class_id) for class_id in class_ids}
    torch.save({"model": model.float(), "train_args": {}}, folder / "base.pt")
    return export_onnx(folder / "base.pt", folder / "model.onnx", IMAGE_SIZE, threads=THREADS), class_ids


def _register(registry: ModelRegistry, folder: Path, onnx: Path, class_ids: Sequence[int]) -> str:
    class_map = folder / "class_map.json"
    names = {str(class_id): f"device {class_id}" for class_id in class_ids}
    class_map.write_text(json.dumps(names), encoding="utf-8")
    local = {files.ONNX: onnx, files.CLASS_MAP: class_map}
    client = open_client(registry.tracking_uri)
    run_id = client.create_run(ensure_experiment(client, "serving", registry.tracking_uri)).info.run_id
    thresholds = dict.fromkeys(names, CONFIDENCE)
    tags = {"class_map": names, "thresholds": thresholds}
    return registry.register(run_id, local | write_mlflow_model(folder / "mlflow", local), tags).version


def _large_photos() -> list[bytes]:
    if PHOTOS.is_dir():
        return [path.read_bytes() for path in sorted(PHOTOS.iterdir())]
    print("The real photos of ../shared/data are not here: drawn ones take their place")
    return [_drawn(seed) for seed in range(DRAWN)]


def _drawn(seed: int) -> bytes:
    """A picture of 12 megapixels with shapes of every size and a sensor's noise, as a JPEG of a few megabytes."""
    import cv2

    rng = np.random.default_rng(seed)
    picture = np.zeros((3000, 4000, 3), np.float32)
    for cells in (8, 40, 200):
        coarse = rng.uniform(0, 85, (3 * cells // 4, cells, 3)).astype(np.float32)
        picture += cv2.resize(coarse, (4000, 3000), interpolation=cv2.INTER_CUBIC)
    picture += rng.normal(0, 4, picture.shape).astype(np.float32)
    _, encoded = cv2.imencode(".jpg", np.clip(picture, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 92])
    return encoded.tobytes()


def _normalised(photo: bytes) -> bytes:
    return examine(photo, IntakeRules(), ZoneInfo("UTC")).photo


def _written(folder: Path, photos: Sequence[bytes]) -> Path:
    folder.mkdir()
    for number, photo in enumerate(photos):
        (folder / f"{number}.jpg").write_bytes(photo)
    sizes = ", ".join(f"{len(photo) / 1e6:.2f}" for photo in photos)
    print(f"{folder.name}: {len(photos)} photos of {sizes} MB (median {statistics.median(map(len, photos)) / 1e6:.2f})")
    return folder


def main() -> int:
    """Run with other lengths than the section's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    given = parser.parse_args()
    for name, value in run(given.minutes, given.connections).items():
        print(f"{name} {value:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
