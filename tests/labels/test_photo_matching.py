import polars as pl
import pytest

from mlops_assets.labels.matching import MATCHES, hashed_names, match_photos

ID = "ab" * 32
PHOTOS = pl.DataFrame(
    [
        (ID, "E1", "/landing/2026-10-05/E1/a.jpg"),
        ("p2", "E2", "/landing/2026-10-05/E2/a.jpg"),
        ("p3", "E2", "/landing/2026-10-05/E2/b.b.png"),
        ("p4", "E3", "s3://bucket/landing/2026-10-05/E3/c.jpg"),
        ("p5", "E3", "s3://bucket/landing/2026-10-06/E3/c.jpg"),
        ("p6", "E4", "/landing/2026-10-06/E4/szekr\u00e9ny ajt\u00f3.jpg"),
        ("p3", "E2", "/landing/2026-10-06/E9/copy.png"),
    ],
    schema=["photo_id", "enclosure_id", "landing_uri"],
    orient="row",
)


@pytest.mark.parametrize(
    ("reference", "photo_id"),
    [
        (ID, ID),
        (f"photos/ab/{ID}.jpg", ID),
        (f"labels/{ID}.*", ID),
        ("E1/a.jpg", ID),
        ("C:\\shots\\E2\\a.jpg", "p2"),
        ("train/b.b.png", "p3"),
        ("labels/E2/b.b.*", "p3"),
        ("copy.png", "p3"),
        ("2026-10-06/E3/c.jpg", "p5"),
        ("E4/szekr\u00e9ny ajt\u00f3.jpg", "p6"),
        ("set/szekre\u0301ny ajto\u0301.*", "p6"),
    ],
)
def test_a_reference_finds_its_photo(reference, photo_id):
    assert match_photos([reference], PHOTOS).row(0) == (reference, photo_id, None, None)


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("a.jpg", "2 photos"),
        ("E3/c.jpg", "2 photos"),
        ("E1/b.b.png", "no accepted photo"),  # E1 is known and has no such file; that E2 has one does not matter
        ("nothing.jpg", "no accepted photo"),
        ("", "no accepted photo"),
        ("b.b.jpg", "no accepted photo"),
    ],
)
def test_a_reference_without_one_photo_has_a_reason_and_a_remedy(reference, reason):
    _, photo_id, why, remedy = match_photos([reference], PHOTOS).row(0)
    assert photo_id is None
    assert reason in why
    assert "photo_id" in remedy


def test_no_references_and_no_photos_are_fine():
    assert match_photos([], PHOTOS).schema == MATCHES
    assert match_photos(["a.jpg"], PHOTOS.clear())["photo_id"].to_list() == [None]


def test_names_of_an_erased_photo_match_as_if_it_were_still_there():
    rows = [("a" * 64, "/landing/2026-10-06/CAB-1/a.jpg"), ("b" * 64, "/landing/2026-10-07/CAB-1/a.jpg")]
    photos = pl.DataFrame(rows, schema=["photo_id", "landing_uri"], orient="row")
    names = dict.fromkeys(hashed_names(photos[:1]), "a" * 64)
    references = ["2026-10-06/CAB-1/a.jpg", "2026-10-07/CAB-1/a.jpg", "CAB-1/a.jpg", "a.*", "a" * 64, "other.jpg"]
    found = {row[0]: row[1:] for row in match_photos(references, photos[1:], names).iter_rows()}
    assert found["2026-10-06/CAB-1/a.jpg"][0] == "a" * 64
    assert found["2026-10-07/CAB-1/a.jpg"][0] == "b" * 64
    assert found["a" * 64][0] == "a" * 64
    # what meant either of two photos still means no one: never the one that is left
    assert found["CAB-1/a.jpg"][:2] == (None, "2 photos are named CAB-1/a.jpg")
    assert found["a.*"][0] is None
    assert found["other.jpg"][1] == "no accepted photo is named other.jpg"
