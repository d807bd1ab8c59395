import io

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from upload_samples import scene

from mlops_assets.photos.pixels import (
    PAD_GREY,
    STRIDE,
    UnreadableImageError,
    decode_scaled,
    letterbox,
    network_input,
)


def jpeg(image: Image.Image, orientation: int = 1, **options) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif, **options)
    return buffer.getvalue()


def by_opencv(content: bytes, flag: int) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(content, np.uint8), flag)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_comes_upright_as_opencv_turns_it(orientation):
    content = jpeg(scene(5, 333, 200), orientation)
    assert np.array_equal(decode_scaled(content, 640), by_opencv(content, cv2.IMREAD_COLOR))


@pytest.mark.parametrize(
    ("long_side", "flag"),
    [
        (100, cv2.IMREAD_REDUCED_COLOR_8),
        (101, cv2.IMREAD_REDUCED_COLOR_4),
        (400, cv2.IMREAD_REDUCED_COLOR_2),
        (401, cv2.IMREAD_COLOR),
    ],
)
@pytest.mark.parametrize("options", [{"subsampling": 0}, {"subsampling": 2}, {"progressive": True}])
def test_it_is_scaled_while_it_is_decoded_to_the_pixels_that_opencv_gives(long_side, flag, options):
    content = jpeg(scene(6, 801, 603), **options)
    assert np.array_equal(decode_scaled(content, long_side), by_opencv(content, flag))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_inks_are_colours_in_the_end(mode):
    content = jpeg(scene(7, 320, 200).convert(mode))
    decoded = decode_scaled(content, 640)
    assert decoded.shape == (200, 320, 3)
    assert np.abs(decoded.astype(int) - by_opencv(content, cv2.IMREAD_COLOR)).max() == 0


def test_other_formats_and_broken_files():
    buffer = io.BytesIO()
    scene(8, 320, 200).save(buffer, "PNG")
    assert decode_scaled(buffer.getvalue(), 64).shape == (200, 320, 3)
    with pytest.raises(UnreadableImageError):
        decode_scaled(b"no picture", 64)
    with pytest.raises(UnreadableImageError):
        decode_scaled(buffer.getvalue()[:200], 64)
    whole = jpeg(scene(8, 320, 200))
    stray = whole[:-2] + bytes(8) + whole[-2:]  # which simplejpeg refuses
    assert np.array_equal(decode_scaled(stray, 640), decode_scaled(whole, 640))


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([64, 96, 160]), st.booleans())
def test_the_networks_input_holds_the_whole_photo_and_little_else(width, height, size, square):
    canvas, placed = letterbox(np.zeros((height, width, 3), np.uint8), size, square=square)
    rows, columns = canvas.shape[:2]
    assert max(rows, columns) == size
    assert rows % STRIDE == columns % STRIDE == 0
    dark = np.argwhere((canvas < PAD_GREY).all(axis=2))
    (top, left), (bottom, right) = dark.min(axis=0), dark.max(axis=0) + 1
    assert (placed.top, placed.left) == (top, left)
    assert max(bottom - top, right - left) == size
    if square:
        assert rows == columns == size
    else:
        assert rows - (bottom - top) < STRIDE
        assert columns - (right - left) < STRIDE
    corners = np.array([[left, top, right, bottom]], np.float32)
    assert np.allclose(placed.to_relative(corners), [[0.5, 0.5, 1, 1]], atol=1 / min(bottom - top, right - left))


def test_the_input_is_rgb_from_0_to_1():
    tensor, placed = network_input(jpeg(Image.new("RGB", (128, 96), (255, 128, 0)), quality=100), 64)
    assert tensor.shape == (3, 64, 64)
    assert (placed.top, placed.left) == (8, 0)
    assert np.allclose(tensor[:, 32, 32], [1.0, 0.5, 0.0], atol=0.02)
    assert np.allclose(tensor[:, 0, 0], PAD_GREY / 255)
