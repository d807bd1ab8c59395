import io

import polars as pl
import pytest
from test_cleaning import blurred, clean
from upload_samples import DAY, counting_store, ingest, land, picture

from mlops_assets.photos.retakes import as_csv, retakes, retakes_by
from mlops_assets.photos.schema import RETAKES


@pytest.fixture
def day(tmp_path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """CAB-1: two good, one blurred, one broken; CAB-2: blurred alone, by nobody known; a loose file."""
    store = counting_store(tmp_path)
    for name, content in {"a": picture(1), "b": picture(2), "c": blurred(3), "d": b"bad"}.items():
        land(store, f"CAB-1/{name}.jpg", content)
        land(store, f"CAB-1/{name}.jpg.json", b'{"technician": "=cmd()"}')
    land(store, "CAB-2/e.jpg", blurred(4))
    land(store, "loose.jpg", picture(5))
    ledger = ingest(store)
    return ledger, clean(store, ledger)


def test_each_photo_to_take_again_has_who_where_why_and_what_to_do(day):
    report = retakes(*day)
    assert report.schema == RETAKES
    assert report.select("technician", "enclosure_id", "visit_id", "file").rows() == [
        (None, "CAB-2", f"CAB-2/{DAY}", "e.jpg"),
        ("=cmd()", "CAB-1", f"CAB-1/{DAY}", "c.jpg"),
        ("=cmd()", "CAB-1", f"CAB-1/{DAY}", "d.jpg"),
    ]
    assert [reason.split(":")[0] for reason in report["reason"][:2]] == ["blurred", "blurred"]
    assert "no picture" in report["reason"][2]
    assert report["advice"].str.len_chars().min() > 10


def test_enclosures_without_a_usable_photo_come_first(day):
    assert retakes_by("enclosure_id", *day).select("enclosure_id", "usable", "to_retake").rows() == [
        ("CAB-2", 0, 1),
        ("CAB-1", 2, 2),
    ]
    assert retakes_by("technician", *day).select("technician", "usable", "to_retake").rows() == [
        (None, 0, 1),
        ("=cmd()", 2, 2),
    ]
    assert retakes_by("enclosure_id", *day)["most_often"][0] == "blurred"


def test_the_file_for_spreadsheets_runs_no_formula(day):
    content = as_csv(retakes(*day))
    assert content.startswith(b"\xef\xbb\xbf")
    back = pl.read_csv(io.BytesIO(content))
    assert back["technician"].to_list() == [None, "'=cmd()", "'=cmd()"]
    assert back.columns == RETAKES.names()


def test_a_day_without_photos_has_an_empty_report(tmp_path):
    store = counting_store(tmp_path)
    ledger = ingest(store)
    assert retakes(ledger, clean(store, ledger)).is_empty()
    assert retakes_by("technician", ledger, clean(store, ledger)).is_empty()
