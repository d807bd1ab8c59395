"""A version is what its fingerprint names, a year later and with everything local deleted."""

import datetime as dt
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from small_dataset import CLASS_MAP, export, hashes, make, photo, photo_id, rows_of, store_of

from mlops_assets.dataset.making import todays_version
from mlops_assets.dataset.restoring import open_version
from resources.dataset_photos import DamagedDatasetError
from resources.dataset_versions import DatasetVersions, VoidDatasetError
from resources.tables import Tables
from resources.tombstones import Tombstone, Tombstones

NUMBERS = range(12)


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "store")


@pytest.fixture
def made(root):
    return make(root, rows_of(NUMBERS), store_of(root, NUMBERS))


@pytest.mark.parametrize("image_size", [None, 48])
def test_exported_deleted_and_exported_again_every_file_has_the_same_hash(root, made, tmp_path, image_size):
    store = store_of(root, [])
    name = made.manifest["fingerprint"]
    export(root, name, tmp_path / "local" / "export", image_size)
    first = hashes(tmp_path / "local")
    assert sum("images" in path for path in first) == len(NUMBERS)
    shutil.rmtree(tmp_path / "local")
    # Meanwhile the photos were normalised anew by other code, and labels, and with them the dataset, went on.
    for number in NUMBERS:
        store.put_photo(photo_id(number), photo(number, size=(80, 48)))
    make(root, rows_of(NUMBERS, box_w=0.3), store)
    export(root, name, tmp_path / "local" / "export", image_size)
    assert hashes(tmp_path / "local") == first


def test_rows_and_photos_come_back_and_photos_byte_for_byte(root, made):
    version = open_version(DatasetVersions(root=root), made.manifest["fingerprint"])
    assert version.rows.equals(made.dataset)
    assert version.class_map == CLASS_MAP
    assert [version.photos(photo_id(number)) for number in NUMBERS] == [photo(number) for number in NUMBERS]


def test_photos_are_kept_once_without_room_of_their_own_and_copied_where_links_are_not_made(root, made, monkeypatch):
    store = store_of(root, [])
    files = [path for path in Path(root, "datasets", "photos").rglob("*") if path.is_file()]
    assert len(files) == len(NUMBERS)
    assert all(path.stat().st_nlink == 2 for path in files)
    make(root, rows_of(NUMBERS, box_w=0.3), store)
    assert len([path for path in Path(root, "datasets", "photos").rglob("*") if path.is_file()]) == len(NUMBERS)

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    store.put_photo(photo_id(20), photo(20))
    versions = DatasetVersions(root=root)
    sha256 = versions.photos().keep(photo_id(20), store)
    assert versions.photos().read(photo_id(20), sha256) == photo(20)
    assert versions.photos().path(photo_id(20), sha256).stat().st_nlink == 1
    with pytest.raises(FileNotFoundError, match="in the store"):
        versions.photos().keep(photo_id(21), store)


def test_the_same_content_is_no_new_version_and_only_new_photos_are_read(root, made, monkeypatch):
    store = store_of(root, [12])
    before = hashes(Path(root))
    kept = []
    keep = type(DatasetVersions(root=root).photos()).keep
    monkeypatch.setattr(
        "resources.dataset_photos.DatasetPhotos.keep",
        lambda self, name, photos: kept.append(name) or keep(self, name, photos),
    )
    again = make(root, rows_of(NUMBERS).sample(fraction=1, shuffle=True, seed=1), store)
    assert (again.log.height, again.changes, kept) == (1, None, [])
    assert hashes(Path(root)) == before
    more = make(root, rows_of([*NUMBERS, 12]), store)
    assert (more.log.height, kept) == (2, [photo_id(12)])
    assert {name: count for name, count in more.changes.counts().items() if count} == {
        "photos_added": 1,
        "boxes_added": 2,
    }
    assert more.log.select("photos", "boxes", "classes", "code").row(1) == (13, 22, 2, "code 1")
    back = make(root, rows_of(NUMBERS), store)
    assert back.log["fingerprint"].to_list() == [
        made.manifest["fingerprint"],
        more.manifest["fingerprint"],
        made.manifest["fingerprint"],
    ]


def test_a_photo_that_was_examined_anew_is_another_version(root, made):
    store = store_of(root, [])
    store.put_photo(photo_id(0), photo(100))
    measures = pl.DataFrame({"photo_id": [photo_id(0)], "examined_by": ["other code"]})
    assert make(root, rows_of(NUMBERS), store).manifest == made.manifest
    Tables(root=root).write("photo_measures", measures, measures.schema, "2026-10-01")
    later = make(root, rows_of(NUMBERS), store)
    assert later.changes.photos.select("photo_id", "change", "what").rows() == [(photo_id(0), "changed", "bytes")]
    versions = DatasetVersions(root=root)
    contents = [open_version(versions, m.manifest["fingerprint"]).photos(photo_id(0)) for m in (made, later)]
    assert contents == [photo(0), photo(100)]


def test_a_damaged_version_is_refused_with_what_is_wrong(root, made, tmp_path):
    versions, name = DatasetVersions(root=root), made.manifest["fingerprint"]
    folder = Path(root, "datasets", name)
    good = {path: path.read_bytes() for path in folder.iterdir()}
    rows, manifest = folder / "rows.parquet", folder / "manifest.json"

    def refused(words: str) -> None:
        with pytest.raises(DamagedDatasetError, match=words):
            open_version(versions, name)
        for path, content in good.items():
            path.write_bytes(content)

    made.dataset.with_columns(box_w=pl.col("box_w") + 1e-12).write_parquet(rows)
    refused("have another fingerprint: they were changed since")
    made.dataset.drop("photo_sha256").write_parquet(rows)
    refused("have another fingerprint")
    rows.write_bytes(good[rows][:-20])
    refused(r"rows\.parquet is gone or cannot be read")
    rows.unlink()
    refused(r"rows\.parquet is gone or cannot be read")
    manifest.write_bytes(good[manifest].replace(b"splitter", b"router"))
    refused("have another fingerprint")
    manifest.write_bytes(good[manifest][:50])
    refused(r"manifest\.json is gone or cannot be read")
    manifest.write_bytes(b'{"fingerprint": "x"}')
    refused("format 1, which did not keep the photos' bytes")
    open_version(versions, name)
    kept = Path(versions.photos().of(photo_id(3))[0])
    content = kept.read_bytes()
    kept.unlink()
    with pytest.raises(DamagedDatasetError, match=f"{photo_id(3)}.* is gone"):
        export(root, name, tmp_path / "export")
    kept.write_bytes(content[:-1])
    with pytest.raises(DamagedDatasetError, match="does not hold the bytes that its name says"):
        export(root, name, tmp_path / "export")
    with pytest.raises(FileNotFoundError, match="No dataset version"):
        open_version(versions, "0" * 64)


def test_training_goes_by_the_version_that_the_table_is(root, made):
    versions, tables = DatasetVersions(root=root), Tables(root=root)
    assert todays_version(made.dataset, versions, tables).fingerprint == made.manifest["fingerprint"]
    with pytest.raises(DamagedDatasetError, match="materialise training_dataset"):
        todays_version(made.dataset[1:], versions, tables)
    with pytest.raises(DamagedDatasetError, match="No dataset version was made yet"):
        todays_version(made.dataset, versions, Tables(root=f"{root}/other"))


def test_a_version_with_an_erased_photo_is_refused_by_its_tombstone(root, made, tmp_path):
    versions = DatasetVersions(root=root)
    Tombstones(root).put(Tombstone(photo_id(1), dt.datetime(2026, 11, 2, tzinfo=dt.UTC)))
    assert [each.existed for each in versions.photos().erase(photo_id(1))] == [True]
    with pytest.raises(VoidDatasetError, match=rf"void.*tombstones.*{photo_id(1)}\.json"):
        export(root, made.manifest["fingerprint"], tmp_path / "export")
    assert versions.photos().of(photo_id(1)) == []
    assert len(versions.photos().of(photo_id(2))) == 1


def test_an_export_that_was_killed_at_any_moment_is_taken_up(root, tmp_path):
    numbers = range(150)
    name = make(root, rows_of(numbers), store_of(root, numbers)).manifest["fingerprint"]
    export(root, name, tmp_path / "whole" / "export", 48)
    wanted = hashes(tmp_path / "whole")
    killed = 0
    for pause in (0.25, 0.4, 0.55, 0.7):
        process = subprocess.Popen(
            [
                sys.executable,
                Path(__file__).with_name("small_dataset.py"),
                root,
                name,
                tmp_path / "cut" / "export",
                "48",
            ],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(map(str, (Path(__file__).parents[2], Path(__file__).parent))),
            },
            stdout=subprocess.PIPE,
        )
        assert process.stdout.readline() == b"ready\n"
        deadline = time.monotonic() + 20
        folder = tmp_path / "cut" / "export" / "images" / "train"
        begun = len(list(folder.iterdir())) if folder.exists() else 0
        while process.poll() is None and time.monotonic() < deadline:
            if folder.exists() and len(list(folder.iterdir())) > begun:
                time.sleep(pause / 50)
                break
        process.send_signal(signal.SIGKILL)
        process.stdout.close()
        killed += process.wait() == -signal.SIGKILL
        if not (tmp_path / "cut" / "export" / "data.yaml").exists():
            images = [path for path in folder.iterdir() if not path.name.startswith(".")]
            assert all(path.read_bytes().endswith(b"\xff\xd9") for path in images)
    assert killed >= 2
    export(root, name, tmp_path / "cut" / "export", 48)
    found = hashes(tmp_path / "cut")
    assert found.keys() == wanted.keys()
    assert {path for path in found if found[path] != wanted[path]} == {"export/data.yaml"}  # it names its folder
