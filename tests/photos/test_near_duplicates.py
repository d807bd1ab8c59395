import cv2
import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from upload_samples import scene

from mlops_assets.photos.near_duplicates import hamming_distances, mark_near_duplicates, perceptual_hash

COLUMNS = {"photo_id": pl.String(), "enclosure_id": pl.String(), "perceptual_hash": pl.String()}
NONE = pl.DataFrame(schema=COLUMNS)


def photos(*rows: tuple[str, str, str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


def bgr(seed: int) -> np.ndarray:
    return np.asarray(scene(seed, 1280, 960))[:, :, ::-1].copy()


def test_a_rescaled_recompressed_brighter_copy_keeps_its_hash_and_other_photos_do_not():
    original = bgr(1)
    smaller = cv2.resize(original, (640, 480), interpolation=cv2.INTER_AREA)
    copy = cv2.imdecode(cv2.imencode(".jpg", smaller, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_COLOR)
    copy = np.clip(copy.astype(int) + 12, 0, 255).astype(np.uint8)
    hashes = [perceptual_hash(image) for image in (original, copy, bgr(2), original[:, ::-1].copy())]
    assert all(len(value) == 16 for value in hashes)
    distances = hamming_distances(hashes[:1], hashes)[0]
    assert distances[1] <= 4
    assert min(distances[2:]) > 12


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=6))
def test_distance_is_the_number_of_differing_bits(values):
    hashes = [f"{value:016x}" for value in values]
    found = hamming_distances(hashes, hashes)
    assert found.tolist() == [[(a ^ b).bit_count() for b in values] for a in values]


def test_the_earliest_near_photo_of_the_same_enclosure_is_named():
    recent = photos(("old", "CAB-1", "00000000000000ff"), ("elsewhere", "CAB-2", "0000000000000000"))
    today = photos(
        ("a", "CAB-1", "00000000000000fe"),  # 1 bit from old
        ("b", "CAB-1", "ffffffffffffffff"),
        ("c", "CAB-1", "fffffffffffffff0"),  # 4 bits from b
        ("d", "CAB-1", "ffffffffffffff00"),  # 4 bits from c, 8 from b
        ("e", "CAB-3", "00000000000000ff"),  # nothing of its enclosure before it
    )
    marked = mark_near_duplicates(today, recent, distance=4)
    assert marked.select("photo_id", "near_duplicate_of").rows() == [
        ("a", "old"),
        ("b", None),
        ("c", "b"),
        ("d", "c"),
        ("e", None),
    ]


def test_no_photos_give_no_rows_and_the_column():
    marked = mark_near_duplicates(NONE, NONE, distance=4)
    assert marked.columns == [*COLUMNS, "near_duplicate_of"]
    assert marked.is_empty()


@given(st.lists(st.tuples(st.sampled_from("xy"), st.integers(0, 15)), max_size=12))
def test_a_photo_is_only_ever_a_near_duplicate_of_one_before_it(rows):
    frame = photos(*((str(n), enclosure, f"{value:016x}") for n, (enclosure, value) in enumerate(rows)))
    for row in mark_near_duplicates(frame, NONE, distance=1).iter_rows(named=True):
        n, of = int(row["photo_id"]), row["near_duplicate_of"]
        near = [str(m) for m, (e, v) in enumerate(rows[:n]) if e == rows[n][0] and (v ^ rows[n][1]).bit_count() <= 1]
        assert of == (near[0] if near else None)
