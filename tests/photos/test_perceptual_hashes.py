import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from photo_copies import brightened, cropped, jpeg, resized, textured
from upload_samples import scene

from mlops_assets.photos.perceptual_hashes import as_integers, hamming_distances, perceptual_hash, view_hashes


def bgr(seed: int) -> np.ndarray:
    return np.asarray(scene(seed, 1280, 960))[:, :, ::-1].copy()


def grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg(image), np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2GRAY)


def test_a_rescaled_recompressed_brighter_copy_keeps_its_hash_and_other_photos_do_not():
    original = bgr(1)
    copy = cv2.imdecode(np.frombuffer(jpeg(brightened(resized(original, 0.5), 1.05), 60), np.uint8), cv2.IMREAD_COLOR)
    hashes = [perceptual_hash(image) for image in (original, copy, bgr(2), original[:, ::-1].copy())]
    assert all(len(value) == 16 for value in hashes)
    distances = hamming_distances(as_integers(hashes[:1]), as_integers(hashes))[0]
    assert distances[1] <= 4
    assert min(distances[2:]) > 12


@pytest.mark.parametrize("share", [0.05, 0.10])
@pytest.mark.parametrize("down", [0.0, 1.0])
def test_a_view_of_the_photo_comes_nearer_to_its_crop_than_the_photo_from_both_sides(share, down):
    for seed in range(3):
        whole, crop = grey(textured(seed)), grey(cropped(textured(seed), share, down=down, right=1.0))
        for one, other in ((whole, crop), (crop, whole)):
            distances = hamming_distances(view_hashes(one), view_hashes(other)[:1])[:, 0]
            assert distances.shape == (37,)
            assert distances.min() <= min(distances[0], 14)


def test_the_first_view_is_the_photo_itself():
    image = textured(3)
    own = view_hashes(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))[0]
    assert f"{int(own):016x}" == perceptual_hash(image)


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=6))
def test_distance_is_the_number_of_differing_bits(values):
    hashes = as_integers([f"{value:016x}" for value in values])
    assert hashes.tolist() == values
    found = hamming_distances(hashes, hashes)
    assert found.tolist() == [[(a ^ b).bit_count() for b in values] for a in values]


@pytest.mark.parametrize("wrong", ["00ff", "0" * 17, "x" * 16, ""])
def test_what_is_no_hash_is_refused(wrong):
    with pytest.raises(ValueError, match=r"16 hexadecimal|non-hexadecimal"):
        as_integers(["00000000000000ff", wrong])
