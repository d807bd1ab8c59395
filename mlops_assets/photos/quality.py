"""Whether a photo can be used, measured, and what the technician should do differently.

Measures and verdict of one photo; which photos are looked at is in `cleaning`.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlops_assets.photos.perceptual_hashes import perceptual_hash
from mlops_assets.photos.pixels import Image, fit_long_side
from mlops_assets.use_case import QualityRules

MEASURED_LONG_SIDE = 640
"""All photos are measured at this long side, so that one threshold suits every camera; smaller ones as they are."""


DARK_GREY, BRIGHT_GREY = 20, 250
"""Grey levels below which nothing can be told from black, and from which on the sensor was full."""

_SECOND_DIFFERENCES = (
    ((0, 0, 0), (1, -2, 1), (0, 0, 0)),
    ((0, 1, 0), (0, -2, 0), (0, 1, 0)),
    ((0.5, 0, 0), (0, -1, 0), (0, 0, 0.5)),
    ((0, 0, 0.5), (0, -1, 0), (0.5, 0, 0)),
)
"""Across, down, and along both diagonals, where the step is longer by the root of 2."""


@dataclass(frozen=True)
class Measures:
    """What the verdict rests on."""

    sharpness: float
    """The smallest variance of the grey photo's second difference over four directions.

    The four directions are those of the diagonal Laplacian (Thelen et al., 2009; operator LAP4 of Pertuz et al., 2013).
    Their sum is high for a photo that was smeared in one direction only, since edges along it stay; the smallest of
    them is low when out of focus and when shaken.
    """
    brightness: float
    """Mean grey level, 0 to 255."""
    contrast: float
    """Standard deviation of the grey level, 0 to 127.5."""
    dark_share: float
    """Share of pixels below DARK_GREY, 0 to 1: high in the dark, also where a flash lights what is near."""
    bright_share: float
    """Share of pixels from BRIGHT_GREY on, 0 to 1."""
    perceptual_hash: str


@dataclass(frozen=True)
class Verdict:
    """`usable` or `rejected`; reason and advice are None for a usable photo."""

    verdict: str
    reason: str | None
    retake_advice: str | None


def measure(image: Image) -> Measures:
    """Measure a photo.

    Args:
        image: (height, width, 3), BGR, upright.
    """
    import cv2

    small = fit_long_side(image, MEASURED_LONG_SIDE)
    grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
    levels = cv2.calcHist([grey], [0], None, [256], [0, 256]).ravel() / grey.size
    mean, deviation = cv2.meanStdDev(grey)
    return Measures(
        sharpness=min(_variance(grey, kernel) for kernel in _SECOND_DIFFERENCES),
        brightness=float(mean[0, 0]),
        contrast=float(deviation[0, 0]),
        dark_share=float(levels[:DARK_GREY].sum()),
        bright_share=float(levels[BRIGHT_GREY:].sum()),
        perceptual_hash=perceptual_hash(small),
    )


def _variance(grey: npt.NDArray[np.uint8], kernel: tuple[tuple[float, ...], ...]) -> float:
    import cv2

    _, deviation = cv2.meanStdDev(cv2.filter2D(grey, cv2.CV_32F, np.array(kernel, dtype=np.float32)))
    return float(deviation[0, 0] ** 2)


def judge(measures: Measures, rules: QualityRules, *, long_side: int) -> Verdict:
    """Hold the measures against the use case's thresholds; every broken one is named.

    A photo without contrast is dark, glaring or covered, and can be no sharper: only that is then said.

    Args:
        measures: From `measure`.
        rules: Thresholds.
        long_side: Long side of the photo as uploaded, pixels.
    """
    findings = []
    if long_side < rules.min_long_side:
        findings.append(
            (
                f"small: long side {long_side} pixels, at least {rules.min_long_side} wanted",
                "Send the photo at its original size, not a preview.",
            )
        )
    findings += _light(measures, rules)
    if measures.contrast >= rules.min_contrast and measures.sharpness < rules.min_sharpness:
        findings.append(
            (
                f"blurred: sharpness {measures.sharpness:.1f}, at least {rules.min_sharpness:g} wanted",
                "Hold the phone still with both hands, tap on the equipment to focus, and wipe the lens.",
            )
        )
    if not findings:
        return Verdict("usable", None, None)
    reasons, advice = zip(*findings, strict=True)
    return Verdict("rejected", "; ".join(reasons), " ".join(advice))


def _light(measures: Measures, rules: QualityRules) -> list[tuple[str, str]]:
    if measures.brightness < rules.min_brightness:
        reason = f"too dark: brightness {measures.brightness:.0f}, at least {rules.min_brightness:g} wanted"
        return [(reason, "Switch on the flash or a lamp and take the photo again.")]
    if measures.dark_share > rules.max_dark_share:
        reason = f"nearly black: {measures.dark_share:.0%} of the photo, at most {rules.max_dark_share:.0%} wanted"
        return [(reason, "The flash did not reach everything: step closer, or light the enclosure with a lamp.")]
    if measures.brightness > rules.max_brightness:
        reason = f"too bright: brightness {measures.brightness:.0f}, at most {rules.max_brightness:g} wanted"
        return [(reason, "Turn so that the sun or flash does not shine into the lens, and take the photo again.")]
    if measures.bright_share > rules.max_bright_share:
        reason = f"overexposed: {measures.bright_share:.0%} of the photo is white, at most {rules.max_bright_share:.0%}"
        return [(reason + " wanted", "Tap on the bright part before the shot, or shade the enclosure from the sun.")]
    if measures.contrast < rules.min_contrast:
        reason = f"hardly any contrast: {measures.contrast:.1f}, at least {rules.min_contrast:g} wanted"
        return [(reason, "Take finger, cover or fog off the lens and show the open enclosure.")]
    return []


def assess(image: Image, rules: QualityRules, *, long_side: int) -> tuple[Measures, Verdict]:
    """Measure and judge one photo, as a live check at upload does.

    Args:
        image: (height, width, 3), BGR, upright.
        rules: Thresholds.
        long_side: Long side of the photo as uploaded, pixels.
    """
    measures = measure(image)
    return measures, judge(measures, rules, long_side=long_side)
