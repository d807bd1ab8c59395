import datetime as dt
import hashlib
import io
import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from PIL import Image
from polars.testing import assert_frame_equal
from upload_samples import DAY, SHARED_DATA, CountingStore, counting_store, ingest, land, picture, take_in

from mlops_assets.photos.intake import TakenIn, conservation
from mlops_assets.photos.landing import changed_uris, pair
from mlops_assets.photos.schema import PHOTO_MEASURES, RAW_PHOTOS
from mlops_assets.use_case import IntakeRules


@pytest.fixture
def store(tmp_path) -> CountingStore:
    return counting_store(tmp_path)


def row(ledger: pl.DataFrame, name: str) -> dict:
    return ledger.row(by_predicate=pl.col("landing_uri").str.ends_with(name), named=True)


def test_an_accepted_photo_is_stored_twice_and_described(store):
    content = picture(1, size=(1600, 1200))
    uri = land(store, "CAB-1/a.jpg", content)
    ledger = ingest(store)
    assert ledger.schema == RAW_PHOTOS
    taken = row(ledger, "a.jpg")
    photo_id = hashlib.sha256(content).hexdigest()
    assert taken["landing_uri"] == uri
    assert (taken["photo_id"], taken["status"], taken["reason"]) == (photo_id, "accepted", None)
    assert (taken["enclosure_id"], taken["visit_id"]) == ("CAB-1", f"CAB-1/{DAY}")
    assert (taken["width"], taken["height"], taken["format"], taken["byte_size"]) == (1600, 1200, "JPEG", len(content))
    assert Path(store.original_uri(photo_id, "jpg")).read_bytes() == content
    assert store.has_photo(photo_id)


def test_every_fate_of_a_file_is_in_the_ledger_with_reason_and_remedy(store):
    land(store, "CAB-1/a.jpg", picture(1))
    land(store, "CAB-1/b.jpg", picture(1))
    land(store, "CAB-1/empty.jpg", b"")
    land(store, "CAB-1/text.jpg", b"not a picture")
    land(store, "CAB-1/cut.jpg", picture(2)[:3000])
    land(store, "CAB-1/large.jpg", picture(3) + b"\0" * 200_000)
    land(store, "CAB-1/many.png", picture(3, "PNG", size=(2000, 1000)))
    land(store, "CAB-1/gone.jpg.json", b"{}")
    land(store, "loose.jpg", picture(4))
    land(store, "CAB-1/deep/d.jpg", picture(5))
    rules = IntakeRules(max_bytes=150_000, max_pixels=1_000_000)
    ledger = ingest(store, rules=rules)
    assert conservation(ledger) == {"landed": 10, "accepted": 1, "duplicate": 1, "quarantined": 8, "erased": 0}
    said = {
        "b.jpg": "The same photo as",
        "empty.jpg": "empty",
        "text.jpg": "no picture",
        "cut.jpg": "truncated",
        "large.jpg": "bytes, more than the limit",
        "many.png": "2000 x 1000 pixels",
        "gone.jpg.json": "sidecar without a photo",
        "loose.jpg": "enclosure is not known",
        "d.jpg": "2 folders deep",
    }
    for name, reason in said.items():
        assert reason in row(ledger, name)["reason"]
        assert row(ledger, name)["remedy"]
    assert row(ledger, "b.jpg")["duplicate_of"] == row(ledger, "a.jpg")["landing_uri"]
    assert sum(1 for path in Path(store.root, "originals").rglob("*") if path.is_file()) == 1


def test_a_rerun_gives_the_same_ledger_and_reads_nothing(store):
    for number in range(3):
        land(store, f"CAB-1/{number}.jpg", picture(number % 2))
    land(store, "CAB-1/0.jpg.json", b'{"technician": "T"}')
    land(store, "CAB-1/bad.jpg", b"bad")
    first = take_in(store)
    assert len(store._reads) == 5
    store._reads.clear()
    second = take_in(store, previous=first)
    assert_frame_equal(second.ledger, first.ledger)
    assert_frame_equal(second.measures, first.measures)
    assert store._reads == []
    assert changed_uris(store.list_day(DAY), first.ledger) == []


def test_without_a_previous_ledger_the_same_tables_and_bytes_come_back(store):
    land(store, "CAB-1/a.jpg", picture(1))
    first = take_in(store, workers=1)
    photo_id = first.ledger["photo_id"].item()
    original = Path(store.original_uri(photo_id, "jpg")).stat()
    photo = store.read_photo(photo_id)
    second = take_in(store, workers=4)
    assert_frame_equal(second.ledger, first.ledger)
    assert_frame_equal(second.measures, first.measures)
    assert store.read_photo(photo_id) == photo
    assert Path(store.original_uri(photo_id, "jpg")).stat().st_ino == original.st_ino


def test_a_changed_setting_of_the_normalised_photo_has_just_its_photos_made_anew(store):
    land(store, "CAB-1/a.jpg", picture(1, size=(1600, 1200)))
    land(store, "CAB-1/bad.jpg", b"bad")
    first = take_in(store)
    smaller = take_in(store, previous=first, rules=IntakeRules(normalised_long_side=800))
    assert_frame_equal(smaller.ledger, first.ledger)
    assert Image.open(io.BytesIO(store.read_photo(first.ledger["photo_id"][0]))).size == (800, 600)
    assert first.measures["examined_by"].n_unique() == smaller.measures["examined_by"].n_unique() == 1
    assert first.measures["examined_by"][0] != smaller.measures["examined_by"][0]


def test_measures_are_kept_for_every_photo_that_was_read_and_null_where_it_was_refused(store):
    land(store, "CAB-1/a.jpg", picture(1))
    land(store, "CAB-1/b.jpg", picture(1))
    land(store, "CAB-1/bad.jpg", b"bad")
    taken = take_in(store)
    assert taken.measures.schema == PHOTO_MEASURES
    assert taken.measures["photo_id"].to_list() == sorted(taken.ledger["photo_id"].unique())
    assert sorted(taken.measures["sharpness"].is_null()) == [False, True]


def test_coordinates_stay_in_the_original_unless_the_use_case_asks_for_them(store):
    exif = Image.Exif()
    exif.get_ifd(0x8825).update({1: "N", 2: (47.0, 30.0, 0.0), 3: "E", 4: (19.0, 0.0, 0.0)})
    land(store, "CAB-1/a.jpg", picture(1, exif=exif))
    assert ingest(store).select("latitude", "longitude").row(0) == (None, None)
    kept = ingest(store, rules=IntakeRules(keep_coordinates=True))
    assert kept.select("latitude", "longitude").row(0) == (47.5, 19.0)


def test_only_a_new_file_and_one_whose_sidecar_changed_are_read(store):
    land(store, "CAB-1/a.jpg", picture(1))
    changed = land(store, "CAB-1/b.jpg", picture(2))
    first = take_in(store)
    store._reads.clear()
    new = land(store, "CAB-1/c.jpg", picture(3))
    sidecar = land(store, "CAB-1/b.jpg.json", b'{"visit_id": "V-9"}')
    second = ingest(store, previous=first)
    assert sorted(store._reads) == sorted([changed, new, sidecar])
    assert second["visit_id"].to_list() == [f"CAB-1/{DAY}", "V-9", f"CAB-1/{DAY}"]


def test_an_orphan_sidecar_leaves_the_ledger_once_its_photo_lands(store):
    land(store, "CAB-1/a.jpg.json", b'{"technician": "T"}')
    first = take_in(store)
    assert first.ledger["status"].to_list() == ["quarantined"]
    land(store, "CAB-1/a.jpg", picture(1))
    second = ingest(store, previous=first)
    assert second.select("status", "technician").rows() == [("accepted", "T")]


def test_a_row_whose_file_is_gone_stays(store):
    path = Path(land(store, "CAB-1/a.jpg", picture(1)))
    first = take_in(store)
    path.unlink()
    assert_frame_equal(ingest(store, previous=first), first.ledger)


def test_a_photo_of_an_earlier_day_makes_a_duplicate_and_an_earlier_path_takes_over(store):
    early = land(store, "CAB-1/z.jpg", picture(1), day="2026-10-05")
    land(store, "CAB-1/m.jpg", picture(1))
    late = land(store, "CAB-2/n.jpg", picture(2))
    alone = take_in(store)
    assert alone.ledger["status"].to_list() == ["accepted", "accepted"]

    accepted = ingest(store, day="2026-10-05").filter(pl.col("status") == "accepted")
    store._reads.clear()
    after = take_in(store, previous=alone, earlier=accepted.select("photo_id", "landing_uri"))
    assert after.ledger.select("status", "duplicate_of").rows() == [("duplicate", early), ("accepted", None)]
    assert store._reads == []

    first = land(store, "CAB-1/a.jpg", picture(2))
    outranked = ingest(store, previous=after)
    assert outranked.select("landing_uri", "status", "duplicate_of").row(-1) == (late, "duplicate", first)
    # the earlier day no longer holds it: the photo counts again, with nothing said
    assert row(outranked, "m.jpg")["status"] == "accepted"
    assert row(outranked, "m.jpg")["reason"] is None


def test_a_sidecar_tells_who_when_and_which_visit(store):
    land(store, "CAB-1/a.jpg", picture(1))
    told = {"technician": "T-7", "visit_id": "V-1", "captured_at": "2026-10-06T10:00:00", "note": "n"}
    land(store, "CAB-1/a.jpg.json", json.dumps(told).encode())
    taken = row(ingest(store), "a.jpg")
    assert (taken["technician"], taken["visit_id"]) == ("T-7", "V-1")
    assert taken["captured_at"] == dt.datetime(2026, 10, 6, 8, tzinfo=dt.UTC)


@pytest.mark.parametrize("content", [b"{", b'{"technician": 5}', b" " * 65_537])
def test_an_unusable_sidecar_is_ignored_with_a_note_that_survives_being_a_duplicate(store, content):
    land(store, "CAB-1/a.jpg", picture(1))
    land(store, "CAB-1/a.jpg.json", content)
    alone = take_in(store)
    taken = row(alone.ledger, "a.jpg")
    assert taken["status"] == "accepted"
    assert taken["reason"].startswith("sidecar ignored: ")
    earlier = pl.DataFrame({"photo_id": [taken["photo_id"]], "landing_uri": ["/other.jpg"]})
    as_duplicate = take_in(store, previous=alone, earlier=earlier)
    assert row(as_duplicate.ledger, "a.jpg")["reason"] == f"The same photo as /other.jpg. {taken['reason']}"
    assert_frame_equal(ingest(store, previous=as_duplicate), alone.ledger)


def test_a_day_before_the_start_is_quarantined_unread_and_taken_once_the_start_moves(store):
    land(store, "CAB-1/a.jpg", picture(1))
    before = take_in(store, first_day=dt.date(2026, 10, 7))
    assert before.ledger["status"].to_list() == ["quarantined"]
    assert "2026-10-07" in before.ledger["reason"][0]
    assert store._reads == []
    assert ingest(store, previous=before)["status"].to_list() == ["accepted"]


def test_a_link_out_of_the_landing_zone_is_quarantined_and_its_target_not_stored(store, tmp_path):
    outside = tmp_path / "secret.jpg"
    outside.write_bytes(picture(1))
    link = Path(land(store, "CAB-1/b.jpg", picture(2))).with_name("a.jpg")
    link.symlink_to(outside)
    ledger = ingest(store)
    assert ledger["status"].to_list() == ["quarantined", "accepted"]
    assert "out of the landing zone" in ledger["reason"][0]
    assert not store.has_photo(hashlib.sha256(outside.read_bytes()).hexdigest())


def test_a_store_that_cannot_be_written_fails_the_day_instead_of_quarantining(store):
    land(store, "CAB-1/a.jpg", picture(1))
    Path(store.root).write_text("a file where the store should be")
    with pytest.raises(OSError, match="store"):
        ingest(store)


def test_progress_is_told_after_each_photo_read(store):
    for number in range(4):
        land(store, f"CAB-1/{number}.jpg", picture(number))
    told = []
    ingest(store, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_day_without_landing_has_an_empty_ledger(store):
    assert_frame_equal(ingest(store), pl.DataFrame(schema=RAW_PHOTOS))


def test_an_erased_row_stays_erased(store):
    land(store, "CAB-1/a.jpg", picture(1))
    taken = take_in(store)
    erased = TakenIn(taken.ledger.with_columns(status=pl.lit("erased")), taken.measures)
    assert ingest(store, previous=erased)["status"].to_list() == ["erased"]


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_real_broken_images_are_all_accounted_for(store, tmp_path):
    source = SHARED_DATA / "edge_images"
    if not source.is_dir():
        pytest.skip("../shared/data/edge_images is not there")
    shutil.copytree(source, Path(store.landing) / DAY)
    ledger = ingest(store)
    counts = conservation(ledger)
    assert counts["landed"] == len(pair(store.list_day(DAY))) == sum(counts.values()) - counts["landed"]
    status = {
        str(Path(r["landing_uri"]).relative_to(Path(store.landing) / DAY)): r["status"] for r in ledger.to_dicts()
    }
    assert status["heif/arrow.heic"] == status["sharp/blackbug.png"] == status["pillow/sugarshack.mpo"] == "accepted"
    for broken in ("sharp/truncated.jpg", "sharp/giant-image.jpg", "heif/empty.heic", "pillow/truncated_image.png"):
        assert status[broken] == "quarantined"
    refused = ledger.filter(pl.col("status") == "quarantined")
    assert refused.select(pl.all_horizontal(pl.col("reason", "remedy").str.len_chars() > 10).all()).item()
    assert counts["accepted"] > 100
