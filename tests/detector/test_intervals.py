import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from snapshots import LEFT, RIGHT, TOP, Label, Prediction, predicted, truth

from mlops_assets.detector.intervals import ap50_interval, bootstrap_intervals
from mlops_assets.detector.matching import ClassMatches, Matches, average_precision, match_predictions
from mlops_assets.detector.resampling import draw_enclosures, enclosure_numbers, resampled_ap50
from mlops_assets.detector.schema import DETECTOR_INTERVALS


def intervals(matches: Matches, threshold: float = 0.5) -> dict[tuple[int | None, str], tuple[float, float]]:
    thresholds = dict.fromkeys(matches.classes, threshold)
    table = bootstrap_intervals(matches, thresholds, model_version="1", samples=400)
    assert table.schema == DETECTOR_INTERVALS
    return {(row[1], row[2]): (row[3], row[4]) for row in table.iter_rows()}


def some_matches(seed: int, enclosures: int, recall: float, photos: int = 2) -> Matches:
    """One class with a label a photo, found with a share that differs from enclosure to enclosure."""
    rng = np.random.default_rng(seed)
    of_enclosure = rng.beta(2 * recall, 2 * (1 - recall), enclosures)
    names = [f"E{number:03}" for number in range(enclosures) for _ in range(photos)]
    hit = rng.random(len(names)) < np.repeat(of_enclosure, photos)
    n = len(names)
    order = np.argsort(-rng.random(n))
    found = ClassMatches(np.linspace(1, 0.6, n), order, np.tile(hit[order], (10, 1)), np.ones(n, np.int64))
    return Matches(tuple(f"{name}-{i}" for i, name in enumerate(names)), tuple(names), {0: found})


def test_a_hand_made_case_has_intervals_around_its_figures() -> None:
    labels: list[Label] = [(f"E{i}-1", i % 2, LEFT) for i in range(12)]
    found: list[Prediction] = [(photo, class_id, 0.9, LEFT) for photo, class_id, _ in labels[:9]]
    found += [("E0-1", 0, 0.7, RIGHT), ("E1-1", 1, 0.3, RIGHT)]
    ranges = intervals(match_predictions(truth(labels), predicted(found), [0, 1, 2]))
    low, high = ranges[0, "recall"]
    assert low < 5 / 6 < high <= 1.0
    assert ranges[1, "precision"] == (1.0, 1.0), "the false one lies under the threshold"
    assert ranges[None, "precision"][0] < 9 / 10 <= ranges[None, "precision"][1]
    assert {key[0] for key in ranges} == {0, 1, None}, "a class without a label has no interval"
    assert ranges[None, "ap50"][0] < ranges[None, "ap50"][1]


def test_nothing_labelled_and_nothing_found_has_no_interval() -> None:
    matches = match_predictions(truth([("A-1", None, None)]), predicted([]), [0])
    assert intervals(matches) == {}
    assert ap50_interval(matches, samples=100) is None
    assert intervals(match_predictions(truth([]), predicted([]), [0])) == {}


def test_nothing_found_is_an_interval_at_nought() -> None:
    matches = match_predictions(truth([("A-1", 0, LEFT), ("B-1", 0, TOP)]), predicted([]), [0])
    ranges = intervals(matches)
    assert ranges[0, "ap50"] == ranges[None, "recall"] == ranges[0, "f1"] == (0.0, 0.0)
    assert (0, "precision") not in ranges
    assert ap50_interval(matches, samples=100) == (0.0, 0.0)


def test_nineteen_of_twenty_intervals_or_nearly_so_hold_the_true_recall() -> None:
    """Enclosures differ (variance of a beta), which drawing photos instead of enclosures would not see."""
    true, inside, runs = 0.7, 0, 200
    for seed in range(runs):
        matches = some_matches(seed, enclosures=30, recall=true, photos=4)
        table = bootstrap_intervals(matches, {0: 0.5}, model_version="1", samples=200, seed=seed)
        low, high = (
            table.filter((pl.col("measure") == "recall") & (pl.col("class_id") == 0)).select("low", "high").row(0)
        )
        inside += low <= true <= high
    assert 0.88 * runs <= inside <= 0.99 * runs, inside / runs


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 1000), st.integers(1, 6), st.floats(0.05, 0.95))
def test_a_sample_is_the_snapshot_with_its_enclosures_repeated(seed: int, enclosures: int, recall: float) -> None:
    matches = some_matches(seed, enclosures, recall)
    enclosure = enclosure_numbers(matches)
    draws = draw_enclosures(enclosures, 3, seed)
    assert (draws.sum(axis=1) == enclosures).all()
    of_class = matches.classes[0]
    for sample, ap50 in zip(draws, resampled_ap50(of_class, draws, enclosure), strict=True):
        weights = sample[enclosure[of_class.photo]]
        labels = np.array([float((sample[enclosure] * of_class.labels).sum())])
        assert average_precision(of_class.hit[0], weights[None], labels)[0] == pytest.approx(ap50)


def test_many_predictions_are_resampled_in_portions_that_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    matches = some_matches(1, 20, 0.5)
    enclosure = enclosure_numbers(matches)
    draws = draw_enclosures(20, 50, 0)
    whole = resampled_ap50(matches.classes[0], draws, enclosure)
    monkeypatch.setattr("mlops_assets.detector.resampling._WEIGHTS_AT_ONCE", 30)
    assert resampled_ap50(matches.classes[0], draws, enclosure) == pytest.approx(whole)
