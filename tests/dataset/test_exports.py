"""The exports on one machine: shared scaling, in use by others, bounded in number."""

import fcntl
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from small_dataset import CLASS_MAP, photo, photo_id, rows_of

from mlops_assets.dataset import exports
from mlops_assets.dataset.export import DatasetExportError, Photos
from mlops_assets.dataset.exports import exported

NUMBERS = range(6)
DATASET = rows_of(NUMBERS, photo_sha256="a" * 64)


class Read:
    """Photos by photo_id, and which were asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, wanted: str) -> bytes:
        self.asked.append(wanted)
        return photo([photo_id(number) for number in range(20)].index(wanted))


def use(folder: Path, name: str, dataset=DATASET, read=None, keep: int = 3, image_size: int = 48):
    photos = Photos(read or Read())
    return exported(dataset, sorted(CLASS_MAP), photos, folder, name, image_size=image_size, workers=2, keep=keep)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def test_a_version_that_differs_by_a_label_costs_no_second_scaling(tmp_path):
    read, again = Read(), Read()
    with use(tmp_path, "a", read=read) as first:
        assert sorted(read.asked) == sorted(photo_id(number) for number in NUMBERS)
    more = rows_of([*NUMBERS, 7], photo_sha256="a" * 64)
    with use(tmp_path, "b", more, read=again) as second:
        assert again.asked == [photo_id(7)]
        image = f"images/train/{photo_id(0)}.jpg"
        assert (first.parent / image).samefile(second.parent / image)
    with use(tmp_path, "b", more, read=again):
        assert again.asked == [photo_id(7)]  # nothing at all the second time


def test_a_photo_with_other_bytes_is_scaled_anew(tmp_path):
    with use(tmp_path, "a"):
        pass
    read = Read()
    with use(tmp_path, "b", rows_of(NUMBERS, photo_sha256="b" * 64), read=read):
        assert len(read.asked) == len(NUMBERS)


def test_photos_that_fit_are_linked_or_copied_byte_for_byte(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    for number in NUMBERS:
        (kept / f"{photo_id(number)}.jpg").write_bytes(photo(number))
    truncated = kept / f"{photo_id(0)}.jpg"
    truncated.write_bytes(photo(0)[:-2])  # a trainer would write into this one
    photos = Photos(lambda wanted: (kept / f"{wanted}.jpg").read_bytes(), lambda wanted: kept / f"{wanted}.jpg")
    with exported(DATASET, sorted(CLASS_MAP), photos, tmp_path / "x", "a", image_size=96, workers=2) as data_yaml:
        images = {path.stem: path for path in (data_yaml.parent / "images").rglob("*.jpg")}
        links = {name for name, path in images.items() if path.samefile(kept / path.name)}
        assert links == set(images) - {photo_id(0)}
        assert images[photo_id(0)].read_bytes() == truncated.read_bytes()


def test_the_exports_used_longest_ago_go_and_their_scaled_photos_with_them(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    for number in range(5):
        with use(tmp_path, f"v{number}", rows_of([number, 6, 7], photo_sha256="a" * 64)):
            pass
        if number == 3:
            with use(tmp_path, "v1", rows_of([1, 6, 7], photo_sha256="a" * 64)):
                pass
    assert names(tmp_path) == {"v1", "v3", "v4", "mine"}
    scaled = {path.name[:64] for path in (tmp_path / ".scaled-48").rglob("*.jpg")}
    assert scaled == {photo_id(number) for number in (1, 3, 4, 6, 7)}
    assert not list(tmp_path.glob(".gone-*"))
    assert {path.name for path in (tmp_path / ".locks").iterdir()} == {"v1", "v3", "v4", ".scaled-48"}


@contextmanager
def other_process_holds(folder: Path, name: str, how: str):
    """As a training on this machine holds its export."""
    code = (
        "import fcntl, sys, time\n"
        "lock = open(sys.argv[1], 'a')\nfcntl.flock(lock, getattr(fcntl, sys.argv[2]))\nprint('held', flush=True)\n"
        "time.sleep(60)\n"
    )
    lock = folder / ".locks" / name
    with subprocess.Popen([sys.executable, "-c", code, lock, how], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        try:
            yield process
        finally:
            process.kill()


def test_an_export_in_use_stays_whatever_its_age_until_its_process_dies(tmp_path):
    with use(tmp_path, "old"):
        pass
    with other_process_holds(tmp_path, "old", "LOCK_SH"):
        with use(tmp_path, "old"):  # two trainings on one complete export
            pass
        for name in ("b", "c"):
            with use(tmp_path, name, keep=1):
                pass
        assert names(tmp_path) == {"old", "c"}
    with use(tmp_path, "d", keep=1):
        assert names(tmp_path) == {"d"}


def test_an_incomplete_export_in_use_by_another_process_is_not_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(exports, "_TRIES", 2)
    monkeypatch.setattr(exports, "_POLL_S", 0.01)
    with use(tmp_path, "a") as data_yaml:
        image = data_yaml.parent / "images" / "train" / f"{photo_id(0)}.jpg"
    image.unlink()
    with other_process_holds(tmp_path, "a", "LOCK_SH"), pytest.raises(DatasetExportError, match="another process"):
        use(tmp_path, "a").__enter__()
    assert not image.exists()
    with use(tmp_path, "a"):
        assert image.exists()


def test_what_a_killed_removal_left_goes_with_the_next_one(tmp_path):
    left = tmp_path / ".gone-1"
    left.mkdir()
    (left / "x.jpg").write_bytes(b"x")
    with use(tmp_path, "a"):
        assert not left.exists()


def test_a_lock_whose_export_was_removed_meanwhile_is_taken_again(tmp_path):
    (tmp_path / ".locks").mkdir()
    path = tmp_path / ".locks" / "a"
    held = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(held, fcntl.LOCK_EX)
    path.unlink()  # as the remover does, before it lets go
    started = time.monotonic()
    with use(tmp_path, "a") as data_yaml:
        assert data_yaml.exists()
    os.close(held)
    assert time.monotonic() - started < 10
