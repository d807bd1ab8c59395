"""One pass over an upload: from one reading and one decode, what it is, how good it is, and its normalised photo.

What is stored and recorded of it is for `intake`. Every codec that is used frees Python's lock, so threads suit it.
"""

import hashlib
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np

from mlops_assets.code_versions import code_version
from mlops_assets.photos.faces import blur_faces
from mlops_assets.photos.pictures import PictureFacts, decode, decode_again
from mlops_assets.photos.pixels import Image, fit_long_side
from mlops_assets.photos.quality import MEASURED_LONG_SIDE, Measures, measure
from mlops_assets.use_case import IntakeRules

JPEG_QUALITY = 90


@dataclass(frozen=True)
class Examined:
    """What one pass finds."""

    facts: PictureFacts
    measures: Measures
    photo: bytes
    """The normalised photo: JPEG, upright, sRGB, no metadata, and no faces where the use case wants none."""


def examined_by(rules: IntakeRules) -> str:
    """The version of what an examination comes to: of its code, of the codecs that are used, and of its settings."""
    blur = rules.face_blur
    faces = f"{blur.sha256} {blur.min_score}" if blur is not None else "faces stay"
    settings = f"{rules.max_pixels} {rules.normalised_long_side} {faces}"
    code = code_version("mlops_assets.photos.examination", "examine", image="cpu")
    return f"{code}-{hashlib.sha256(settings.encode()).hexdigest()[:8]}"


def examine(content: bytes, rules: IntakeRules, zone: ZoneInfo) -> Examined:
    """Judge, measure and normalise an upload.

    Args:
        content: The file's bytes.
        rules: Limits, and size of the normalised photo.
        zone: Time zone of EXIF times without offset.

    Raises:
        QuarantineError: No picture that is taken, or truncated or broken.
    """
    facts, pixels = decode(content, long_side=rules.normalised_long_side, max_pixels=rules.max_pixels, zone=zone)
    shown = pixels if rules.face_blur is None else blur_faces(pixels, rules.face_blur)
    return Examined(facts, _measured(pixels), _encode(shown))


def measure_again(content: bytes, rules: IntakeRules) -> Measures:
    """The measures that `examine` gives, to the last digit, of an upload that it has taken before.

    Raises:
        QuarantineError: The file is not what it was.
    """
    return _measured(decode_again(content, long_side=rules.normalised_long_side))


def glance(content: bytes, rules: IntakeRules, zone: ZoneInfo) -> tuple[PictureFacts, Measures]:
    """Judge and measure an upload that is not kept, as a check before the upload does.

    A JPEG is decoded no further than the measures need, which moves them a little (see docs/decisions.md).

    Raises:
        QuarantineError: As `examine`.
    """
    facts, pixels = decode(content, long_side=MEASURED_LONG_SIDE, max_pixels=rules.max_pixels, zone=zone)
    return facts, _measured(pixels)


def _measured(pixels: Image) -> Measures:
    small = fit_long_side(pixels, MEASURED_LONG_SIDE)
    return measure(np.ascontiguousarray(small[:, :, ::-1]))


def _encode(pixels: Image) -> bytes:
    import simplejpeg

    contiguous = np.ascontiguousarray(pixels)
    return bytes(simplejpeg.encode_jpeg(contiguous, quality=JPEG_QUALITY, colorspace="RGB", colorsubsampling="420"))
