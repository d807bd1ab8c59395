import hashlib
from collections.abc import Mapping
from functools import cache

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from photo_copies import another_shot, brightened, cropped, jpeg, resized, textured
from polars.testing import assert_frame_equal

from mlops_assets.photos import candidates
from mlops_assets.photos.candidates import COMPARED, ChangedDayError, Earlier, all_of
from mlops_assets.photos.near_duplicates import MARKS, mark_near_duplicates
from mlops_assets.photos.perceptual_hashes import perceptual_hash
from mlops_assets.photos.pixels import decode_scaled, fit_long_side
from mlops_assets.use_case import NearDuplicateRules

DAY = "2026-10-20"
NOTHING = pl.DataFrame(schema={"photo_id": pl.String(), **MARKS})
RULES = NearDuplicateRules()


class Album:
    """Photos by photo_id, and which were read."""

    def __init__(self) -> None:
        self.photos: dict[str, bytes] = {}
        self.read: list[str] = []

    def __call__(self, photo_id: str) -> bytes:
        self.read.append(photo_id)
        return self.photos[photo_id]

    def row(self, content: bytes, enclosure: str, technician: str | None = None) -> tuple[str, str, str | None, str]:
        photo_id = hashlib.sha256(content).hexdigest()
        self.photos[photo_id] = content
        return photo_id, enclosure, technician, perceptual_hash(fit_long_side(decode_scaled(content, 640), 640))


@cache
def content(seed: int, version: str = "as it is") -> bytes:
    image = textured(seed)
    match version:
        case "smaller":
            return jpeg(resized(image, 0.5), 60)
        case "cropped":
            return jpeg(cropped(image, 0.10, down=0, right=1))
        case "cut a little":
            return jpeg(brightened(cropped(image, 0.04, down=1), 1.1), 70)
        case "another shot":
            return jpeg(another_shot(image, seed))
    return jpeg(image)


@pytest.fixture
def album():
    return Album()


def table(*rows: tuple[str, str, str | None, str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=COMPARED, orient="row")


def mark(
    album: Album,
    photos: pl.DataFrame,
    days: Mapping[str, pl.DataFrame] | None = None,
    previous: pl.DataFrame = NOTHING,
    rules: NearDuplicateRules = RULES,
    workers: int = 2,
) -> pl.DataFrame:
    earlier = all_of(days or {})
    return mark_near_duplicates(DAY, photos, earlier, previous=previous, read_photo=album, rules=rules, workers=workers)


def outcome(marked: pl.DataFrame) -> list[tuple[str | None, str | None]]:
    return marked.select("near_duplicate_of", "reused_from").rows()


def test_a_copy_is_found_among_all_days_and_a_photo_of_another_enclosure_is_told(album):
    old = album.row(content(1), "CAB-1", "ann")
    days = {"2025-01-01": table(album.row(content(9), "CAB-9"), old), "2026-10-01": table()}
    photos = table(
        album.row(content(1, "smaller"), "CAB-2", "bob"),
        album.row(content(1, "cut a little"), "CAB-1", "bob"),
        album.row(content(1, "another shot"), "CAB-1", "bob"),
        album.row(content(2), "CAB-2", "bob"),
    )
    marked = mark(album, photos, days)
    assert outcome(marked) == [(old[0], "CAB-1"), (old[0], None), (None, None), (None, None)]
    assert marked.schema == {"photo_id": pl.String(), **MARKS}
    assert marked["photo_id"].to_list() == photos["photo_id"].to_list()


@pytest.mark.parametrize(
    ("enclosure", "technician", "day", "found"),
    [
        ("CAB-1", "bob", "2026-10-19", True),
        ("CAB-2", "ann", "2026-10-19", True),
        ("CAB-2", "bob", "2026-10-19", False),
        ("CAB-1", "bob", "2026-09-01", False),
        ("CAB-2", None, "2026-10-19", False),
    ],
)
def test_a_crop_is_looked_for_in_its_enclosure_and_by_its_technician_some_days_back(
    album, enclosure, technician, day, found
):
    # Not found by the hash alone: with this distance nothing but an equal hash is a candidate everywhere.
    rules = NearDuplicateRules(everywhere_distance=0)
    old = album.row(content(3), "CAB-1", "ann" if technician is not None else None)
    crop = album.row(content(3, "cropped"), enclosure, technician)
    marked = mark(album, table(crop), {day: table(old)}, rules=rules)
    expected = (old[0], "CAB-1" if enclosure != "CAB-1" else None) if found else (None, None)
    assert outcome(marked) == [expected]


def test_the_earliest_of_several_is_named_whatever_is_nearest(album):
    crop = album.row(content(4, "cropped"), "CAB-1", "ann")
    whole = album.row(content(4), "CAB-1", "ann")
    copy = album.row(content(4, "smaller"), "CAB-1", "ann")
    assert outcome(mark(album, table(crop, whole, copy))) == [(None, None), (crop[0], None), (crop[0], None)]
    days = {"2026-10-18": table(whole), "2026-10-19": table(crop)}
    assert outcome(mark(album, table(copy), days)) == [(whole[0], None)]


def test_a_rerun_reads_nothing_and_a_late_photo_is_compared_alone(album):
    old = album.row(content(1), "CAB-1")
    strangers = [album.row(content(seed), "CAB-1") for seed in (5, 6)]
    photos = table(album.row(content(1, "smaller"), "CAB-2"), *strangers)
    days = {"2026-10-18": table(), "2026-10-19": table(old)}
    first = mark(album, photos, days)
    album.read.clear()
    assert_frame_equal(mark(album, photos, days, first), first)
    assert album.read == []
    late = album.row(content(1, "cut a little"), "CAB-3")
    again = mark(album, photos, {**days, "2026-10-18": table(late)}, first)
    assert outcome(again)[0] == (late[0], "CAB-3")
    assert set(album.read) <= {late[0], old[0], photos["photo_id"][0]}
    assert_frame_equal(again, mark(album, photos, {**days, "2026-10-18": table(late)}))
    gone = mark(album, photos, {"2026-10-19": table()}, again)
    assert outcome(gone)[0] == (None, None)


def test_an_earlier_photo_that_moved_to_another_enclosure_is_told_without_comparing_again(album):
    old = album.row(content(1), "CAB-1")
    photos = table(album.row(content(1, "smaller"), "CAB-2"))
    first = mark(album, photos, {"2026-10-19": table(old)})
    assert outcome(first) == [(old[0], "CAB-1")]
    album.read.clear()
    moved = (old[0], "CAB-3", None, old[3])
    assert outcome(mark(album, photos, {"2026-10-19": table(moved)}, first)) == [(old[0], "CAB-3")]
    assert album.read == []
    home = (old[0], "CAB-2", None, old[3])
    assert outcome(mark(album, photos, {"2026-10-19": table(home)}, first)) == [(old[0], None)]


def test_other_thresholds_are_applied_to_what_is_known(album):
    photos = table(album.row(content(1), "CAB-1"), album.row(content(1, "smaller"), "CAB-1"))
    first = mark(album, photos)
    assert first["near_duplicate_of"][1] is not None
    strict = mark(album, photos, previous=first, rules=NearDuplicateRules(min_correlation=1.0))
    assert outcome(strict) == [(None, None), (None, None)]


def test_an_earlier_day_that_changes_meanwhile_is_an_error(album):
    old, other = album.row(content(1), "CAB-1"), album.row(content(2), "CAB-1")
    earlier = Earlier([("2026-10-19", [old[3]])], lambda day: table(other))
    with pytest.raises(ChangedDayError, match="2026-10-19"):
        mark_near_duplicates(
            DAY,
            table(album.row(content(1, "smaller"), "CAB-1")),
            earlier,
            previous=NOTHING,
            read_photo=album,
            rules=RULES,
        )


def test_an_earlier_photo_that_is_no_longer_accepted_is_left_out_before_its_day_is_cleaned_again(album):
    gone, old = album.row(content(1), "CAB-1"), album.row(content(1, "cut a little"), "CAB-1")
    photos = table(album.row(content(1, "smaller"), "CAB-1"))
    accepted = {"2026-10-18": table(gone), "2026-10-19": table(old)}
    first = mark(album, photos, accepted)
    assert outcome(first) == [(gone[0], None)]
    del album.photos[gone[0]]
    erased = {**accepted, "2026-10-18": table((gone[0], None, None, gone[3]))}
    assert outcome(mark(album, photos, erased, first)) == [(old[0], None)]


def test_a_missing_photo_is_an_error(album):
    photos = table(album.row(content(1), "CAB-1"), album.row(content(1, "smaller"), "CAB-1"))
    del album.photos[photos["photo_id"][0]]
    with pytest.raises(KeyError):
        mark(album, photos)


def test_no_photos_give_no_rows(album):
    assert_frame_equal(mark(album, table()), NOTHING)
    assert album.read == []


@settings(max_examples=12, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 3),
            st.sampled_from(["as it is", "smaller", "cut a little", "another shot"]),
            st.sampled_from(["CAB-1", "CAB-2"]),
        ),
        min_size=1,
        max_size=7,
        unique_by=lambda row: row[:2],
    ),
    st.integers(0, 6),
)
def test_one_day_or_two_give_the_same_and_only_the_order_of_photos_counts(rows, cut):
    """The earliest photo of a shot repeats nothing, the others repeat it, wherever the day begins."""
    album = Album()
    landed = [album.row(content(seed, version), enclosure) for seed, version, enclosure in rows]
    today = mark(album, table(*landed[cut:]), {"2026-10-19": table(*landed[:cut])})
    for number, (seed, version, enclosure) in list(enumerate(rows))[cut:]:
        same = [n for n, (s, v, _) in enumerate(rows[:number]) if s == seed and "another shot" not in (v, version)]
        first = landed[same[0]] if same else None
        assert today["near_duplicate_of"][number - cut] == (first[0] if first else None)
        assert today["reused_from"][number - cut] == (first[1] if first and first[1] != enclosure else None)
    again = mark(album, table(*landed[cut:]), {"2026-10-19": table(*landed[:cut])}, today, workers=1)
    assert_frame_equal(again, today)


def test_candidates_of_thousands_alike_are_bounded(album, monkeypatch):
    monkeypatch.setattr(candidates, "HITS", 3)
    old = album.row(content(1), "CAB-9")
    alike = [(f"{number:064x}", f"CAB-{number}", None, old[3]) for number in range(50)]
    rules = NearDuplicateRules(max_candidates=2)
    album.photos |= {row[0]: album.photos[old[0]] for row in alike}
    marked = mark(album, table(album.row(content(1, "smaller"), "CAB-X")), {"2026-10-19": table(*alike)}, rules=rules)
    assert outcome(marked) == [(alike[0][0], "CAB-0")]
    assert len(set(album.read)) <= 3
