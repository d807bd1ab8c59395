"""Whether a photo can be used, measured, and what the technician should do differently.

Measures and verdict of one photo; which photos are looked at is in `cleaning`.
"""

from dataclasses import dataclass

from mlops_assets.photos.perceptual_hashes import perceptual_hash
from mlops_assets.photos.pixels import Image, fit_long_side
from mlops_assets.use_case import QualityRules

MEASURED_LONG_SIDE = 640
"""All photos are measured at this long side, so that one threshold suits every camera; smaller ones as they are."""


@dataclass(frozen=True)
class Measures:
    """What the verdict rests on."""

    sharpness: float
    """Variance of the Laplacian of the grey photo (Pech-Pacheco et al., 2000); low when out of focus or shaken."""
    brightness: float
    """Mean grey level, 0 to 255."""
    contrast: float
    """Standard deviation of the grey level, 0 to 127.5."""
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
    return Measures(
        sharpness=float(cv2.Laplacian(grey, cv2.CV_32F).var()),
        brightness=float(grey.mean()),
        contrast=float(grey.std()),
        perceptual_hash=perceptual_hash(small),
    )


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
                "Hold the phone still, tap on the equipment to focus, and wipe the lens.",
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
    if measures.brightness > rules.max_brightness:
        reason = f"too bright: brightness {measures.brightness:.0f}, at most {rules.max_brightness:g} wanted"
        return [(reason, "Turn so that the sun or flash does not shine into the lens, and take the photo again.")]
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
