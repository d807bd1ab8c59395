import datetime as dt

import polars as pl
import pytest
from photo_copies import jpeg, resized, textured
from test_cleaning import clean as clean_photos
from upload_samples import NO_LEDGER, counting_store, ingest, land

from mlops_assets.photos.candidates import all_of, comparable
from mlops_assets.photos.checks import CHECKS, landed_with_reuse
from mlops_assets.photos.reuse import REUSED_PHOTOS, reused_photos
from mlops_assets.table_checks import CheckInputs
from mlops_assets.tables import SCHEMAS
from mlops_assets.use_case import UseCase
from resources.expectations import to_check_result, validate
from resources.tables import Tables

FIRST, SECOND = "2026-10-06", "2026-10-07"
SIDECAR = b'{"technician": "ann"}'


@pytest.fixture
def store(tmp_path):
    return counting_store(tmp_path)


def two_days(store) -> tuple[dict[str, pl.DataFrame], dict[str, pl.DataFrame]]:
    shot, other = textured(1), textured(2)
    land(store, "CAB-1/a.jpg", jpeg(shot), FIRST)
    land(store, "CAB-1/b.jpg", jpeg(other), FIRST)
    land(store, "CAB-1/b again.jpg", jpeg(other), FIRST)
    land(store, "CAB-2/a.jpg", jpeg(shot), SECOND)
    land(store, "CAB-2/a.jpg.json", SIDECAR, SECOND)
    land(store, "CAB-3/b.jpg", jpeg(resized(other, 0.6)), SECOND)
    land(store, "CAB-3/b.jpg.json", SIDECAR, SECOND)
    land(store, "CAB-3/c.jpg", jpeg(textured(3)), SECOND)
    raw, clean = {}, {}
    for day in (FIRST, SECOND):
        earlier = pl.concat([NO_LEDGER, *raw.values()]).filter(pl.col("status") == "accepted")
        raw[day] = ingest(store, day=day, earlier=earlier)
        before = all_of({other: comparable(clean[other], raw[other]) for other in clean})
        clean[day] = clean_photos(store, raw[day], day=day, earlier=before)
    return raw, clean


def test_photos_of_another_enclosure_are_told_with_where_they_were_first(store):
    raw, clean = two_days(store)
    found = reused_photos(raw, clean)
    assert found.schema == REUSED_PHOTOS
    shot, other = raw[FIRST].filter(pl.col("status") == "accepted")["photo_id"]
    columns = ["day", "enclosure_id", "technician", "reused_from", "first_photo_id", "match"]
    assert found.select(columns).rows() == [
        (SECOND, "CAB-2", "ann", "CAB-1", shot, "exact"),
        (SECOND, "CAB-3", "ann", "CAB-1", other, "near"),
    ]
    assert [uri.rsplit("/", 2)[-2:] for uri in found["first_uri"]] == [["CAB-1", "a.jpg"], ["CAB-1", "b again.jpg"]]
    alone = reused_photos({SECOND: raw[SECOND]}, {SECOND: clean[SECOND]})
    assert alone.drop("first_uri").rows() == found.drop("first_uri").rows()
    assert alone["first_uri"].to_list() == [found["first_uri"][0], None]
    assert reused_photos({}, {}).schema == REUSED_PHOTOS


def test_the_check_warns_of_them_and_stops_nothing(store, tmp_path):
    raw, clean = two_days(store)
    tables = Tables(root=str(tmp_path))
    (check,) = [check for check in CHECKS if check.suite.name == "no_photo_reused"]
    assert not check.blocking
    for day, wrong in ((FIRST, 0), (SECOND, 2)):
        tables.write(f"raw_photos/{day}", raw[day], SCHEMAS["raw_photos"])
        case = UseCase(name="cabinets", title="Cabinets", start=dt.date(2026, 10, 1))
        inputs = CheckInputs(clean[day], tables, store, day, SCHEMAS, case)
        result = to_check_result(validate(landed_with_reuse(inputs), check.suite))
        assert result.passed is (wrong == 0)
        assert result.metadata["unexpected"].value == wrong
        if wrong:
            assert result.severity.name == "WARN"
