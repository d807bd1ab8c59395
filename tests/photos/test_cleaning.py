import io

import polars as pl
import pytest
from photo_copies import brightened, cropped, jpeg, textured
from PIL import ImageFilter
from polars.testing import assert_frame_equal
from upload_samples import DAY, NO_MEASURES, counting_store, ingest, land, picture, scene, take_in

from mlops_assets.photos.candidates import all_of, comparable
from mlops_assets.photos.cleaning import clean_day
from mlops_assets.photos.schema import CLEAN_PHOTOS
from mlops_assets.use_case import IntakeRules, QualityRules

NOTHING = pl.DataFrame(schema=CLEAN_PHOTOS)
NOBODY = all_of({})


@pytest.fixture
def store(tmp_path):
    return counting_store(tmp_path)


def clean(store, ledger, *, day=DAY, measured=NO_MEASURES, previous=NOTHING, earlier=NOBODY, rules=None, **options):
    return clean_day(
        store,
        day,
        ledger,
        measured=measured,
        previous=previous,
        earlier=earlier,
        rules=rules or QualityRules(),
        intake_rules=IntakeRules(),
        **options,
    )


def blurred(seed: int) -> bytes:
    buffer = io.BytesIO()
    scene(seed).filter(ImageFilter.GaussianBlur(14)).save(buffer, "JPEG")
    return buffer.getvalue()


def test_each_accepted_photo_has_one_row_in_landing_order_and_others_none(store):
    land(store, "CAB-1/a.jpg", picture(1))
    land(store, "CAB-1/b.jpg", picture(1))
    land(store, "CAB-1/c.jpg", blurred(2))
    land(store, "CAB-1/d.jpg", b"bad")
    ledger = ingest(store)
    cleaned = clean(store, ledger)
    assert cleaned.schema == CLEAN_PHOTOS
    assert cleaned["photo_id"].to_list() == ledger.filter(pl.col("status") == "accepted")["photo_id"].to_list()
    assert cleaned["verdict"].to_list() == ["usable", "rejected"]
    assert cleaned["reason"][1].startswith("blurred")
    assert cleaned["uri"].to_list() == [store.photo_uri(photo_id) for photo_id in cleaned["photo_id"]]


def test_a_rerun_reads_nothing_and_a_changed_threshold_changes_the_verdict_without_reading(store):
    land(store, "CAB-1/a.jpg", picture(1))
    ledger = ingest(store)
    told = []
    first = clean(store, ledger, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 1)]
    store._reads.clear()
    assert_frame_equal(clean(store, ledger, previous=first), first)
    strict = clean(store, ledger, previous=first, rules=QualityRules(min_sharpness=1e6))
    assert strict["verdict"].to_list() == ["rejected"]
    assert store._reads == []


def test_what_intake_has_measured_is_not_read_again_and_is_the_same_to_the_last_digit(store):
    land(store, "CAB-1/a.jpg", picture(1, size=(3000, 2000)))
    land(store, "CAB-1/b.png", picture(2, "PNG"))
    taken = take_in(store)
    store._reads.clear()
    cleaned = clean(store, taken.ledger, measured=taken.measures)
    assert store._reads == []
    assert_frame_equal(clean(store, taken.ledger), cleaned)
    assert sorted(store._reads) == sorted(taken.ledger["photo_id"])
    store._reads.clear()
    other = taken.measures.with_columns(examined_by=pl.lit("other code"))
    assert_frame_equal(clean(store, taken.ledger, measured=other), cleaned)
    assert sorted(store._reads) == sorted(taken.ledger["photo_id"])


def test_near_duplicates_are_found_within_the_day_and_on_earlier_days(store):
    land(store, "CAB-1/a.jpg", jpeg(textured(1)))
    land(store, "CAB-1/b.jpg", jpeg(brightened(textured(1), 1.05), 70))
    land(store, "CAB-2/c.jpg", jpeg(textured(1), 60))
    ledger = ingest(store)
    cleaned = clean(store, ledger)
    first = cleaned["photo_id"][0]
    assert cleaned["near_duplicate_of"].to_list() == [None, first, first]
    assert cleaned["reused_from"].to_list() == [None, None, "CAB-1"]
    before = "2026-10-05"
    land(store, "CAB-2/old.jpg", jpeg(cropped(textured(1), 0.04)), before)
    old_ledger = ingest(store, day=before)
    old = clean(store, old_ledger, day=before)
    earlier = all_of({before: comparable(old, old_ledger)})
    again = clean(store, ledger, previous=cleaned, earlier=earlier)
    assert again["near_duplicate_of"].to_list() == [old["photo_id"][0]] * 3
    assert again["reused_from"].to_list() == ["CAB-2", "CAB-2", None]


def test_a_day_without_accepted_photos_gives_an_empty_table(store):
    assert_frame_equal(clean(store, ingest(store)), NOTHING)


def test_a_photo_missing_from_the_store_is_an_error_with_a_remedy(store, tmp_path):
    land(store, "CAB-1/a.jpg", picture(1))
    ledger = ingest(store)
    (tmp_path / "empty").mkdir()
    other = type(store)(landing=store.landing, root=str(tmp_path / "empty"))
    with pytest.raises(FileNotFoundError, match="remove its day's file in tables/photo_measures"):
        clean(other, ledger)
