"""What tables keep of an erased photo, on made-up tables of every kind."""

import datetime as dt
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mlops_assets.erasure.rows import holds, without
from mlops_assets.photos.erased import NOT_KEPT, forget_uploads, mark_erased
from mlops_assets.photos.intake import conservation
from mlops_assets.photos.schema import CLEAN_PHOTOS, RAW_PHOTOS
from mlops_assets.tables import SCHEMAS

AT = dt.datetime(2026, 10, 8, tzinfo=dt.UTC)
IDS = [letter * 64 for letter in "abcd"]
STATUSES = ("accepted", "duplicate", "quarantined")


@st.composite
def ledgers(draw: st.DrawFn) -> pl.DataFrame:
    rows = draw(st.lists(st.tuples(st.sampled_from([*IDS, None]), st.sampled_from(STATUSES)), max_size=12))
    filled: list[dict[str, Any]] = [
        {
            "landing_uri": f"/landing/2026-10-06/CAB/{number}.jpg",
            "etag": f"{number}",
            "modified_at": AT,
            "photo_id": photo_id,
            "status": status,
            "byte_size": number,
            "technician": "T",
            "latitude": 47.0,
            "captured_at": AT,
            "width": 800,
            "reason": "why",
        }
        for number, (photo_id, status) in enumerate(rows)
    ]
    return pl.DataFrame(filled, schema=RAW_PHOTOS)


@settings(deadline=None)
@given(ledgers(), st.sets(st.sampled_from(IDS)))
def test_the_ledger_keeps_its_count_and_nothing_of_who_and_where(ledger: pl.DataFrame, erased: set[str]) -> None:
    marked = mark_erased(ledger, dict.fromkeys(erased, AT))
    assert marked.schema == RAW_PHOTOS
    counts = conservation(marked)
    assert counts["landed"] == ledger.height == sum(counts.values()) - counts["landed"]
    gone = marked.filter(pl.col("status") == "erased")
    assert gone.height == ledger.filter(pl.col("photo_id").is_in(list(erased))).height
    assert gone.select(NOT_KEPT).null_count().row(0) == (gone.height,) * len(NOT_KEPT)
    others = ~pl.col("photo_id").is_in(list(erased)).fill_null(False)
    assert_frame_equal(marked.filter(others), ledger.filter(others))
    assert_frame_equal(mark_erased(marked, dict.fromkeys(erased, AT)), marked)


@settings(deadline=None)
@given(ledgers(), st.sets(st.sampled_from(IDS)))
def test_names_of_deleted_uploads_leave_the_ledger_and_rows_do_not(ledger: pl.DataFrame, erased: set[str]) -> None:
    marked = mark_erased(ledger, dict.fromkeys(erased, AT))
    redacted = forget_uploads(marked, marked["landing_uri"].to_list())
    assert redacted.height == ledger.height
    assert redacted.schema == RAW_PHOTOS
    gone = redacted.filter(pl.col("status") == "erased")
    assert not gone["landing_uri"].str.contains("CAB").any()
    assert_frame_equal(mark_erased(redacted, dict.fromkeys(erased, AT)), redacted)
    assert_frame_equal(forget_uploads(redacted, ledger["landing_uri"].to_list()), redacted)


def test_a_photo_uploaded_twice_under_one_name_is_one_row() -> None:
    row = {"landing_uri": "/landing/a.jpg", "photo_id": IDS[0], "status": "accepted", "byte_size": 1}
    first = mark_erased(pl.DataFrame([row], schema=RAW_PHOTOS), {IDS[0]: AT})
    redacted = forget_uploads(first, ["/landing/a.jpg"])
    both = pl.concat([redacted, mark_erased(pl.DataFrame([row], schema=RAW_PHOTOS), {IDS[0]: AT})])
    assert_frame_equal(forget_uploads(both, ["/landing/a.jpg"]), redacted)


def test_near_duplicates_of_an_erased_photo_are_still_those_of_each_other() -> None:
    rows = [
        {"photo_id": IDS[0], "near_duplicate_of": None},
        {"photo_id": "e" * 64, "near_duplicate_of": None},
        {"photo_id": IDS[1], "near_duplicate_of": IDS[0]},
        {"photo_id": IDS[2], "near_duplicate_of": IDS[0]},
        {"photo_id": IDS[3], "near_duplicate_of": "f" * 64},
    ]
    kept = without("clean_photos", pl.DataFrame(rows, schema=CLEAN_PHOTOS), {IDS[0]: AT})
    assert kept.select("photo_id", "near_duplicate_of").rows() == [
        ("e" * 64, None),
        (IDS[1], None),
        (IDS[2], IDS[1]),
        (IDS[3], "f" * 64),
    ]


def test_every_table_of_the_project_loses_just_the_rows_that_name_it() -> None:
    for name, schema in SCHEMAS.items():
        texts = [column for column, dtype in schema.items() if dtype == pl.String]
        for column in texts:
            if name in ("raw_photos", "clean_photos") and column != "photo_id":
                continue
            rows = [{column: f"before {IDS[0]} after" if column != "photo_id" else IDS[0]}, {column: IDS[1]}, {}]
            frame = pl.DataFrame(rows, schema=schema)
            kept = without(name, frame, {IDS[0]: AT})
            if name == "raw_photos":
                assert kept["status"].to_list() == ["erased", None, None]
                continue
            assert_frame_equal(kept, frame[1:])
            assert holds(frame, IDS[0]) == 1


def test_a_table_nobody_knows_is_searched_in_texts_and_lists() -> None:
    frame = pl.DataFrame(
        {"n": [1, 2, 3], "seen": [[IDS[0]], [IDS[1]], None]}, schema={"n": pl.Int64, "seen": pl.List(pl.String)}
    )
    assert without("later", frame, {IDS[0]: AT})["n"].to_list() == [2, 3]
    numbers = pl.DataFrame({"n": [1]})
    assert without("numbers", numbers, {IDS[0]: AT}).equals(numbers)


def test_sentences_of_the_label_quarantine_go_by_name_too() -> None:
    frame = pl.DataFrame({"source": ["x", "y"], "reason": ["2 photos are named CAB-0/a.jpg", "other"]})
    assert without("label_quarantine", frame, {IDS[0]: AT}, ["CAB-0/a.jpg"])["source"].to_list() == ["y"]
    assert without("annotations", frame, {IDS[0]: AT}, ["CAB-0/a.jpg"]).height == 2
