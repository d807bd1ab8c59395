import itertools
import os
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from upath import UPath

from mlops_assets.labels.drop_state import Listing, drop_digest, list_on


def put(drop: Path, name: str, content: str = "x", at: int = 1_000) -> None:
    path = drop / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    os.utime(path, (at, at))


def in_pieces(drop: Path, pieces: list[int]) -> str:
    """Listed with a stop after so many entries each time, the pass kept as a sensor's cursor keeps it."""
    listing, stops = Listing(), itertools.cycle(pieces)
    for _ in range(100):
        left = itertools.count(next(stops) - 1, -1)
        listing = list_on(drop, Listing.parse(listing.as_json()), lambda left=left: next(left) <= 0)
        if listing.complete:
            return listing.digest
    raise AssertionError("does not come to an end")


def test_an_empty_or_missing_drop_has_no_state(tmp_path: Path) -> None:
    assert drop_digest(tmp_path / "none") == drop_digest(tmp_path) == ""
    put(tmp_path, ".hidden/labels.json")
    put(tmp_path, "__MACOSX/labels.json")
    (tmp_path / "empty folder").mkdir()
    assert drop_digest(tmp_path) == ""


def test_every_change_of_a_listing_is_another_state(tmp_path: Path) -> None:
    put(tmp_path, "a/labels/1.txt")
    put(tmp_path, "b.json")
    seen = [drop_digest(tmp_path)]
    for change in (
        lambda: put(tmp_path, "a/labels/2.txt"),
        lambda: put(tmp_path, "a/labels/2.txt", at=2_000),
        lambda: put(tmp_path, "a/labels/2.txt", "xx", at=2_000),
        lambda: (tmp_path / "a/labels/2.txt").rename(tmp_path / "a/labels/3.txt"),
        lambda: (tmp_path / "a").rename(tmp_path / "c"),
        (tmp_path / "b.json").unlink,
    ):
        change()
        seen.append(drop_digest(tmp_path))
    assert len(set(seen)) == len(seen)
    put(tmp_path, "c/.DS_Store")
    assert drop_digest(tmp_path) == seen[-1]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_a_pass_in_pieces_gives_the_same_state(tmp_path_factory, pieces: list[int]) -> None:
    drop = tmp_path_factory.mktemp("drop")
    for name in ("b.json", "a/1.txt", "a/2.txt", "é ű.json", "c/d/e.xml", "z/.hidden"):
        put(drop, name)
    assert in_pieces(drop, pieces) == drop_digest(drop)


def test_names_that_are_no_utf_8_can_be_kept_in_a_cursor(tmp_path: Path) -> None:
    put(tmp_path, os.fsdecode(b"caf\xe9.json"))
    listing = list_on(tmp_path, Listing(), lambda: True)
    assert (listing.files, listing.complete) == (1, False)
    assert list_on(tmp_path, listing, lambda: True).complete
    assert listing.last == "caf\\xe9.json"
    assert listing.last.encode()


def test_a_drop_in_an_object_store_is_listed_alike() -> None:
    drop = UPath("memory://drop-state/labels")
    for name in ("a/1.txt", "a/2.txt", "b.json"):
        (drop / name).parent.mkdir(parents=True, exist_ok=True)
        (drop / name).write_bytes(b"x")
    before = list_on(drop, Listing(), lambda: False)
    assert (before.entries, before.files) == (2, 3)
    (drop / "a/1.txt").unlink()
    assert drop_digest(drop) != before.digest
