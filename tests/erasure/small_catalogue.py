"""A use case in miniature with everything real but the training: landed, labelled, in a dataset, seen, in a catalogue.

Shared by the tests of this folder, and started as a process by the one that kills it.
"""

import datetime as dt
import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
from path_support import CATALOGUE, WholePath, failed_checks, prepare, why
from upload_samples import picture

from definitions import build_resources
from mlops_assets.catalog.schema import DETECTIONS
from mlops_assets.detector.schema import CHAMPION_DETECTOR
from mlops_assets.detector.snapshot import SPLIT_PREDICTIONS
from mlops_assets.erasure.places import Places
from mlops_assets.use_case import registered_model
from resources.dataset_versions import DatasetVersions
from resources.event_log import redact
from resources.locations import location
from resources.mlflow_client import ensure_experiment, open_client
from resources.mlflow_pictures import SHEET, log_named_pictures
from resources.model_registry import ModelRegistry
from resources.tables import write_parquet

DAYS = ("2026-10-06", "2026-10-07")
CASE = {
    "name": "small",
    "title": "Small",
    "start": "2026-10-05",
    "new_class": {"min_boxes": 2, "min_enclosures": 2},
    "classes": [{"name": "router"}],
}
ENCLOSURES = [f"CAB-{number}" for number in range(6)]
WHO = {"technician": "Erzsebet Kovacs", "note": "behind the church"}
BOX = (0.5, 0.5, 0.2, 0.2)
TRAINING_FILES = {
    "weights/best.pt": b"weights",
    "onnx/model.onnx": b"onnx",
    "training/results.csv": b"epoch\n",
    "training/results.png": b"curves of losses",
    "training/train_batch0.jpg": b"mosaic of photos",
    "training/val_batch0_pred.jpg": b"val photos",
}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Small:
    """The prepared use case; `photo_id` and `content` of the photo that is to be erased."""

    path: WholePath
    photo_id: str
    content: bytes = field(repr=False)

    @property
    def store(self) -> Path:
        return Path(self.path.places.store)

    def places(self, now: Callable[[], dt.datetime] | None = None) -> Places:
        return places_of(self.path, now)

    def take_in(self, day: str) -> None:
        """As `ingest_day` without its last step: there is no network to look with."""
        succeed(self.path.materialize("raw_photos", "clean_photos", day=day))

    def erase(self, *, succeeds: bool = True, **config: Any) -> dg.ExecuteInProcessResult:
        given = {"photo_id": self.photo_id, "reason": "ticket 17", "requested_by": "privacy", **config}
        result = self.path.run("erase_photo", config=given)
        assert result.success == succeeds, why(result)
        return result


def places_of(path: WholePath, now: Callable[[], dt.datetime] | None = None) -> Places:
    resources: dict[str, Any] = build_resources(path.settings, path.use_case)
    return Places(
        photos=resources["photo_store"],
        tables=resources["tables"],
        datasets=resources["dataset_versions"],
        database=resources["catalog_database"],
        registry=resources["model_registry"],
        label_drop=resources["label_drop"].path(),
        pages=resources["pages_folder"].path(),
        scratch=Path(resources["machine"].scratch),
        use_case=path.use_case,
        redact_events=lambda texts, dry_run: redact(path.instance, texts, dry_run=dry_run),
        now=now or (lambda: dt.datetime.now(dt.UTC)),
        run_id="none",
    )


def make(home: Path, instance: dg.DagsterInstance) -> Small:
    """The erased photo is CAB-0/a.jpg of the first day, with a sidecar, uploaded again twice, and labelled."""
    path = prepare(home, CASE, instance)
    landing, labels = Path(path.places.landing), Path(path.places.labels)
    target = picture(0)
    for number, enclosure in enumerate(ENCLOSURES):
        land(landing / DAYS[0] / enclosure / "a.jpg", picture(number))
        land(landing / DAYS[0] / enclosure / "b.jpg", picture(100 + number))
    land(landing / DAYS[0] / "CAB-0" / "a.jpg.json", json.dumps(WHO).encode())
    land(landing / DAYS[0] / "CAB-1" / "again.jpg", target)
    land(landing / DAYS[1] / "CAB-0" / "later.jpg", target)
    land(landing / DAYS[0] / "CAB-0" / "c.jpg", picture(0, quality=60))  # a near-duplicate
    land(landing / DAYS[1] / "CAB-5" / "d.jpg", picture(200))
    land(labels / "base" / "classes.txt", b"router\n")
    for enclosure in ENCLOSURES:
        for file in ("a", "b"):
            land(labels / "base" / enclosure / f"{file}.txt", f"0 {' '.join(map(str, BOX))}\n".encode())
    small = Small(path, sha256(target), target)
    for day, warnings in zip(DAYS, (["no_photo_reused"], []), strict=True):  # again.jpg lies at another enclosure
        succeed(path.ingest(day), warnings)
    succeed(path.import_labels())
    succeed(path.materialize("split_assignments"))
    succeed(path.materialize("training_dataset"), {"background"})
    pretend_training(path)
    succeed(path.materialize(*CATALOGUE))
    return small


def pretend_training(path: WholePath) -> None:
    """What a training, its evaluation and its promotion leave, and what the champion then finds."""
    registry = registry_of(path)
    (fingerprint,) = DatasetVersions(root=path.places.store).fingerprints()
    client = open_client(registry.tracking_uri)
    artifacts = path.settings.fill(path.settings.mlflow_artifacts)
    experiment = ensure_experiment(client, path.use_case.name, registry.tracking_uri, artifacts)
    for number, origin in enumerate(({}, {"started_from_kind": "champion", "started_from_version": "1"})):
        run = client.create_run(experiment)
        fingerprint_then = fingerprint if number == 0 else "0" * 64
        client.log_param(run.info.run_id, "dataset_fingerprint", fingerprint_then)
        folder = Path(path.settings.home) / "training"
        files = {name: land(folder / name, content + bytes([number])) for name, content in TRAINING_FILES.items()}
        registry.register(run.info.run_id, files, {"dataset_fingerprint": fingerprint_then, **origin})
    pretend_evaluation(path, client, run.info.run_id)
    registry.set_champion("1")
    tables = location(path.places.store) / "tables"
    decision = {
        **dict.fromkeys(CHAMPION_DETECTOR.names()),
        "model_version": "1",
        "promoted": True,
        "champion_version": "1",
        "champion_class_map": '{"0": "router"}',
        "champion_thresholds": '{"0": 0.3}',
        "champion_export": "x",
        "decided_at": dt.datetime.now(dt.UTC),
    }
    write_parquet(pl.DataFrame([decision], schema=CHAMPION_DETECTOR), tables / "champion_detector.parquet")
    for day in DAYS:
        usable = path.table("clean_photos", day).filter(pl.col("verdict") == "usable")["photo_id"]
        rows = [(photo_id, 0, _confidence(photo_id), *BOX, "1") for photo_id in usable]
        found = pl.DataFrame(rows, schema=DETECTIONS, orient="row")
        write_parquet(found, tables / "detections" / f"{day}.parquet")
        predictions = found.with_columns(split=pl.lit("test"), seen_as=pl.lit("0")).select(SPLIT_PREDICTIONS.names())
        write_parquet(predictions, tables / "detector_predictions.parquet")
    unknown = pl.DataFrame({"photo_id": usable.to_list(), "rank": range(len(usable))})
    write_parquet(
        pl.concat([unknown, unknown.with_columns(photo_id=pl.lit(sha256(picture(0))))]), tables / "new.parquet"
    )
    dataset = Path(registry_scratch(path)) / "datasets" / f"{fingerprint[:16]}-192" / "images" / "train"
    land(dataset / f"{sha256(picture(0))}.jpg", b"exported for a training")


def pretend_evaluation(path: WholePath, client: Any, run_id: str) -> None:
    """Pictures of two photos, of which one is erased, with a run whose dataset version never held it."""
    folder = Path(path.settings.home) / "misses"
    shown = [sha256(picture(0)), sha256(picture(1))]
    land(folder / SHEET, b"both")
    for rank, photo_id in enumerate(shown, start=1):
        land(folder / f"{rank:02}-{photo_id}.jpg", b"photo with boxes")
    log_named_pictures(client, run_id, folder, "evaluation/version-2", shown)
    shutil.rmtree(folder)


def _confidence(photo_id: str) -> float:
    """The photo to be erased is the best view of its enclosure, hence the evidence."""
    return 0.9 if photo_id == sha256(picture(0)) else 0.6


def registry_of(path: WholePath) -> ModelRegistry:
    uri = path.settings.fill(path.settings.mlflow_tracking_uri)
    return ModelRegistry(tracking_uri=uri, model_name=registered_model(path.use_case.name))


def registry_scratch(path: WholePath) -> str:
    return path.settings.fill(path.settings.scratch, path.use_case.name)


def land(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def succeed(result: dg.ExecuteInProcessResult, warnings: Iterable[str] = ()) -> None:
    assert result.success, why(result)
    failed = failed_checks(result, warnings=True)
    assert failed.keys() == set(warnings), failed


if __name__ == "__main__":
    from mlops_assets.erasure.erasing import erase
    from mlops_assets.erasure.places import Request
    from mlops_assets.use_case import UseCase
    from resources.settings import Settings

    with dg.DagsterInstance.from_config(sys.argv[2]) as opened:
        again = WholePath(Settings(home=Path(sys.argv[1])), UseCase.model_validate(CASE), opened)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        erase(places_of(again), Request(sys.argv[3], "ticket 17"))
