import cv2
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from snapshots import LEFT, RIGHT, TOP, predicted, random_snapshot, truth

from mlops_assets.detector.confusion import box_outcomes
from mlops_assets.detector.worst_misses import (
    FOUND_COLOUR,
    LABEL_COLOUR,
    RANKED,
    contact_sheet,
    encode_jpeg,
    miss_picture,
    rank_photos,
    worst_photos,
)

NAMES = {0: "router", 1: "Túlfeszültség-levezető"}


def outcomes() -> pl.DataFrame:
    labels = truth([("A-1", 0, LEFT), ("A-1", 1, RIGHT), ("B-1", 0, LEFT), ("C-1", 0, LEFT), ("D-1", None, None)])
    found = predicted(
        [
            ("A-1", 1, 0.9, LEFT),  # taken for another
            ("B-1", 0, 0.8, LEFT),
            ("C-1", 0, 0.6, LEFT),
            ("C-1", 0, 0.7, TOP),  # nothing there
        ]
    )
    return box_outcomes(labels, found, {0: 0.5, 1: 0.5}, [0, 1])


def photo(_: str) -> bytes:
    _, content = cv2.imencode(".png", np.full((300, 400, 3), 128, np.uint8))
    return content.tobytes()


def test_the_worst_photo_has_the_most_wrong_by_the_stated_cost() -> None:
    ranked = rank_photos(outcomes())
    assert ranked.schema == RANKED
    assert ranked.rows() == [("A-1", pytest.approx(2.9), 1, 1, 0), ("C-1", pytest.approx(0.7), 0, 0, 1)]


def test_the_picture_shows_labels_and_detections_in_their_colours_and_what_is_wrong() -> None:
    worst, second = worst_photos(outcomes(), 5)
    assert worst.file_name == "01-A-1.jpg"
    assert worst.words == "1. 1 missed, 1 confused, 0 false; cost 2.90"
    picture = miss_picture(worst, photo, NAMES, long_side=400)
    header = picture.shape[0] - 300
    assert picture.shape[1] == 400
    assert 30 < header < 60

    def colour(x: float, y: float) -> tuple[int, ...]:
        return tuple(int(value) for value in picture[header + round(y * 300), round(x * 400)])

    assert colour(0.65, 0.5) == LABEL_COLOUR, "left edge of the missed label"
    assert colour(0.15, 0.5) == FOUND_COLOUR, "left edge of the wrong detection, over its label"
    assert colour(0.75, 0.5) == (128, 128, 128), "inside"
    right = miss_picture(second, photo, NAMES, long_side=400)
    assert tuple(right[header + 30, 160]) == FOUND_COLOUR
    assert not (right[header:, 260:] != 128).any()


def test_a_small_photo_is_enlarged_so_that_words_can_be_read() -> None:
    (worst, _) = worst_photos(outcomes(), 2)
    assert miss_picture(worst, photo, NAMES).shape[1] == 800


def test_a_sheet_holds_all_photos_and_none_where_nothing_is_wrong() -> None:
    sheet = contact_sheet(worst_photos(outcomes(), 5), photo, NAMES, side=330)
    assert sheet is not None
    assert sheet.shape[1] > 2 * 330
    assert contact_sheet([], photo, NAMES, side=330) is None
    assert worst_photos(outcomes().filter(pl.col("photo_id") == "B-1"), 5) == []


@pytest.mark.parametrize("max_bytes", [75_000, 20_000])
def test_a_picture_is_no_larger_than_it_may_be(max_bytes: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (900, 1200, 3)).astype(np.uint8)
    content = encode_jpeg(noise, max_bytes)
    assert len(content) <= max_bytes
    assert cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) is not None
    assert len(encode_jpeg(noise)) > max_bytes


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 200))
def test_every_mistake_counts_once(seed: int) -> None:
    labels, found = random_snapshot(seed)
    rows = box_outcomes(truth(labels), predicted(found), dict.fromkeys(range(3), 0.3), [0, 1, 2])
    ranked = rank_photos(rows)
    right = rows.filter(pl.col("class_id") == pl.col("found_class_id")).height
    assert ranked["missed"].sum() + ranked["confused"].sum() == len(labels) - right
    assert ranked["false"].sum() + ranked["confused"].sum() + right == sum(1 for row in found if (row[2] or 0) >= 0.3)
    assert ranked["cost"].is_sorted(descending=True)
