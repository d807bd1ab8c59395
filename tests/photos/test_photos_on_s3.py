"""A day of photos from and to an object store over HTTP, also one that fails now and then."""

import hashlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import polars as pl
import pytest
import s3fs
from faulty_s3 import Fault, FaultyProxy
from moto.server import ThreadedMotoServer
from PIL import Image
from upload_samples import DAY, picture, take_in

from mlops_assets.photos.intake import conservation
from resources.photo_store import PhotoStore
from resources.settings import PROJECT

TRANSIENT: tuple[Fault, ...] = ("slow_down", "internal_error", "dropped", "cut")


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, int]]:
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    yield moto.get_host_and_port()
    moto.stop()


@pytest.fixture
def bucket(server, monkeypatch):
    """A client of the server itself, and credentials from a file, as the usual chain finds them."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    client = boto3.client("s3", endpoint_url=f"http://{server[0]}:{server[1]}")
    client.create_bucket(Bucket="photos")
    yield client
    for page in client.get_paginator("list_objects_v2").paginate(Bucket="photos"):
        for found in page.get("Contents", []):
            client.delete_object(Bucket="photos", Key=found["Key"])
    client.delete_bucket(Bucket="photos")


def store_at(url: str, monkeypatch: pytest.MonkeyPatch) -> PhotoStore:
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    s3fs.S3FileSystem.clear_instance_cache()
    return PhotoStore(landing="s3://photos/landing", root="s3://photos/store")


def land(client, photos: dict[str, bytes]) -> None:
    for name, content in photos.items():
        client.put_object(Bucket="photos", Key=f"landing/{DAY}/{name}", Body=content)


def test_transient_errors_of_the_store_cost_time_and_nothing_else(server, bucket, monkeypatch):
    photos = {f"CAB-1/{number}.jpg": picture(number) for number in range(8)} | {"CAB-1/bad.jpg": b"bad"}
    land(bucket, photos)
    faults = iter(TRANSIENT * 100)
    with FaultyProxy(server, lambda number, _method, _path: next(faults) if number % 4 == 2 else None) as proxy:
        taken = take_in(store_at(proxy.url, monkeypatch))
    assert set(proxy.failed) == set(TRANSIENT)
    assert conservation(taken.ledger) == {"landed": 9, "accepted": 8, "duplicate": 0, "quarantined": 1, "erased": 0}
    for row in taken.ledger.filter(pl.col("status") == "accepted").to_dicts():
        photo_id = row["photo_id"]
        original = bucket.get_object(Bucket="photos", Key=f"store/originals/{photo_id[:2]}/{photo_id}.jpg")
        assert hashlib.sha256(original["Body"].read()).hexdigest() == photo_id
        photo = bucket.get_object(Bucket="photos", Key=f"store/photos/{photo_id[:2]}/{photo_id}.jpg")
        Image.open(io.BytesIO(photo["Body"].read())).load()


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_permanent_error_fails_the_day_with_its_cause_after_one_try(server, bucket, monkeypatch, method):
    land(bucket, {"CAB-1/a.jpg": picture(1)})

    def deny(_number: int, asked: str, path: str) -> Fault | None:
        return "denied" if asked == method and ".jpg" in path else None

    with FaultyProxy(server, deny) as proxy:
        store = store_at(proxy.url, monkeypatch)
        with pytest.raises(PermissionError, match=r"AccessDenied|403|Forbidden"):
            take_in(store)
    assert len(proxy.failed) == 1


def test_a_day_of_more_than_a_thousand_files_is_listed_whole(server, bucket, monkeypatch):
    land(bucket, {f"CAB-{number % 7}/{number:05}.jpg": b"x" for number in range(1100)})
    store = store_at(f"http://{server[0]}:{server[1]}", monkeypatch)
    files = store.list_day(DAY)
    assert len({file.relative_path for file in files}) == len(files) == 1100


def test_an_upload_beyond_one_part_arrives_whole(server, bucket, monkeypatch):
    with FaultyProxy(server, lambda *_: None) as proxy:
        store = store_at(proxy.url, monkeypatch)
        content = os.urandom(1 << 20) * 101  # s3fs sends more than 100 MiB in parts of 50
        photo_id = hashlib.sha256(content).hexdigest()
        store.put_original(photo_id, "tif", content)
        assert hashlib.sha256(store.read_original(photo_id, "tif")).hexdigest() == photo_id
    assert sum(method == "PUT" and "partNumber" in path for method, path in proxy.asked) == 3


def test_credentials_come_from_the_usual_chain(server, bucket, monkeypatch, tmp_path):
    land(bucket, {"CAB-1/a.jpg": picture(1)})
    (tmp_path / "credentials").write_text("[field]\naws_access_key_id = a\naws_secret_access_key = b\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "field")
    store = store_at(f"http://{server[0]}:{server[1]}", monkeypatch)
    assert take_in(store).ledger["status"].to_list() == ["accepted"]


FULL = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from upload_samples import counting_store, land, picture, take_in
from resources.photo_store import PhotoStore
store = PhotoStore(landing=sys.argv[1], root=sys.argv[2])
try:
    take_in(store)
except OSError as error:
    print(type(error).__name__, error.errno)
"""


def test_a_full_disk_fails_the_day_with_its_cause_and_leaves_only_whole_files(tmp_path):
    probe = subprocess.run(["unshare", "-rm", "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"no small file system can be mounted here: {probe.stderr.strip()}")
    for number in range(20):
        target = tmp_path / "landing" / DAY / "CAB-1" / f"{number}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(picture(number, size=(1600, 1200)))
    for folder in ("disk", "kept"):
        (tmp_path / folder).mkdir()
    paths = " ".join([str(PROJECT), str(Path(__file__).parent), *filter(None, sys.path)])
    script = (
        f"mount -t tmpfs -o size=1m tmpfs {tmp_path}/disk && "
        f'{sys.executable} -c "$FULL" {tmp_path}/landing {tmp_path}/disk/store {paths}; '
        f"cp -r {tmp_path}/disk/store {tmp_path}/kept"
    )
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script],
        env={"PATH": os.environ["PATH"], "FULL": FULL},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "OSError 28", done.stderr  # ENOSPC
    kept = [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]
    originals = [path for path in kept if "originals" in path.parts]
    assert originals
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == path.stem for path in originals)
    for path in kept:
        Image.open(path).load()
