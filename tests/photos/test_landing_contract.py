import datetime as dt
import json
import string
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.photos.landing import MAX_SIDECAR_BYTES, SidecarError, changed_uris, pair, parse_sidecar, place
from mlops_assets.photos.quarantine import QuarantineError
from resources.landed_file import LandedFile

BUDAPEST = ZoneInfo("Europe/Budapest")
NAMES = st.text(string.ascii_letters + string.digits + "-_ áű", min_size=1, max_size=12).filter(str.strip)


def listed(path: str, etag: str = "e") -> LandedFile:
    return LandedFile(f"/landing/d/{path}", path, etag, dt.datetime(2026, 10, 6, tzinfo=dt.UTC), 10)


@given(st.lists(st.text("ab./", min_size=1, max_size=4).map(lambda s: s + ".jpg"), unique=True), st.data())
def test_every_listed_file_is_a_photo_a_sidecar_or_an_orphan_exactly_once(photos, data):
    sidecars = data.draw(st.sets(st.sampled_from([*photos, "x.jpg"]), max_size=5))
    files = [listed(path) for path in [*photos, *(f"{path}.json" for path in sorted(sidecars))]]
    entries = pair(files)
    seen = [entry.file for entry in entries] + [entry.sidecar for entry in entries if entry.sidecar]
    assert sorted(file.uri for file in seen) == sorted(file.uri for file in files)
    assert {e.file.relative_path for e in entries if e.is_orphan_sidecar} == {
        f"{path}.json" for path in sidecars - set(photos)
    }


def test_a_second_sidecar_that_differs_in_case_alone_is_an_orphan():
    entries = pair([listed("C/a.jpg"), listed("C/a.jpg.json"), listed("C/a.jpg.JSON")])
    assert [(e.file.relative_path, e.is_orphan_sidecar) for e in entries] == [
        ("C/a.jpg", False),
        ("C/a.jpg.json", True),
    ]


@given(NAMES, NAMES)
def test_a_well_formed_path_gives_enclosure_and_file(enclosure, file):
    where = place(f"{enclosure}/{file}")
    assert (where.enclosure_id, where.file) == (enclosure.strip(), file)


@given(st.text())
def test_any_path_is_placed_or_refused_with_a_remedy(path):
    try:
        where = place(path)
    except QuarantineError as error:
        refused = error
    else:
        assert where.enclosure_id.isprintable()
        assert path.count("/") == 1
        return
    assert refused.reason.endswith(".")
    assert refused.remedy.endswith(".")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("IMG.jpg", "enclosure is not known"),
        ("CAB-1/inner/IMG.jpg", "2 folders deep"),
        (".trash/IMG.jpg", "no enclosure id"),
        ("CAB\n1/IMG.jpg", "no enclosure id"),
        ("CAB-1/\\udcff.jpg", "UTF-8"),
    ],
)
def test_a_path_of_another_form_is_refused_with_its_reason(path, said):
    with pytest.raises(QuarantineError, match=said):
        place(path)


def test_an_accent_written_apart_gives_the_same_enclosure():
    assert place("cafe\u0301/a.jpg") == place("caf\u00e9/a.jpg")


@pytest.mark.parametrize(
    ("written", "utc"),
    [
        ("2026-10-06T10:00:00", "2026-10-06T08:00:00+00:00"),  # local summer time
        ("2026-12-06T10:00:00", "2026-12-06T09:00:00+00:00"),
        ("2026-10-06T10:00:00-05:00", "2026-10-06T15:00:00+00:00"),
    ],
)
def test_sidecar_times_become_utc(written, utc):
    assert parse_sidecar(json.dumps({"captured_at": written}).encode(), BUDAPEST).captured_at.isoformat() == utc


def test_sidecar_fields_are_read_and_blank_ones_are_none():
    content = b'\xef\xbb\xbf{"technician": " T-1 ", "visit_id": " ", "note": "wet", "app": 3}'
    sidecar = parse_sidecar(content, BUDAPEST)
    assert (sidecar.technician, sidecar.visit_id, sidecar.note) == ("T-1", None, "wet")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "file: Invalid JSON"),
        (b"", "file: Invalid JSON"),
        (b"[1]", "file:"),
        (b"\xff\xfe{}", "file: Invalid JSON"),
        (b'{"technician": 7}', "technician:"),
        (b'{"captured_at": "yesterday"}', "captured_at:"),
        (b'{"captured_at": "0001-01-01T00:00:00+14:00"}', "no plausible year"),
        (b'{"technician": "\\ud800"}', "file: Invalid JSON"),
        (b"[" * 60_000, "file: Invalid JSON"),
        (b" " * MAX_SIDECAR_BYTES + b"{}", "larger than 64 KiB"),
    ],
)
def test_an_unusable_sidecar_is_refused_with_its_reason(content, said):
    with pytest.raises(SidecarError, match=said):
        parse_sidecar(content, BUDAPEST)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_sidecar_or_refused(content):
    try:
        sidecar = parse_sidecar(content, BUDAPEST)
    except SidecarError as error:
        said = str(error)
    else:
        said = repr(sidecar)
    assert said.encode("utf-8")


@given(st.datetimes(timezones=st.none() | st.timezones()))
def test_any_time_in_a_sidecar_is_utc_or_refused(moment):
    try:
        captured_at = parse_sidecar(json.dumps({"captured_at": moment.isoformat()}).encode(), BUDAPEST).captured_at
    except SidecarError:
        return
    assert captured_at.tzinfo is dt.UTC


def test_changed_uris_names_new_files_and_those_whose_photo_or_sidecar_changed():
    before = [listed("C/a.jpg"), listed("C/b.jpg"), listed("C/b.jpg.json")]
    ledger = pl.DataFrame([{"landing_uri": entry.file.uri, "etag": entry.etag} for entry in pair(before)])
    assert changed_uris(before, ledger) == []
    after = [listed("C/a.jpg", "new"), listed("C/b.jpg"), listed("C/b.jpg.json", "new"), listed("C/c.jpg")]
    assert changed_uris(after, ledger) == [f"/landing/d/C/{name}.jpg" for name in "abc"]
