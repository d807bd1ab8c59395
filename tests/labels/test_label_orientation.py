"""A photo that is stored turned ends with its box where the object is, whichever pixels the export speaks of."""

import io
import json

import numpy as np
import polars as pl
import pytest
from label_samples import coco_text, photo_rows, put, read_drop
from PIL import Image, ImageOps

from mlops_assets.labels.orientation import is_sideways, stored_orientations, turned_upright

LANDSCAPE, SQUARE = (96, 64), (64, 64)


def stored_photo(size, orientation):
    """JPEG of a red rectangle on black, and the rectangle in stored pixels: left, top, width, height."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[8:24, 40:48] = (255, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", quality=95, exif=exif)
    return content.getvalue(), (40, 8, 8, 16)


def upright(content):
    return ImageOps.exif_transpose(Image.open(io.BytesIO(content)))


def red_box(image):
    rows, columns = np.nonzero(np.asarray(image)[:, :, 0] > 128)
    left, top, right, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return int(left), int(top), int(right - left), int(bottom - top)


def import_one(tmp_path, content, label_size, bbox, known=True):
    photo = upright(content)
    photos = photo_rows("E/p.jpg", width=photo.width, height=photo.height)
    put(tmp_path / "a.json", coco_text(["E/p.jpg"], [(1, 0, *bbox)], width=label_size[0], height=label_size[1]))
    look_up = stored_orientations(photos, lambda photo_id, extension: content) if known else None
    return read_drop(tmp_path, photos, orientations=look_up), photo


def box_of(result, photo):
    x, y, width, height = result.annotations.select("box_x", "box_y", "box_w", "box_h").row(0)
    return ((x - width / 2) * photo.width, (y - height / 2) * photo.height, width * photo.width, height * photo.height)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_labels_on_upright_pixels_are_where_the_object_is(tmp_path, orientation):
    content, _ = stored_photo(LANDSCAPE, orientation)
    shown = upright(content)
    result, photo = import_one(tmp_path, content, shown.size, red_box(shown))
    assert box_of(result, photo) == pytest.approx(red_box(shown))
    assert result.summary["turned_upright"] == 0


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_labels_on_stored_pixels_are_turned_as_the_photo_is(tmp_path, orientation):
    content, bbox = stored_photo(LANDSCAPE, orientation)
    result, photo = import_one(tmp_path, content, LANDSCAPE, bbox)
    assert photo.size == (64, 96)
    assert box_of(result, photo) == pytest.approx(red_box(photo), abs=1)
    assert (result.summary["turned_upright"], result.quarantine.height) == (1, 0)


def test_of_a_scaled_copy_too(tmp_path):
    content, bbox = stored_photo(LANDSCAPE, 6)
    result, photo = import_one(tmp_path, content, (960, 640), [10 * side for side in bbox])
    assert box_of(result, photo) == pytest.approx(red_box(photo), abs=1)


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_where_sizes_cannot_tell_labels_are_taken_as_drawn_on_the_upright_photo(tmp_path, orientation):
    content, bbox = stored_photo(LANDSCAPE, orientation)
    result, photo = import_one(tmp_path, content, LANDSCAPE, bbox)
    assert box_of(result, photo) == pytest.approx(bbox)
    assert result.summary["turned_upright"] == 0


def test_a_square_photo_is_taken_as_labelled_upright(tmp_path):
    content, bbox = stored_photo(SQUARE, 6)
    result, photo = import_one(tmp_path, content, SQUARE, bbox)
    assert box_of(result, photo) == pytest.approx(bbox)


def test_a_format_without_size_is_taken_as_labelled_upright(tmp_path):
    content, _ = stored_photo(LANDSCAPE, 6)
    photo = upright(content)
    put(tmp_path / "set" / "classes.txt", "device")
    put(tmp_path / "set" / "E" / "p.txt", "0 0.5 0.25 0.1 0.2")
    result = read_drop(tmp_path, photo_rows("E/p.jpg", width=photo.width, height=photo.height))
    assert result.annotations.select("box_x", "box_y", "box_w", "box_h").row(0) == pytest.approx((0.5, 0.25, 0.1, 0.2))


@pytest.mark.parametrize(("orientation", "known"), [(6, False), (1, True)])
def test_sideways_labels_that_the_photo_does_not_explain_are_quarantined(tmp_path, orientation, known):
    content, bbox = stored_photo(LANDSCAPE, orientation)
    sideways = upright(content).size[::-1]
    result, _ = import_one(tmp_path, content, sideways, bbox, known)
    assert result.annotations.is_empty()
    assert "labelled sideways" in result.quarantine["reason"][0]


def test_an_original_that_is_gone_is_no_reason_to_stop(tmp_path):
    def gone(photo_id, extension):
        raise FileNotFoundError(photo_id)

    photos = photo_rows("E/p.jpg", width=64, height=96)
    put(tmp_path / "a.json", coco_text(["E/p.jpg"], [(1, 0, 1, 1, 5, 5)], width=96, height=64))
    result = read_drop(tmp_path, photos, orientations=stored_orientations(photos, gone))
    assert result.quarantine.height == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_are_turned_as_pillow_turns_the_picture(orientation):
    content, (left, top, width, height) = stored_photo(LANDSCAPE, orientation)
    across, down = LANDSCAPE
    box = {
        "box_x": (left + width / 2) / across,
        "box_y": (top + height / 2) / down,
        "box_w": width / across,
        "box_h": height / down,
        "orientation": orientation,
    }
    turned = turned_upright(pl.DataFrame([box])).row(0, named=True)
    photo = upright(content)
    found = (
        (turned["box_x"] - turned["box_w"] / 2) * photo.width,
        (turned["box_y"] - turned["box_h"] / 2) * photo.height,
        turned["box_w"] * photo.width,
        turned["box_h"] * photo.height,
    )
    assert found == pytest.approx(red_box(photo), abs=1)


@pytest.mark.parametrize(
    ("label", "photo", "sideways"),
    [
        ((960, 1280), (1280, 960), True),
        ((1280, 960), (1280, 960), False),
        ((320, 240), (1280, 960), False),
        ((240, 320), (1280, 960), True),
        ((640, 640), (1280, 960), False),
        ((500, 500), (900, 900), False),
        ((1000, 1004), (1004, 1000), True),
        ((1000, 1005), (1004, 1000), False),
        ((None, None), (1280, 960), False),
        ((960, 1280), (None, None), False),
    ],
)
def test_sideways_labels_are_told_by_their_size(label, photo, sideways):
    row = dict(zip(("lw", "lh", "w", "h"), (*label, *photo), strict=True))
    frame = pl.DataFrame([row], schema=dict.fromkeys(row, pl.Float64()))
    assert frame.select(is_sideways(("lw", "lh"), ("w", "h"))).item() is sideways


def test_the_size_may_stand_in_any_format(tmp_path):
    content, (left, top, width, height) = stored_photo(LANDSCAPE, 8)
    photo = upright(content)
    photos = photo_rows("E/p.jpg", width=photo.width, height=photo.height)
    corners = f"<xmin>{left}</xmin><ymin>{top}</ymin><xmax>{left + width}</xmax><ymax>{top + height}</ymax>"
    voc = (
        "<annotation><folder>E</folder><filename>p.jpg</filename><size><width>96</width><height>64</height></size>"
        f"<object><name>device</name><bndbox>{corners}</bndbox></object></annotation>"
    )
    cvat = (
        "<annotations><image name='E/p.jpg' width='96' height='64'><box label='device' "
        f"xtl='{left}' ytl='{top}' xbr='{left + width}' ybr='{top + height}'/></image></annotations>"
    )
    value = {"x": left / 0.96, "y": top / 0.64, "width": width / 0.96, "height": height / 0.64}
    region = {"type": "rectanglelabels", "value": value | {"rectanglelabels": ["device"]}}
    region |= {"original_width": 96, "original_height": 64}
    studio = json.dumps([{"data": {"image": "E/p.jpg"}, "annotations": [{"result": [region]}]}])
    for name, text in (("a.xml", voc), ("b.xml", cvat), ("c.json", studio)):
        put(tmp_path / name[0] / name, text)
        result = read_drop(tmp_path / name[0], photos, orientations=stored_orientations(photos, lambda *_: content))
        assert box_of(result, photo) == pytest.approx(red_box(photo), abs=1)
