"""Whatever bytes, sidecars and names are landed, every file gets a row and nothing else happens."""

import io
import json
import os
import tempfile
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from upload_samples import DAY, counting_store, land, picture, take_in

from mlops_assets.photos.examination import examine
from mlops_assets.photos.intake import conservation
from mlops_assets.photos.landing import SidecarError, pair, parse_sidecar
from mlops_assets.photos.quarantine import QuarantineError
from mlops_assets.photos.schema import STATUSES
from mlops_assets.use_case import IntakeRules

UTC = ZoneInfo("UTC")
KINDS = {fmt: picture(3, fmt, size=(96, 64)) for fmt in ("JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF")}
PROGRESSIVE = picture(3, "JPEG", size=(96, 64), progressive=True)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


def or_refused(error, work):
    """What came of it, or the error; any other error is a crash."""
    try:
        return work()
    except error as refused:
        return refused


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A small picture with bytes changed, left out, doubled, or cut off."""
    content = bytearray(draw(st.sampled_from([*KINDS.values(), PROGRESSIVE])))
    for _ in range(draw(st.integers(1, 6))):
        where = draw(st.integers(0, max(0, len(content) - 1)))
        how = draw(st.sampled_from(["set", "drop", "insert", "cut"]))
        if how == "set" and content:
            content[where] = draw(st.integers(0, 255))
        elif how == "drop":
            del content[where : where + draw(st.integers(1, 40))]
        elif how == "insert":
            content[where:where] = draw(st.binary(max_size=40))
        else:
            del content[max(1, where) :]
    return bytes(content)


@settings(max_examples=150, deadline=None)
@given(st.one_of(damaged(), st.binary(max_size=300)))
def test_any_bytes_are_a_whole_photo_or_refused_in_words(content):
    rules = IntakeRules(max_pixels=1_000_000)
    examined = or_refused(QuarantineError, lambda: examine(content, rules, UTC))
    if isinstance(examined, QuarantineError):
        assert examined.reason.encode()  # a table can hold it
        assert examined.remedy.encode()
        return
    with Image.open(io.BytesIO(examined.photo)) as photo:
        photo.load()
        assert photo.mode == "RGB"
        # As uploaded, but for what is scaled down: damage may lie in the numbers that say how large a picture is.
        uploaded = examined.facts.width, examined.facts.height
        scale = min(1.0, rules.normalised_long_side / max(uploaded))
        assert photo.size == tuple(max(1, round(side * scale)) for side in uploaded)


_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=20),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=12), children, max_size=3),
    max_leaves=8,
)
_fields = st.dictionaries(st.sampled_from(["technician", "visit_id", "captured_at", "note", "../x"]), _json, max_size=4)


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=200), _fields.map(lambda value: json.dumps(value).encode())))
def test_any_sidecar_is_read_or_refused_in_words(content):
    sidecar = or_refused(SidecarError, lambda: parse_sidecar(content, UTC))
    if isinstance(sidecar, SidecarError):
        assert str(sidecar).encode()
        return
    assert sidecar.captured_at is None or sidecar.captured_at.utcoffset().total_seconds() == 0


# A name is any bytes but a slash and zero; it is none of "." and "..".
_names = st.binary(min_size=1, max_size=40).filter(lambda name: not set(name) & {0, 47} and name not in (b".", b".."))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(folder=_names, names=st.lists(_names, min_size=1, max_size=4, unique=True), sidecar=st.binary(max_size=60))
def test_any_names_are_all_in_the_ledger(folder, names, sidecar):
    with tempfile.TemporaryDirectory() as home:
        store = counting_store(Path(home))
        land(store, "CAB-1/good.jpg", KINDS["JPEG"])
        day = os.fsencode(Path(store.landing) / DAY)
        (Path(os.fsdecode(day)) / os.fsdecode(folder)).mkdir(exist_ok=True)
        for name in names:
            target = os.path.join(day, folder, name)  # noqa: PTH118 pathlib has no bytes
            for path, content in ((target, KINDS["PNG"] + name), (target + b".json", sidecar)):
                Path(os.fsdecode(path)).write_bytes(content)
        taken = take_in(store)
        counts = conservation(taken.ledger)
        assert counts["landed"] == len(pair(store.list_day(DAY))) == sum(counts[status] for status in STATUSES)
        again = take_in(store, previous=taken)
        assert again.ledger.equals(taken.ledger)
        refused = taken.ledger.filter(pl.col("status") == "quarantined")
        assert refused.filter(pl.col("reason").is_null() | pl.col("remedy").is_null()).is_empty()
