import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mlops_assets.dataset.background import Background, background_of, surplus
from mlops_assets.dataset.schema import TRAINING_DATASET
from mlops_assets.use_case import BackgroundRules

RULES = BackgroundRules()

photo_ids = st.sets(st.text("0123456789abcdef", min_size=8, max_size=8), max_size=60)
shares = st.floats(0, 0.9)


def test_train_photos_are_counted_once_and_those_of_other_splits_not_at_all():
    rows = [("a", "train", 0), ("a", "train", 1), ("b", "train", None), ("c", "val", None), ("d", "test", None)]
    dataset = pl.DataFrame(rows, schema=["photo_id", "split", "class_id"], orient="row")
    assert background_of(dataset) == Background(photos=2, without_box=1)
    assert background_of(TRAINING_DATASET.to_frame()).share == 0


def test_too_few_are_told_with_how_many_more_to_label():
    said = Background(photos=101, without_box=1).sentence(RULES)
    assert said == (
        "1 of 101 train photos (1.0%) show no equipment, fewer than 5%: label 5 more photos without equipment, "
        "such as empty cabinets or closed doors, as showing nothing"
    )
    assert Background(100, 5).sentence(RULES) == "5 of 100 train photos (5.0%) show no equipment"


@given(st.integers(1, 500), st.integers(0, 100), shares)
def test_so_many_more_reach_the_lower_share_and_one_less_does_not(with_box: int, without_box: int, share: float):
    rules = BackgroundRules(min_share=share, max_share=0.95)
    missing = Background(with_box + without_box, without_box).missing(rules)
    assert Background(with_box + without_box + missing, without_box + missing).share >= share - 1e-6
    if missing:
        assert Background(with_box + without_box + missing - 1, without_box + missing - 1).share < share + 1e-6


@given(photo_ids, st.integers(0, 100), shares)
def test_what_stays_is_the_most_that_the_largest_share_allows(photos: set[str], with_box: int, share: float):
    rules = BackgroundRules(min_share=0, max_share=share)
    left_out = surplus(photos, with_box, rules)
    kept = len(photos) - len(left_out)
    assert set(left_out) <= photos
    assert kept <= share * (with_box + kept) + 1e-6
    if left_out:
        assert kept + 1 > share * (with_box + kept + 1) - 1e-6


@given(photo_ids, photo_ids, st.integers(0, 100), st.integers(0, 100), st.integers(0, 3))
def test_what_stays_changes_little_as_data_grows(
    photos: set[str], more: set[str], with_box: int, more_with_box: int, seed: int
):
    rules = BackgroundRules(max_share=0.3, seed=seed)
    kept = photos - set(surplus(photos, with_box, rules))
    grown = photos - set(surplus(photos, with_box + more_with_box, rules))
    assert kept <= grown, "more photos with equipment put none out"
    among_more = (photos | more) - set(surplus(photos | more, with_box, rules))
    assert len(kept - among_more) <= len(more - photos), "each further photo puts at most one out"
    assert surplus(sorted(photos), with_box, rules) == surplus(sorted(photos, reverse=True), with_box, rules)


def test_the_seed_says_which_stay():
    photos = {f"{n:064x}" for n in range(40)}
    chosen = {frozenset(surplus(photos, 90, BackgroundRules(seed=seed))) for seed in range(5)}
    assert len(chosen) == 5


def test_shares_that_contradict_each_other_are_refused():
    with pytest.raises(ValidationError, match=r"min_share 0.2 is above max_share 0.1"):
        BackgroundRules(min_share=0.2)
