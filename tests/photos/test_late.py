"""What landed late: the days looked through, digests of listings, uploads that no ledger holds, which day counts."""

import datetime as dt
import tempfile
from pathlib import Path

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from upload_samples import DAY, NO_LEDGER, NOTHING_YET, counting_store, ingest, land, picture, take_in

from mlops_assets.photos.intake import counting_first
from mlops_assets.photos.late import late_uploads, listing_digest, window
from resources.landed_file import LandedFile

AT = dt.datetime(2026, 10, 7, tzinfo=dt.UTC)
DAYS = ("2026-10-05", "2026-10-06", "2026-10-07")
SMALL = [picture(seed, size=(200, 150)) for seed in range(3)]
FILES = st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=8), max_size=6)


def listing(files: dict[str, str]) -> list[LandedFile]:
    return [LandedFile(f"/landing/{path}", path, etag, AT, 1) for path, etag in files.items()]


def test_the_window_is_of_past_days_since_the_start() -> None:
    assert window(dt.date(2026, 10, 4), 2, dt.date(2026, 10, 1)) == ["2026-10-02", "2026-10-03"]
    assert window(dt.date(2026, 10, 4), 14, dt.date(2026, 10, 1)) == ["2026-10-01", "2026-10-02", "2026-10-03"]
    assert window(dt.date(2026, 10, 1), 14, dt.date(2026, 10, 1)) == []
    assert window(dt.date(2026, 10, 4), 0, dt.date(2026, 10, 1)) == []


@given(FILES, FILES)
def test_a_digest_changes_with_the_listing_and_not_with_its_order(one: dict[str, str], other: dict[str, str]) -> None:
    assert (listing_digest(listing(one)) == listing_digest(listing(other))) == (one == other)
    assert listing_digest(listing(one)) == listing_digest(listing(one)[::-1])


def test_only_new_replaced_and_newly_described_uploads_are_late(tmp_path: Path) -> None:
    store = counting_store(tmp_path)
    land(store, "CAB-1/a.jpg", picture(1))
    land(store, "CAB-1/b.jpg", b"")  # quarantined
    land(store, "CAB-1/c.jpg", picture(1))  # a duplicate
    assert late_uploads(store.list_day(DAY), NO_LEDGER) == 3
    ledger = ingest(store)
    assert late_uploads(store.list_day(DAY), ledger) == 0
    land(store, "CAB-1/a.jpg.json", b"{}")
    land(store, "CAB-1/c.jpg", picture(2))
    land(store, "CAB-2/d.jpg", picture(3))
    assert late_uploads(store.list_day(DAY), ledger) == 3
    (Path(store.landing) / DAY / "CAB-2" / "d.jpg").unlink()
    assert late_uploads(store.list_day(DAY), ledger) == 2


def test_what_was_erased_and_comes_again_is_late_once(tmp_path: Path) -> None:
    store = counting_store(tmp_path)
    land(store, "CAB-1/a.jpg", picture(1))
    photo_id = ingest(store)["photo_id"][0]
    land(store, "CAB-1/b.jpg", picture(1))
    taken = take_in(store, erased=lambda: {photo_id: AT})
    assert set(taken.ledger["status"]) == {"erased"}
    assert late_uploads(store.list_day(DAY), taken.ledger) == 0


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(DAYS), st.integers(0, 2)), min_size=1, max_size=8))
def test_a_photo_counts_once_in_whatever_order_days_are_taken_in(uploads: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store, taken = counting_store(Path(folder)), dict.fromkeys(DAYS, NOTHING_YET)
        for number, (day, seed) in enumerate(uploads):
            land(store, f"CAB-1/{number}.jpg", SMALL[seed], day=day)
            accepted = pl.concat(
                other.ledger.filter(pl.col("status") == "accepted").with_columns(day=pl.lit(name))
                for name, other in taken.items()
            )
            elsewhere = counting_first(accepted, day, taken[day].ledger)
            taken[day] = take_in(store, day=day, previous=taken[day], earlier=elsewhere)
            ledger = pl.concat(each.ledger for each in taken.values())
            counts = ledger.group_by("photo_id").agg(counted=(pl.col("status") == "accepted").sum())
            assert set(counts["counted"]) == {1}
            assert set(ledger["status"]) <= {"accepted", "duplicate"}
