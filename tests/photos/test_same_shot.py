import cv2
import numpy as np
import pytest
from photo_copies import another_shot, brightened, cropped, jpeg, resized, textured

from mlops_assets.photos.pixels import UnreadableImageError
from mlops_assets.photos.same_shot import AS_IT_IS, LONG_SIDE, Shot, agreement, is_same_shot, look_at
from mlops_assets.use_case import NearDuplicateRules

RULES = NearDuplicateRules()
ORIGINAL = textured(1)

COPIES = {
    "recompressed": jpeg(ORIGINAL, 30),
    "smaller": jpeg(resized(ORIGINAL, 0.3)),
    "darker": jpeg(brightened(ORIGINAL, 0.7)),
    "brighter": jpeg(brightened(ORIGINAL, 1.2)),
    "cropped in the middle": jpeg(cropped(ORIGINAL, 0.10)),
    "cropped at a corner": jpeg(cropped(ORIGINAL, 0.10, down=0, right=0)),
    "sent by a messenger": jpeg(resized(brightened(cropped(ORIGINAL, 0.05, down=1), 1.1), 0.6), 50),
}


def same(one: Shot, other: Shot) -> bool:
    return is_same_shot(one, other, min_correlation=RULES.min_correlation, max_difference=RULES.max_difference)


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_a_copy_is_the_same_shot_from_both_sides(copy):
    one, other = look_at(jpeg(ORIGINAL)), look_at(copy)
    assert same(one, other)
    assert same(other, one)


@pytest.mark.parametrize("seed", range(4))
def test_another_shot_of_the_same_thing_is_not(seed):
    assert not same(look_at(jpeg(ORIGINAL)), look_at(jpeg(another_shot(ORIGINAL, seed))))


def test_a_lamp_that_has_gone_on_makes_another_shot_of_what_correlates_as_well_as_a_copy():
    lit = ORIGINAL.copy()
    cv2.circle(lit, (480, 300), 12, tuple(int(255 - value) // 128 * 255 for value in ORIGINAL[300, 480]), -1)
    one, other = look_at(jpeg(ORIGINAL)), look_at(jpeg(lit))
    assert agreement(one, other, AS_IT_IS).correlation > 0.99
    assert not same(one, other)


def test_something_else_is_not_and_neither_is_half_of_the_photo():
    one = look_at(jpeg(ORIGINAL))
    half = ORIGINAL[:, : ORIGINAL.shape[1] // 2]
    turned = cv2.rotate(ORIGINAL, cv2.ROTATE_90_CLOCKWISE)
    assert not any(same(one, look_at(jpeg(image))) for image in (textured(2), half, turned))


def test_photos_without_any_texture_are_like_nothing():
    blank = look_at(jpeg(np.full((300, 400, 3), 128, np.uint8)))
    assert blank.points.shape == (0, 2)
    assert blank.descriptors.shape == (0, 32)
    assert not same(blank, blank)
    assert not same(blank, look_at(jpeg(ORIGINAL)))


def test_photos_are_compared_at_one_size():
    for scale in (0.2, 1.0, 1.7):
        assert max(look_at(jpeg(cv2.resize(ORIGINAL, None, fx=scale, fy=scale))).grey.shape) == LONG_SIDE


def test_a_damaged_photo_is_an_error():
    with pytest.raises(UnreadableImageError):
        look_at(b"no picture")
