import datetime as dt
import os
import stat
import threading
from pathlib import Path

import pytest

from resources.landed_file import LandedFileError, LandingEscapeError
from resources.photo_store import PhotoStore

DAY = "2026-10-06"
PHOTO_ID = "ab" + "0" * 62


@pytest.fixture
def local(tmp_path) -> PhotoStore:
    (tmp_path / "landing").mkdir()
    return PhotoStore(landing=str(tmp_path / "landing"), root=str(tmp_path / "store"))


@pytest.fixture(scope="module")
def s3_endpoint():
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_endpoint, monkeypatch):
    """A store in one bucket of an S3 server on loopback, and a plain client to fill it."""
    import boto3
    import s3fs

    for name, value in {
        "AWS_ENDPOINT_URL": s3_endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    client = boto3.client("s3")
    client.create_bucket(Bucket="photos")
    yield PhotoStore(landing="s3://photos/in/landing", root="s3://photos/store"), client
    for found in client.list_objects_v2(Bucket="photos").get("Contents", []):
        client.delete_object(Bucket="photos", Key=found["Key"])
    client.delete_bucket(Bucket="photos")
    s3fs.S3FileSystem.clear_instance_cache()


def land(store: PhotoStore, path: str, content: bytes = b"x") -> Path:
    target = Path(store.landing) / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return target


def test_local_listing_is_by_path_at_any_depth_with_size_time_and_etag(local):
    land(local, f"{DAY}/CAB-2/b c.jpg", b"123")
    path = land(local, f"{DAY}/CAB-1/deep/a.jpg", b"12")
    land(local, f"{DAY}/loose.jpg")
    os.utime(path, (1_790_000_000, 1_790_000_000))
    files = local.list_day(DAY)
    assert [file.relative_path for file in files] == ["CAB-1/deep/a.jpg", "CAB-2/b c.jpg", "loose.jpg"]
    assert [file.byte_size for file in files] == [2, 3, 1]
    assert files[0].modified_at == dt.datetime.fromtimestamp(1_790_000_000, tz=dt.UTC)
    assert local.read(files[1].uri) == b"123"
    before = files[0].etag
    path.write_bytes(b"34")
    assert local.list_day(DAY)[0].etag != before


def test_a_missing_day_is_empty_and_a_missing_landing_zone_or_wrong_day_an_error(local, tmp_path):
    assert local.list_day(DAY) == []
    for wrong in ("../etc", "20261006", "2026-13-01", ""):
        with pytest.raises(ValueError, match="no day of the form"):
            local.list_day(wrong)
    nowhere = PhotoStore(landing=str(tmp_path / "nowhere"), root=str(tmp_path))
    with pytest.raises(FileNotFoundError, match="No landing zone"):
        nowhere.list_day(DAY)


def test_days_and_what_is_misplaced_are_told_apart(local):
    land(local, "2026-10-07/CAB/a.jpg")
    land(local, "2026-10-06/CAB/a.jpg")
    land(local, "2026-02-30/CAB/a.jpg")
    land(local, "2026-10-08")
    land(local, "notes.txt")
    assert local.list_days() == ["2026-10-06", "2026-10-07"]
    assert local.misplaced() == ["2026-02-30", "2026-10-08", "notes.txt"]


def test_what_leads_out_of_landing_is_listed_and_never_read(local, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"secret")
    folder = land(local, f"{DAY}/CAB-1/plain.jpg").parent
    (folder / "file.jpg").symlink_to(tmp_path / "outside" / "secret")
    (folder / "folder").symlink_to(tmp_path / "outside")
    files = {file.relative_path: file for file in local.list_day(DAY)}
    assert sorted(files) == ["CAB-1/file.jpg", "CAB-1/folder", "CAB-1/plain.jpg"]
    for name in ("CAB-1/file.jpg", "CAB-1/folder"):
        with pytest.raises(LandingEscapeError, match="out of the landing zone"):
            local.read(files[name].uri)
    with pytest.raises(LandingEscapeError):
        local.read(str(folder / ".." / ".." / ".." / "outside" / "secret"))


def test_links_within_landing_are_followed_and_dangling_links_and_pipes_refused(local):
    folder = land(local, f"{DAY}/CAB-1/plain.jpg", b"content").parent
    (folder / "alias.jpg").symlink_to(folder / "plain.jpg")
    (folder / "dangling.jpg").symlink_to(folder / "missing.jpg")
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    os.mkfifo(folder / "pipe.jpg")
    files = {Path(file.relative_path).stem: file for file in local.list_day(DAY)}
    assert local.read(files["alias"].uri) == b"content"
    for name in ("dangling", "loop", "pipe"):
        with pytest.raises(LandedFileError):
            local.read(files[name].uri)


def test_a_name_that_is_no_utf8_is_listed_in_words(local):
    folder = land(local, f"{DAY}/CAB-1/plain.jpg").parent
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.jpg")).write_bytes(b"x")
    paths = [file.relative_path for file in local.list_day(DAY)]
    assert paths == ["CAB-1/\\udcff.jpg", "CAB-1/plain.jpg"]
    assert all(path.encode() for path in paths)


def test_stored_photos_lie_under_their_identity_and_originals_are_private(local):
    original = Path(local.put_original(PHOTO_ID, "heic", b"as uploaded"))
    photo = Path(local.put_photo(PHOTO_ID, b"normalised"))
    root = Path(local.root)
    assert original == root / "originals" / "ab" / f"{PHOTO_ID}.heic"
    assert photo == root / "photos" / "ab" / f"{PHOTO_ID}.jpg" == Path(local.photo_uri(PHOTO_ID))
    assert stat.S_IMODE((root / "originals").stat().st_mode) == 0o700
    assert local.has_photo(PHOTO_ID)
    assert local.read_photo(PHOTO_ID) == b"normalised"


def test_originals_are_not_rewritten_but_an_empty_leftover_is_and_normalised_photos_are_replaced(local):
    original = Path(local.put_original(PHOTO_ID, "png", b"first"))
    local.put_original(PHOTO_ID, "png", b"second")
    assert original.read_bytes() == b"first"
    original.write_bytes(b"")
    local.put_original(PHOTO_ID, "png", b"third")
    assert original.read_bytes() == b"third"
    photo = Path(local.put_photo(PHOTO_ID, b"first"))
    local.put_photo(PHOTO_ID, b"second")
    assert photo.read_bytes() == b"second"
    photo.write_bytes(b"")
    assert not local.has_photo(PHOTO_ID)


def test_threads_that_store_the_same_photo_leave_one_whole_file(local):
    content = os.urandom(500_000)
    threads = [threading.Thread(target=local.put_original, args=(PHOTO_ID, "jpg", content)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    files = [path for path in Path(local.root).rglob("*") if path.is_file()]
    assert [path.read_bytes() == content for path in files] == [True]


def test_malformed_identities_are_refused(local):
    for wrong in ("../../x", "AB" + "0" * 62, "ab"):
        with pytest.raises(ValueError, match="no photo_id"):
            local.put_photo(wrong, b"x")
    with pytest.raises(ValueError, match="no file extension"):
        local.put_original(PHOTO_ID, "../x", b"x")
    with pytest.raises(ValueError, match="empty object"):
        local.put_photo(PHOTO_ID, b"")


def test_a_missing_photo_is_named_with_the_remedy(local):
    with pytest.raises(FileNotFoundError, match="materialise raw_photos"):
        local.read_photo(PHOTO_ID)


def test_s3_lists_and_reads_what_landed_since_the_last_listing(s3):
    store, client = s3
    assert store.list_day(DAY) == []
    assert store.list_days() == []
    for key in ("CAB-2/b c#1.jpg", "CAB-1/deep/a.jpg", "loose.jpg"):
        client.put_object(Bucket="photos", Key=f"in/landing/{DAY}/{key}", Body=key.encode())
    client.put_object(Bucket="photos", Key=f"in/landing/{DAY}/CAB-3/", Body=b"")
    client.put_object(Bucket="photos", Key="in/landing/notes.txt", Body=b"x")
    client.put_object(Bucket="photos", Key=f"in/landing-other/{DAY}/C/x.jpg", Body=b"x")
    files = store.list_day(DAY)
    assert [file.relative_path for file in files] == ["CAB-1/deep/a.jpg", "CAB-2/b c#1.jpg", "loose.jpg"]
    assert [store.read(file.uri).decode() for file in files] == [file.relative_path for file in files]
    head = client.head_object(Bucket="photos", Key=f"in/landing/{DAY}/loose.jpg")
    assert files[2].etag == head["ETag"].strip('"')
    assert (files[2].modified_at, files[2].byte_size) == (head["LastModified"], 9)
    assert store.list_days() == [DAY]
    assert store.misplaced() == ["notes.txt"]
    client.put_object(Bucket="photos", Key=f"in/landing/{DAY}/later.jpg", Body=b"x")
    assert len(store.list_day(DAY)) == 4
    with pytest.raises(LandingEscapeError):
        store.read(f"s3://photos/in/landing-other/{DAY}/C/x.jpg")


def test_s3_stores_originals_once_replaces_photos_and_reads_back(s3):
    store, client = s3
    assert not store.has_photo(PHOTO_ID)
    assert store.put_photo(PHOTO_ID, b"first") == f"s3://photos/store/photos/ab/{PHOTO_ID}.jpg"
    store.put_photo(PHOTO_ID, b"second")
    assert store.has_photo(PHOTO_ID)
    assert store.read_photo(PHOTO_ID) == b"second"
    assert store.put_original(PHOTO_ID, "png", b"raw") == f"s3://photos/store/originals/ab/{PHOTO_ID}.png"
    store.put_original(PHOTO_ID, "png", b"other")
    assert store.read_original(PHOTO_ID, "png") == b"raw"
    keys = [found["Key"] for found in client.list_objects_v2(Bucket="photos")["Contents"]]
    assert keys == [f"store/originals/ab/{PHOTO_ID}.png", f"store/photos/ab/{PHOTO_ID}.jpg"]
    with pytest.raises(FileNotFoundError, match="materialise raw_photos"):
        store.read_photo("cd" + "0" * 62)
