import cv2
import numpy as np
import pytest
from upload_samples import SHARED_DATA, scene

from mlops_assets.photos.pixels import decode_scaled
from mlops_assets.photos.quality import assess
from mlops_assets.use_case import QualityRules


def sharp() -> np.ndarray:
    return np.asarray(scene(1, 1280, 960))[:, :, ::-1].copy()


def lit_in_the_middle(image: np.ndarray) -> np.ndarray:
    spot = np.zeros(image.shape[:2], np.float32)
    cv2.circle(spot, (640, 480), 300, 1.0, -1)
    return (image * np.maximum(cv2.GaussianBlur(spot, (0, 0), 20), 0.02)[:, :, None]).astype(np.uint8)


def verdict(image: np.ndarray, long_side: int = 1280):
    return assess(image, QualityRules(), long_side=long_side)[1]


def test_a_sharp_well_lit_photo_is_usable_without_advice():
    assert verdict(sharp()).verdict == "usable"
    assert verdict(sharp()).reason is verdict(sharp()).retake_advice is None


@pytest.mark.parametrize(
    ("spoilt", "reason", "advice"),
    [
        (lambda image: (image * 0.1).astype(np.uint8), "too dark", "flash"),
        (lambda image: (245 + image * 0.03).astype(np.uint8), "too bright", "sun"),
        (lambda image: (110 + image * 0.05).astype(np.uint8), "hardly any contrast", "finger"),
        (lambda image: cv2.GaussianBlur(image, (0, 0), 12), "blurred", "focus"),
        (lambda image: cv2.blur(image, (40, 1)), "blurred", "still"),
        (lambda image: cv2.blur(image, (1, 40)), "blurred", "still"),
        (lit_in_the_middle, "nearly black", "step closer"),
        (lambda image: np.where(np.indices(image.shape)[0] < 600, 255, image).astype(np.uint8), "overexposed", "Tap"),
    ],
)
def test_each_fault_is_named_with_its_own_advice(spoilt, reason, advice):
    found = verdict(spoilt(sharp()))
    assert found.verdict == "rejected"
    assert found.reason.startswith(reason)
    assert advice in found.retake_advice


def test_several_faults_are_all_named():
    found = verdict((sharp() * 0.1).astype(np.uint8), long_side=300)
    assert "small: long side 300 pixels" in found.reason
    assert "too dark" in found.reason


def test_measures_do_not_depend_on_the_camera_s_resolution():
    large = cv2.resize(sharp(), (3840, 2880), interpolation=cv2.INTER_NEAREST)
    of_large, of_small = assess(large, QualityRules(), long_side=1)[0], assess(sharp(), QualityRules(), long_side=1)[0]
    assert of_large.sharpness == pytest.approx(of_small.sharpness, rel=0.05)
    assert of_large.brightness == pytest.approx(of_small.brightness, rel=0.02)


@pytest.mark.parametrize(("folder", "step"), [("racks/landing", 9), ("switch_photos_unlabelled/images", 1)])
def test_no_real_photo_is_rejected(folder, step):
    photos = sorted((SHARED_DATA / folder).rglob("*.jpg"))[::step]
    if not photos:
        pytest.skip(f"../shared/data/{folder} is not there")
    found = {path.name: verdict(decode_scaled(path.read_bytes(), 640)) for path in photos}
    assert {name: found.reason for name, found in found.items() if found.verdict != "usable"} == {}
