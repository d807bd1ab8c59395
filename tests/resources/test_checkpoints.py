"""Checkpoints in a folder and in an object store: whole or not there, the last two, none of others."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import dagster as dg
import pytest
import s3fs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer
from upath import UPath

from resources.checkpoint_files import CheckpointFolder, CheckpointShelf, DamagedCheckpointError
from resources.checkpoints import Checkpoints

FILES = {"state.pt": b"state", "weights/best.pt": b"best"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture(params=["folder", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "folder":
        yield str(tmp_path / "store")
        return
    monkeypatch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue("endpoint"))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    s3fs.S3FileSystem.clear_instance_cache()
    boto3.client("s3").create_bucket(Bucket="checkpoints")
    yield f"s3://checkpoints/{tmp_path.name}"
    s3fs.S3FileSystem.clear_instance_cache()


def shelf_of(root: str, run_id: str, parent: str | None = None, **tags: str) -> CheckpointShelf:
    """Of a run that may follow another."""
    marks = {f"dagster/{name}": value for name, value in tags.items()}
    run = dg.DagsterRun(
        job_name="retrain", run_id=run_id, parent_run_id=parent, root_run_id=parent, tags=_parents(parent) | marks
    )
    with dg.DagsterInstance.ephemeral() as instance:
        return Checkpoints(root=root).of_run(instance, run)


def _parents(parent: str | None) -> dict[str, str]:
    return {} if parent is None else {"dagster/parent_run_id": parent, "dagster/root_run_id": parent}


def newest(folder: CheckpointFolder, target: Path) -> dict[str, bytes]:
    checkpoint = folder.open(next(folder.newest_first()))
    folder.fetch(checkpoint, target)
    return {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}


def stored(folder: CheckpointFolder) -> tuple[int, int]:
    """Manifests and files that there are."""
    place = UPath(folder.address)
    return len(list(place.glob("*.json"))), len(list((place / "files").iterdir()))


def test_the_newest_comes_back_and_the_last_two_are_kept(root: str, tmp_path: Path) -> None:
    folder = shelf_of(root, "run").of("training")
    assert list(folder.newest_first()) == []
    for number in range(1, 5):
        folder.write(number, {"epoch": number}, {**FILES, "state.pt": f"state {number}".encode()})
    assert [folder.open(manifest).number for manifest in folder.newest_first()] == [4, 3]
    assert newest(folder, tmp_path / "a") == {"state.pt": b"state 4", "weights/best.pt": b"best"}
    assert stored(folder) == (2, 4)


def test_what_is_damaged_is_refused_by_name_and_the_one_before_is_whole(root: str, tmp_path: Path) -> None:
    folder = shelf_of(root, "run").of("training")
    folder.write(1, {}, {"state.pt": b"one"})
    folder.write(2, {}, {"state.pt": b"two"})
    last, before = [folder.open(manifest) for manifest in folder.newest_first()]
    file = UPath(folder.address) / "files" / f"00000002-{last.files['state.pt']}"
    file.write_bytes(b"tw")
    with pytest.raises(DamagedCheckpointError, match=r"state\.pt of .* is not what was written"):
        folder.fetch(last, tmp_path / "last")
    file.unlink()
    with pytest.raises(DamagedCheckpointError, match="is gone"):
        folder.fetch(last, tmp_path / "last")
    folder.fetch(before, tmp_path / "before")
    assert (tmp_path / "before" / "state.pt").read_bytes() == b"one"
    UPath(last.manifest).write_bytes(b'{"number": 2')
    with pytest.raises(DamagedCheckpointError, match="no checkpoint"):
        folder.open(last.manifest)


def test_damage_to_a_file_costs_one_checkpoint_and_is_mended_by_writing_it_again(root: str, tmp_path: Path) -> None:
    folder = shelf_of(root, "run").of("training")
    for number in (1, 2):
        folder.write(number, {}, FILES)
    last, before = [folder.open(manifest) for manifest in folder.newest_first()]
    (UPath(folder.address) / "files" / f"00000002-{last.files['weights/best.pt']}").write_bytes(b"be")
    with pytest.raises(DamagedCheckpointError, match=r"best\.pt of .* is not what was written"):
        folder.fetch(last, tmp_path / "last")
    folder.fetch(before, tmp_path / "before")
    folder.write(2, {}, FILES)
    assert newest(folder, tmp_path / "again") == FILES


def test_one_that_is_given_up_does_not_outlive_those_of_a_training_that_begins_anew(root: str, tmp_path: Path) -> None:
    folder = shelf_of(root, "run").of("training")
    for number in (8, 9):
        folder.write(number, {}, {"state.pt": b"old"})
    for manifest in list(folder.newest_first()):
        folder.remove(manifest)
    folder.write(1, {}, FILES)
    assert [folder.open(manifest).number for manifest in folder.newest_first()] == [1]
    assert newest(folder, tmp_path / "a") == FILES
    assert stored(folder) == (1, 2)


def test_a_store_that_cannot_be_read_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "00000001.json").mkdir()
    with pytest.raises(IsADirectoryError):
        CheckpointFolder(str(tmp_path)).open(str(tmp_path / "00000001.json"))
    s3fs.S3FileSystem.clear_instance_cache()
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
            monkeypatch.setenv(name, "test")
        with pytest.raises(Exception, match="connect") as error:
            CheckpointFolder("s3://checkpoints/a").open("s3://checkpoints/a/00000001.json")
    assert not isinstance(error.value, DamagedCheckpointError)
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_run_that_goes_on_finds_those_of_its_first_run_and_no_other_does(root: str) -> None:
    shelf_of(root, "first").of("training").write(1, {}, FILES)
    by_the_daemon = shelf_of(root, "second", "first", retry_number="1")
    from_failure = shelf_of(root, "third", "first", is_resume_retry="true")
    assert by_the_daemon.trainings() == from_failure.trainings() == ["training"]
    assert shelf_of(root, "anew", "first").trainings() == []
    assert shelf_of(root, "other").trainings() == []
    from_failure.delete()
    from_failure.delete()
    assert shelf_of(root, "first").trainings() == []


def test_orphans_are_told_by_their_age(root: str) -> None:
    checkpoints = Checkpoints(root=root)
    shelf, other = shelf_of(root, "run"), shelf_of(root, "other")
    shelf.of("training").write(1, {}, FILES)
    assert checkpoints.remove_orphans(1, keep=other) == []
    assert checkpoints.remove_orphans(-1, keep=shelf) == []
    assert shelf.trainings() == ["training"]
    assert checkpoints.remove_orphans(-1, keep=other) == ["run"]
    assert shelf.trainings() == []


def test_orphans_are_removed_once_they_are_old(tmp_path: Path) -> None:
    checkpoints = Checkpoints(root=str(tmp_path))
    mine = shelf_of(str(tmp_path), "mine")
    assert checkpoints.remove_orphans(7, keep=mine) == []
    for run in ("old", "new", "mine"):
        shelf_of(str(tmp_path), run).of("training").write(1, {}, FILES)
    days_ago = time.time() - 8 * 86_400
    for path in [*(tmp_path / "checkpoints" / "old").rglob("*"), *(tmp_path / "checkpoints" / "mine").rglob("*")]:
        os.utime(path, (days_ago, days_ago))
    (tmp_path / "checkpoints" / "begun").mkdir()
    assert checkpoints.remove_orphans(7, keep=mine) == ["old"]
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"new", "mine", "begun"}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=6), cut=st.integers(0, 30))
def test_whatever_was_cut_off_what_is_found_is_whole(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, bool]], cut: int
) -> None:
    """Checkpoints are written, some cut off after any number of bytes of their newest file or manifest."""
    place = tmp_path_factory.mktemp("cut")
    folder = CheckpointFolder(str(place))
    written = {}
    for number, (content, damaged) in enumerate(steps, start=1):
        files = {"state.pt": f"state {content}".encode() * 3}
        folder.write(number, {}, files)
        written[number] = files
        if damaged:
            newest_file = max((p for p in place.rglob("*") if p.is_file()), key=lambda p: p.stat().st_mtime_ns)
            newest_file.write_bytes(newest_file.read_bytes()[:cut])
    for manifest in folder.newest_first():
        try:
            checkpoint = folder.open(manifest)
            folder.fetch(checkpoint, place / "fetched")
        except DamagedCheckpointError:
            continue
        assert (place / "fetched" / "state.pt").read_bytes() == written[checkpoint.number]["state.pt"]
