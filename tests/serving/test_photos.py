"""What anybody may send as a photo: what would cost memory or time out of all proportion is refused by its header."""

import io

import pytest
from PIL import Image
from tiny_model import jpeg

from mlops_assets.serving.photos import PhotoLimits, take
from mlops_assets.serving.refusals import RefusalError

SMALL = PhotoLimits(max_whole_pixels=10_000)
SCAN = b"\xff\xda"


def picture(fmt: str, width: int = 120, height: int = 90, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.effect_mandelbrot((width, height), (-2, -1.5, 1, 1.5), 20).convert("RGB").save(buffer, fmt, **options)
    return buffer.getvalue()


def refused(content: bytes, limits: PhotoLimits = SMALL) -> RefusalError:
    with pytest.raises(RefusalError) as told:
        take(content, limits)
    return told.value


@pytest.mark.parametrize("fmt", ["PNG", "WEBP", "TIFF", "progressive JPEG"])
def test_what_is_decoded_in_full_size_has_a_limit_of_its_own(fmt: str) -> None:
    options = {"progressive": True} if fmt == "progressive JPEG" else {}
    content = picture(fmt.rsplit(maxsplit=1)[-1], **options)
    refusal = refused(content)
    assert refusal.status == 413
    assert f"120 x 90 pixels, more than the limit of 10,000 for a {fmt}" in refusal.reason
    assert "as a JPEG that is not progressive" in refusal.reason
    assert take(content, PhotoLimits()).width == 120


def test_a_plain_jpeg_may_be_larger() -> None:
    assert take(picture("JPEG"), SMALL).height == 90


def test_a_png_of_one_colour_is_refused_before_it_is_decoded() -> None:
    content = jpeg(6000, 5000, fmt="PNG")
    assert len(content) < 200_000
    assert refused(content, PhotoLimits()).status == 413


def test_stray_bytes_do_not_hide_that_a_jpeg_is_progressive() -> None:
    content = picture("JPEG", progressive=True)
    assert refused(content[:2] + b"stray\xff\xff" + content[2:]).status in (400, 413)
    at = content.index(b"\xff\xc2")
    assert refused(content[:at] + b"\x00\x00" + content[at:]).status == 413


def test_a_jpeg_of_scans_without_end_is_refused() -> None:
    content = picture("JPEG", progressive=True)
    first, second = [at for at in range(len(content)) if content.startswith(SCAN, at)][:2]
    repeated = content[:second] + 200 * content[first:second] + content[second:]
    refusal = refused(repeated, PhotoLimits())
    assert refusal.status == 400
    assert "more than 100 scans" in refusal.reason


def test_scans_in_a_preview_or_behind_the_end_are_not_the_pictures() -> None:
    content = picture("JPEG")
    comment = 200 * SCAN
    inside = content[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + content[2:]
    assert take(inside + 200 * SCAN, SMALL).width == 120


def test_an_end_within_a_segment_between_scans_hides_no_scans() -> None:
    content = picture("JPEG", progressive=True)
    first, second = [at for at in range(len(content)) if content.startswith(SCAN, at)][:2]
    hiding = b"\xff\xfe\x00\x04\xff\xd9"
    assert (
        refused(content[:second] + hiding + 200 * content[first:second] + content[second:], PhotoLimits()).status == 400
    )
