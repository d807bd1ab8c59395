"""Dataset versions in an object store over HTTP: kept, restored byte for byte, erased."""

import datetime as dt
import shutil
from collections.abc import Iterator

import boto3
import pytest
import s3fs
from moto.server import ThreadedMotoServer
from small_dataset import export, hashes, make, photo, photo_id, rows_of, store_of

from mlops_assets.dataset.restoring import open_version
from resources.dataset_photos import DamagedDatasetError
from resources.dataset_versions import DatasetVersions, VoidDatasetError
from resources.tombstones import Tombstone, Tombstones

NUMBERS = range(8)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture
def root(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    s3fs.S3FileSystem.clear_instance_cache()
    boto3.client("s3").create_bucket(Bucket="datasets")
    yield "s3://datasets/store"
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_version_comes_back_from_the_object_store_with_the_same_hashes_until_it_is_void(root, tmp_path):
    store = store_of(root, NUMBERS)
    made = make(root, rows_of(NUMBERS), store)
    name, versions = made.manifest["fingerprint"], DatasetVersions(root=root)
    export(root, name, tmp_path / "local" / "export")
    first = hashes(tmp_path / "local")
    shutil.rmtree(tmp_path / "local")
    for number in NUMBERS:
        store.put_photo(photo_id(number), photo(number, size=(80, 48)))
    later = make(root, rows_of(NUMBERS, box_w=0.15), store)
    assert later.changes.counts()["boxes_changed"] == 14
    assert versions.fingerprints() == sorted([name, later.manifest["fingerprint"]])
    export(root, name, tmp_path / "local" / "export")
    assert hashes(tmp_path / "local") == first
    assert open_version(versions, name).photos.file(photo_id(0)) is None
    client = boto3.client("s3")
    (key,) = [address.removeprefix("s3://datasets/") for address in versions.photos().of(photo_id(1))]
    client.put_object(Bucket="datasets", Key=key, Body=photo(1)[:-1])
    with pytest.raises(DamagedDatasetError, match="does not hold the bytes that its name says"):
        export(root, name, tmp_path / "damaged")
    Tombstones(root).put(Tombstone(photo_id(1), dt.datetime(2026, 11, 2, tzinfo=dt.UTC)))
    assert [each.existed for each in versions.photos().erase(photo_id(1))] == [True]
    assert versions.photos().of(photo_id(1)) == []
    with pytest.raises(VoidDatasetError, match=rf"{photo_id(1)}\.json"):
        open_version(versions, name)
