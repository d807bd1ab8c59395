"""The erasure of a photo outside of Dagster, from folders and from an object store: cut off, refused, beside others."""

import datetime as dt
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from small_catalogue import DAYS, Small, land, make, sha256
from test_erase_photo import PHOTO_NAMES, files_with
from upload_samples import DAY, ingest, picture, take_in

from mlops_assets.erasure.erasing import erase, preview
from mlops_assets.erasure.findings import remaining
from mlops_assets.erasure.places import ErasureIncompleteError, Places, Request
from mlops_assets.photos.intake import TakenIn, conservation
from mlops_assets.photos.schema import PHOTO_MEASURES, RAW_PHOTOS
from mlops_assets.use_case import UseCase
from resources.atomic_write import write_atomically
from resources.catalog_database import CatalogDatabase
from resources.dataset_versions import DatasetVersions
from resources.deletion import delete
from resources.locations import location
from resources.model_registry import ModelRegistry
from resources.photo_store import PhotoStore
from resources.tables import Tables, write_parquet

CASE = UseCase.model_validate({"name": "case", "title": "Case", "start": "2026-10-01"})


def places(folder: Path, landing: str, root: str) -> Places:
    """Places without a training or catalogue."""
    return Places(
        photos=PhotoStore(landing=landing, root=root),
        tables=Tables(root=root),
        datasets=DatasetVersions(root=root),
        database=CatalogDatabase(url=f"sqlite:///{folder / 'catalog.db'}", use_case="case"),
        registry=ModelRegistry(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}", model_name="case-detector"),
        label_drop=folder / "labels",
        pages=folder / "pages",
        scratch=folder / "scratch",
        use_case=CASE,
        redact_events=lambda texts, dry_run: 0,
        now=lambda: dt.datetime.now(dt.UTC),
        run_id="none",
    )


def write_ledger(here: Places, day: str = DAY) -> pl.DataFrame:
    tables = {"raw_photos": RAW_PHOTOS, "photo_measures": PHOTO_MEASURES}
    previous = TakenIn(*(here.tables.read(name, schema, day) for name, schema in tables.items()))
    taken = take_in(here.photos, day=day, previous=previous, erased=here.photos.tombstones().erased_at)  # type: ignore[arg-type]
    for name, frame in zip(tables, (taken.ledger, taken.measures), strict=True):
        write_parquet(frame, location(here.photos.root) / "tables" / name / f"{day}.parquet")
    return taken.ledger


@pytest.fixture
def local(new_mlflow: Callable[[Path], str], tmp_path: Path) -> Places:
    (tmp_path / "landing").mkdir()
    new_mlflow(tmp_path)
    return places(tmp_path, str(tmp_path / "landing"), str(tmp_path / "store"))


def upload(here: Places, name: str, content: bytes) -> Path:
    return land(Path(here.photos.landing) / DAY / name, content)


def test_uploads_that_no_ledger_knows_yet_go_too_and_what_lies_there_now_stays(local: Places) -> None:
    content, other = picture(1), picture(2)
    known = upload(local, "CAB-1/a.jpg", content)
    write_ledger(local)
    unknown = upload(local, "CAB-2/b.jpg", content)
    same_size = upload(local, "CAB-2/c.jpg", bytes(len(content)))
    known.write_bytes(other)  # replaced under its name since
    sidecar = upload(local, "CAB-1/a.jpg.json", b"{}")
    erase(local, Request(sha256(content), "ticket"))
    assert not unknown.exists()
    assert known.read_bytes() == other
    assert sidecar.exists()
    assert same_size.exists()
    counts = conservation(write_ledger(local))
    assert (counts["accepted"], counts["quarantined"]) == (1, 1)


def test_an_upload_that_may_not_be_deleted_is_named_and_the_next_run_ends_it(
    local: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = picture(1)
    path = upload(local, "CAB-1/a.jpg", content)
    write_ledger(local)

    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Access Denied")

    with monkeypatch.context() as patch:
        patch.setattr(PhotoStore, "erase_upload", refuse)
        with pytest.raises(ErasureIncompleteError, match=r"may not be deleted from: .*CAB-1/a\.jpg.*run the job again"):
            erase(local, Request(sha256(content), "ticket"))
    assert path.exists()
    assert local.photos.stored(sha256(content)) == []
    assert conservation(write_ledger(local))["erased"] == 1
    erase(local, Request(sha256(content), "ticket"))
    assert not path.exists()
    assert remaining(local, sha256(content)) == {}


def test_a_dry_run_changes_no_byte(local: Places, tmp_path: Path) -> None:
    upload(local, "CAB-1/a.jpg", picture(1))
    write_ledger(local)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    facts = preview(local, Request(sha256(picture(1)), "ticket"))
    assert (facts["removed"]["uploads"], facts["removed"]["files in the store"]) == (1, 2)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_step_that_writes_while_a_photo_is_erased_is_found_by_the_last_look(local: Places) -> None:
    content = picture(1)
    upload(local, "CAB-1/a.jpg", content)
    write_ledger(local)
    late = pl.DataFrame({"photo_id": [sha256(content), "f" * 64]})

    def write_late(texts: Any, dry_run: bool) -> int:
        write_parquet(late, location(local.photos.root) / "tables" / "detections" / f"{DAY}.parquet")
        return 0

    erase(replace(local, redact_events=write_late), Request(sha256(content), "ticket"))
    assert local.tables.read_as_written("detections", DAY)["photo_id"].to_list() == ["f" * 64]


def test_a_photo_erased_while_its_day_is_taken_in_is_not_stored(local: Places) -> None:
    content = picture(1)
    upload(local, "CAB-1/a.jpg", content)
    answers: Iterator[dict[str, dt.datetime]] = iter(({}, {sha256(content): dt.datetime(2026, 10, 8, tzinfo=dt.UTC)}))
    ledger = ingest(local.photos, erased=lambda: next(answers))  # type: ignore[arg-type]
    assert ledger.select("status", "enclosure_id").rows() == [("erased", None)]
    assert local.photos.stored(sha256(content)) == []


def test_files_of_the_label_drop_are_named_and_stay(local: Places, tmp_path: Path) -> None:
    content = picture(1)
    upload(local, "CAB-1/a.jpg", content)
    write_ledger(local)
    drop = tmp_path / "labels" / "export"
    land(drop / f"{sha256(content)}.txt", b"0 0.5 0.5 0.1 0.1\n")
    land(drop / "coco.json", b'{"images": [{"file_name": "CAB-1/a.jpg"}]}')
    land(drop / "copy.jpg", content)
    land(drop / "other.txt", b"0 0.5 0.5 0.1 0.1\n")
    record, files = erase(local, Request(sha256(content), "ticket"))
    assert sorted(files) == [f"export/{sha256(content)}.txt", "export/coco.json", "export/copy.jpg"]
    assert len(list(drop.iterdir())) == 4
    assert "3" in record["to_do"][0]


# -- cut off ---------------------------------------------------------------------------------------------------------


class CutOff(BaseException):
    """Nothing in the code catches it, as nothing catches a kill."""


def test_cut_off_before_any_single_write_or_deletion_and_run_again_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = picture(1)
    photo_id = sha256(content)
    registry = ModelRegistry(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}", model_name="case-detector")
    for number in range(40):
        folder = tmp_path / str(number)
        (folder / "landing").mkdir(parents=True)
        here = places(folder, str(folder / "landing"), str(folder / "store"))
        here = replace(here, registry=registry)  # one for all: to make its tables takes seconds
        for name in ("CAB-1/a.jpg", "CAB-2/again.jpg"):
            upload(here, name, content)
        upload(here, "CAB-1/a.jpg.json", b'{"technician": "Kovacs"}')
        write_ledger(here)
        rows = pl.DataFrame({"photo_id": [photo_id, "f" * 64], "split": ["train", "val"]})
        here.datasets.put("f1", rows, {"manifest.json": "{}"})
        here.datasets.photos().keep(photo_id, here.photos)
        write_parquet(rows, location(here.photos.root) / "tables" / "annotations.parquet")
        left = number

        def counted(do: Any) -> Any:
            def call(*arguments: Any) -> Any:
                nonlocal left
                left -= 1
                if left < 0:
                    raise CutOff
                return do(*arguments)

            return call

        with monkeypatch.context() as patch:
            for module in ("resources.tables", "resources.dataset_versions", "resources.tombstones"):
                patch.setattr(f"{module}.write_atomically", counted(write_atomically))
            patch.setattr("mlops_assets.erasure.report.write_atomically", counted(write_atomically))
            for module in ("resources.photo_files", "resources.dataset_photos"):
                patch.setattr(f"{module}.delete", counted(delete))
            try:
                erase(here, Request(photo_id, "ticket"))
                break
            except CutOff:
                pass
        if number > 0:  # from the first write on, which is the tombstone's, it does not come back
            assert conservation(write_ledger(here))["accepted"] == 0
            assert here.photos.stored(photo_id) == [] or here.photos.tombstones().get(photo_id)
        erase(here, Request(photo_id, "ticket"))
        assert remaining(here, photo_id) == {}
        assert files_with(folder, content, b"Kovacs", b"CAB-1", b"CAB-2") == set()
        assert conservation(write_ledger(here))["erased"] == 2
    assert number > 10, "so few writes that most were not counted"


def test_killed_at_any_moment_and_run_again_nothing_is_left(tmp_path: Path) -> None:
    with dg.instance_for_test() as instance:
        small = make(tmp_path, instance)
        started = time.monotonic()
        kills = 0
        for pause in (0.05, 0.2, 0.4, 0.8, 1.6):
            kills += killed(small, pause)
        assert kills >= 3, time.monotonic() - started
        here = small.places()
        erase(here, Request(small.photo_id, "ticket 17"))
        assert remaining(here, small.photo_id) == {}
        left = files_with(tmp_path, small.photo_id.encode(), small.content, *(name.encode() for name in PHOTO_NAMES))
        allowed = ("small/store/tombstones/", "small/store/erasures/", "small/store/tables/raw_photos/", "void.json")
        assert [path for path in left if not any(part in path for part in allowed)] == []
        for day, gone in zip(DAYS, (2, 1), strict=True):
            assert conservation(small.path.table("raw_photos", day))["erased"] == gone
        models = [model["version"] for model in erase(here, Request(small.photo_id, "ticket 17"))[0]["models"]]
        assert models == ["1", "2"]


def killed(small: Small, pause: float) -> bool:
    """Start an erasure in a process of its own and kill it `pause` seconds after it began; whether it was cut off."""
    script = Path(__file__).with_name("small_catalogue.py")
    roots = [Path(__file__).parents[2], Path(__file__).parents[1], Path(__file__).parents[1] / "photos"]
    process = subprocess.Popen(
        [sys.executable, script, small.path.settings.home, small.path.instance.root_directory, small.photo_id],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, roots))},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    time.sleep(pause)
    process.send_signal(signal.SIGKILL)
    process.stdout.close()
    return process.wait() == -signal.SIGKILL


# -- an object store -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["plain", "versioned"])
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[tuple[str, Any]]:
    import boto3
    import s3fs

    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    client = boto3.client("s3")
    name = f"erasure-{request.param}"
    client.create_bucket(Bucket=name)
    if request.param == "versioned":
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    yield name, client
    s3fs.S3FileSystem.clear_instance_cache()


def test_an_object_store_keeps_no_version_of_the_photo(bucket: tuple[str, Any], tmp_path: Path) -> None:
    name, client = bucket
    here = places(tmp_path, f"s3://{name}/landing", f"s3://{name}/store")
    content = picture(1)
    for key in ("CAB-1/a.jpg", "CAB-2/again.jpg"):
        client.put_object(Bucket=name, Key=f"landing/{DAY}/{key}", Body=content)
    client.put_object(Bucket=name, Key=f"landing/{DAY}/CAB-1/a.jpg.json", Body=b'{"technician": "T"}')
    client.put_object(Bucket=name, Key=f"landing/{DAY}/CAB-1/a.jpg.json", Body=b'{"technician": "Kovacs"}')
    client.put_object(Bucket=name, Key=f"landing/{DAY}/CAB-1/other.jpg", Body=picture(2))
    ledger = write_ledger(here)
    assert conservation(ledger)["accepted"] == 2
    here.datasets.photos().keep(sha256(content), here.photos)
    assert len(here.datasets.photos().of(sha256(content))) == 1
    record, _ = erase(here, Request(sha256(content), "ticket"))
    versions = client.list_object_versions(Bucket=name)
    kept = [v["Key"] for part in ("Versions", "DeleteMarkers") for v in versions.get(part, [])]
    bodies = {
        (v["Key"], v["VersionId"]): client.get_object(Bucket=name, Key=v["Key"], VersionId=v["VersionId"])[
            "Body"
        ].read()
        for v in versions["Versions"]
    }
    assert not any(hashlib.sha256(body).hexdigest() == sha256(content) for body in bodies.values())
    # Of tables, which hold other photos too, a versioned bucket keeps older versions for as long as its rule says.
    assert {key for (key, _), body in bodies.items() if b"Kovacs" in body} <= {f"store/tables/raw_photos/{DAY}.parquet"}
    current = client.get_object(Bucket=name, Key=f"store/tables/raw_photos/{DAY}.parquet")["Body"].read()
    assert "Kovacs" not in str(pl.read_parquet(current).to_dicts())
    assert f"landing/{DAY}/CAB-1/other.jpg" in kept
    assert not any(
        sha256(content) in key and key.startswith(("store/originals", "store/photos", "store/datasets")) for key in kept
    )
    assert not any(key.startswith(f"landing/{DAY}/CAB-1/a.jpg") or key.endswith("again.jpg") for key in kept)
    assert record["to_do"] == []
    again = write_ledger(here)
    assert conservation(again) == {"landed": 3, "accepted": 1, "duplicate": 0, "quarantined": 0, "erased": 2}
    erase(here, Request(sha256(content), "ticket"))
