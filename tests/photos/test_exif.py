import datetime as dt
import io
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from mlops_assets.photos.exif import ExifFacts, read_exif
from mlops_assets.photos.pictures import inspect

BUDAPEST = ZoneInfo("Europe/Budapest")


def with_exif(main=None, exif=None, gps=None) -> Image.Image:
    tags = Image.Exif()
    tags.update(main or {})
    tags.get_ifd(0x8769).update(exif or {})
    tags.get_ifd(0x8825).update(gps or {})
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30)).save(buffer, "JPEG", exif=tags)
    return Image.open(buffer)


def test_a_picture_without_exif_tells_nothing():
    assert read_exif(with_exif(), BUDAPEST) == ExifFacts()


@pytest.mark.parametrize(
    ("tags", "utc"),
    [
        ({0x9003: "2026:10:06 10:00:00"}, dt.datetime(2026, 10, 6, 8, tzinfo=dt.UTC)),
        ({0x9003: "2026:10:06 10:00:00", 0x9011: "+05:30"}, dt.datetime(2026, 10, 6, 4, 30, tzinfo=dt.UTC)),
        ({0x9003: "2026:10:06 10:00:00", 0x9011: "   :  "}, dt.datetime(2026, 10, 6, 8, tzinfo=dt.UTC)),
        ({0x9003: "0000:00:00 00:00:00"}, None),
        ({0x9003: "1970:01:01 00:00:00"}, None),
    ],
)
def test_capture_time_is_utc_and_local_without_an_offset(tags, utc):
    assert read_exif(with_exif(exif=tags), BUDAPEST).captured_at == utc


@pytest.mark.parametrize(
    ("make", "model", "camera"),
    [
        ("Apple", "iPhone 15", "Apple iPhone 15"),
        ("Canon", "Canon IXUS\0\0", "Canon IXUS"),
        ("HTC", "", "HTC"),
        ("", "", None),
    ],
)
def test_camera_is_make_and_model_without_repetition(make, model, camera):
    assert read_exif(with_exif({0x010F: make, 0x0110: model}), BUDAPEST).camera == camera


@pytest.mark.parametrize(
    ("gps", "position"),
    [
        ({1: "N", 2: (47.0, 30.0, 0.0), 3: "E", 4: (19.0, 3.0, 0.0)}, (47.5, 19.05)),
        ({1: "S", 2: (33.0, 30.0, 36.0), 3: "W", 4: (70.0, 0.0, 0.0)}, (-33.51, -70.0)),
        ({2: (47.0, 30.0, 0.0), 4: (19.0, 3.0, 0.0)}, (None, None)),
        ({1: "N", 2: (91.0, 0.0, 0.0), 3: "E", 4: (19.0, 3.0, 0.0)}, (None, None)),
        ({1: "N", 2: (IFDRational(0, 0),) * 3, 3: "E", 4: (IFDRational(0, 0),) * 3}, (None, None)),
    ],
)
def test_position_is_in_decimal_degrees_or_left_out_when_it_makes_no_sense(gps, position):
    facts = read_exif(with_exif(gps=gps), BUDAPEST)
    assert (facts.latitude, facts.longitude) == (pytest.approx(position[0]), pytest.approx(position[1]))


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_an_orientation_out_of_range_counts_as_upright(orientation):
    assert read_exif(with_exif({0x0112: orientation}), BUDAPEST).orientation == 1


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=120), st.integers(0, 60))
def test_damaged_exif_never_fails_the_picture(noise, at):
    tags = Image.Exif()
    tags.update({0x0110: "Camera", 0x0112: 6})
    tags.get_ifd(0x8769)[0x9003] = "2026:10:06 10:00:00"
    block = tags.tobytes()
    broken = block[: 6 + at] + noise + block[6 + at + len(noise) :]
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30)).save(buffer, "JPEG", exif=broken)
    facts = inspect(buffer.getvalue(), max_pixels=10_000, zone=BUDAPEST)
    assert {facts.width, facts.height} == {40, 30}
