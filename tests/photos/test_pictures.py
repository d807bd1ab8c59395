import io
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from PIL import Image, ImageCms
from upload_samples import SHARED_DATA, picture, scene

from mlops_assets.photos.examination import examine
from mlops_assets.photos.pictures import inspect
from mlops_assets.photos.quarantine import QuarantineError
from mlops_assets.use_case import IntakeRules

BUDAPEST = ZoneInfo("Europe/Budapest")

# stored pixels = these transpositions of the upright picture, so that applying the tag gives it back
STORED_AS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def look(content: bytes, max_pixels: int = 10_000_000):
    return inspect(content, max_pixels=max_pixels, zone=BUDAPEST)


def normalise(content: bytes, long_side: int = 1280) -> bytes:
    return examine(content, IntakeRules(normalised_long_side=long_side), BUDAPEST).photo


def normalised(content: bytes, long_side: int = 1280) -> Image.Image:
    return Image.open(io.BytesIO(normalise(content, long_side)))


def encoded(image: Image.Image, fmt: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, fmt, **options)
    return buffer.getvalue()


def difference(image: Image.Image, wanted: Image.Image) -> float:
    return float(np.abs(np.asarray(image.convert("RGB"), float) - np.asarray(wanted.convert("RGB"), float)).mean())


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_comes_out_upright(fmt, orientation):
    upright = scene(3, 320, 200)
    stored = upright if STORED_AS[orientation] is None else upright.transpose(STORED_AS[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(stored, fmt, exif=exif)
    facts = look(content)
    result = normalised(content)
    assert (facts.width, facts.height) == result.size == (320, 200)
    assert difference(result, upright) < 6


@pytest.mark.parametrize(
    ("fmt", "name"),
    [("JPEG", "JPEG"), ("PNG", "PNG"), ("WEBP", "WEBP"), ("TIFF", "TIFF"), ("AVIF", "AVIF"), ("HEIF", "HEIC")],
)
def test_each_format_is_recognised_by_its_content_and_keeps_its_picture(fmt, name):
    content = picture(5, fmt)
    assert look(content).format == name
    assert difference(normalised(content), scene(5)) < 6


def test_of_an_mpo_the_first_picture_is_the_photo():
    content = encoded(scene(1), "MPO", save_all=True, append_images=[scene(2)])
    assert look(content).format == "MPO"
    assert difference(normalised(content), scene(1)) < 6


@pytest.mark.parametrize("fmt", ["PNG", "WEBP", "TIFF"])
def test_animations_and_pages_are_refused(fmt):
    content = encoded(scene(1), fmt, save_all=True, append_images=[scene(2)])
    with pytest.raises(QuarantineError, match="holds 2 pictures"):
        look(content)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (picture(fmt="GIF"), "a GIF picture"),
        (picture(fmt="BMP"), "a BMP picture"),
        (b"%PDF-1.7 ...", "a PDF document"),
        (b"  <!doctype html>", "a web page"),
        (b"hello", "no picture in a format that is taken"),
        (picture()[:20], "no picture|truncated"),
    ],
)
def test_what_is_no_photo_is_refused_by_what_it_is(content, said):
    with pytest.raises(QuarantineError, match=said):
        look(content)


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF"])
@pytest.mark.parametrize("kept", [0.5, 0.95])
def test_a_truncated_picture_is_refused(fmt, kept):
    content = picture(4, fmt)
    cut = content[: int(len(content) * kept)]

    def take() -> None:
        look(cut)
        normalise(cut)

    with pytest.raises(QuarantineError):
        take()


def test_a_picture_beyond_the_pixel_limit_is_refused_with_its_size():
    with pytest.raises(QuarantineError, match="800 x 600 pixels") as refused:
        look(picture(), max_pixels=479_999)
    assert (refused.value.width, refused.value.height) == (800, 600)
    assert look(picture(), max_pixels=480_000).width == 800


@pytest.mark.parametrize(
    ("size", "wanted"), [((1600, 1000), (640, 400)), ((300, 200), (300, 200)), ((2000, 1), (640, 1))]
)
def test_the_long_side_shrinks_to_the_limit_and_never_grows(size, wanted):
    assert normalised(picture(size=size), 640).size == wanted


def test_the_normalised_photo_carries_no_metadata():
    exif = Image.Exif()
    exif[0x010F] = "Secret"
    result = normalised(
        picture(exif=exif, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    )
    assert result.format == "JPEG"
    assert dict(result.getexif()) == {}
    assert not {"icc_profile", "exif", "xmp", "comment"} & set(result.info)


def test_equal_uploads_give_equal_normalised_bytes():
    assert normalise(picture(1)) == normalise(picture(1))


@pytest.mark.parametrize("mode", ["L", "P", "1", "LA", "RGBA", "PA", "I;16", "I", "CMYK"])
def test_every_colour_mode_becomes_8_bit_colour_that_looks_alike(mode):
    grey = scene(2, 320, 200).convert("L")
    if mode in ("I;16", "I"):
        source = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
        content = encoded(source.convert(mode) if source.mode != mode else source, "TIFF" if mode == "I" else "PNG")
        low, high = grey.getextrema()
        wanted = grey.point(lambda level: round((level - low) * 255 / (high - low)))
    elif mode == "CMYK":
        content, wanted = encoded(scene(2, 320, 200).convert("CMYK"), "TIFF"), scene(2, 320, 200)
    else:
        source = grey.convert("RGBA").convert(mode) if mode != "PA" else grey.convert("RGBA").quantize()
        content, wanted = encoded(source, "PNG"), source.convert("RGBA").convert("RGB")
    result = normalised(content)
    assert result.mode == "RGB"
    assert difference(result, wanted) < 8


def test_transparent_parts_are_laid_over_white():
    content = encoded(Image.new("RGBA", (64, 64), (0, 0, 0, 0)), "PNG")
    assert np.asarray(normalised(content)).min() > 250


@pytest.mark.parametrize("profile", [b"broken", ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()])
def test_a_colour_profile_that_is_broken_or_does_not_fit_is_left_out(profile):
    plain = Image.new("RGB", (64, 64), (200, 30, 30))
    assert difference(normalised(encoded(plain, "PNG", icc_profile=profile)), plain) < 4


def test_a_phone_s_wide_colours_are_brought_to_srgb():
    path = SHARED_DATA / "edge_images" / "exif_samples" / "IMG_5195.HEIC"
    if not path.is_file():
        pytest.skip("../shared/data/edge_images is not there")
    content = path.read_bytes()
    look(content)  # makes Pillow read HEIC
    with Image.open(io.BytesIO(content)) as image:
        assert b"Display P3" in image.info["icc_profile"].replace(b"\0", b"")
        unconverted = image.convert("RGB").resize((993, 1282))
    photo = normalised(content).resize((993, 1282))
    saturation = [float(np.asarray(each.convert("HSV"))[:, :, 1].mean()) for each in (photo, unconverted)]
    assert saturation[0] > saturation[1] + 3  # P3 numbers read as sRGB look pale
