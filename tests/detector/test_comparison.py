import time

import numpy as np
import polars as pl
import pytest
from snapshots import LEFT, RIGHT, TOP, Label, Prediction, predicted, truth

from mlops_assets.detector.comparison import Comparison, compare, enclosures_by_class
from mlops_assets.use_case import PromotionRules

RULES = PromotionRules()
ENCLOSURES = 12


def snapshot() -> pl.DataFrame:
    labels: list[Label] = [(f"E{i}-{photo}", 0, LEFT) for i in range(ENCLOSURES) for photo in range(2)]
    labels += [(f"E{i}-0", 1, RIGHT) for i in range(3)]
    return truth(labels)


def perfect(labels: pl.DataFrame, without: tuple[int, ...] = ()) -> pl.DataFrame:
    rows: list[Prediction] = [
        (row["photo_id"], row["class_id"], 0.9, (row["box_x"], row["box_y"], row["box_w"], row["box_h"]))
        for row in labels.iter_rows(named=True)
        if row["class_id"] not in without
    ]
    return predicted(rows)


def comparison(candidate: pl.DataFrame, champion: pl.DataFrame, seed: int = 0) -> Comparison:
    thresholds = {0: 0.5, 1: 0.5, 2: 0.5}
    return compare(
        snapshot(),
        candidate,
        champion,
        known_classes=[0, 1, 2],
        candidate_thresholds=thresholds,
        champion_thresholds=thresholds,
        rules=RULES,
        seed=seed,
    )


def test_equal_models_show_no_change() -> None:
    same = comparison(perfect(snapshot()), perfect(snapshot()))
    assert same.macro_change == same.macro_lower_bound == 0.0
    assert same.candidate_f1 == same.champion_f1 == 1.0
    assert [c.loss_probability for c in same.classes] == [0.0, 0.0]


def test_only_known_classes_with_test_boxes_are_judged_with_their_enclosures() -> None:
    same = comparison(perfect(snapshot()), perfect(snapshot()))
    assert same.known_classes == (0, 1, 2)
    assert [(c.class_id, c.enclosures) for c in same.classes] == [(0, ENCLOSURES), (1, 3)]
    assert enclosures_by_class(snapshot()) == {0: ENCLOSURES, 1: 3}


def test_a_class_that_is_lost_shows_in_its_own_figures_and_in_the_macro_bound() -> None:
    lost = comparison(perfect(snapshot(), without=(1,)), perfect(snapshot()))
    first, second = lost.classes
    assert (first.change, first.loss_probability) == (0.0, 0.0)
    assert (second.change, second.loss_probability) == (pytest.approx(-1.0), 1.0)
    assert lost.macro_change == pytest.approx(-0.5)
    assert lost.macro_lower_bound == pytest.approx(-0.5)
    assert lost.candidate_f1 == pytest.approx(2 * 24 / (2 * 24 + 3))


def test_a_class_missed_in_some_enclosures_is_a_matter_of_probability() -> None:
    champion = perfect(snapshot())
    candidate = champion.filter(~pl.col("photo_id").str.starts_with("E11-"))
    first = comparison(candidate, champion).classes[0]
    # A sample without enclosure 11 shows no loss: (11/12)^12 of them.
    assert first.loss_probability == pytest.approx(1 - (11 / 12) ** 12, abs=0.05)
    assert first.change == pytest.approx(-1 / 12, abs=0.01)


def noisy(seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    found = perfect(snapshot()).with_columns(confidence=pl.Series(rng.uniform(0.1, 1, snapshot().height)))
    false = predicted([(f"E{i}-0", 0, float(rng.random()), TOP) for i in range(ENCLOSURES)])
    return pl.concat([found.filter(pl.Series(rng.random(found.height) < 0.8)), false])


def test_the_bootstrap_is_the_same_for_the_same_seed() -> None:
    once, again, other = (comparison(noisy(1), noisy(2), seed) for seed in (5, 5, 6))
    assert once == again
    assert once.macro_lower_bound != other.macro_lower_bound
    assert once.macro_lower_bound is not None
    assert once.macro_change is not None
    assert once.macro_lower_bound < once.macro_change


def test_the_bound_is_that_of_repeating_the_photos_of_the_drawn_enclosures() -> None:
    champion, candidate, labels = noisy(2), noisy(1), snapshot()
    enclosures = sorted(set(labels["enclosure_id"]))
    changes = []
    for draw in np.random.default_rng(0).multinomial(ENCLOSURES, np.full(ENCLOSURES, 1 / ENCLOSURES), size=100):
        drawn = [(e, copy) for e, times in zip(enclosures, draw, strict=True) for copy in range(times)]
        repeat = pl.DataFrame(drawn, schema=["enclosure_id", "copy"], orient="row")
        many = [
            table.with_columns(enclosure_id=pl.col("photo_id").str.split("-").list.first())
            .join(repeat, on="enclosure_id")
            .with_columns(photo_id=pl.format("{}-{}", "photo_id", "copy"))
            for table in (labels, candidate, champion)
        ]
        pair = compare(
            many[0].select(labels.columns),
            *(t.select(candidate.columns) for t in many[1:]),
            known_classes=[0],
            candidate_thresholds={0: 0.5},
            champion_thresholds={0: 0.5},
            rules=PromotionRules(bootstrap_samples=100),
        )
        changes.append(pair.classes[0].change)
    ours = compare(
        labels,
        candidate,
        champion,
        known_classes=[0],
        candidate_thresholds={0: 0.5},
        champion_thresholds={0: 0.5},
        rules=PromotionRules(bootstrap_samples=100),
    )
    assert ours.macro_lower_bound == pytest.approx(np.quantile(changes, 0.05))


@pytest.mark.parametrize("known_to_candidate", [True, False])
def test_a_class_that_nobody_labels_any_more_counts_in_f1_only_while_the_candidate_knows_it(
    known_to_candidate: bool,
) -> None:
    found = perfect(snapshot())
    ghosts = predicted([(f"E{i}-0", 2, 0.9, TOP) for i in range(ENCLOSURES)])
    thresholds = {0: 0.5, 1: 0.5} | ({2: 0.5} if known_to_candidate else {})
    both = compare(
        snapshot(),
        found,
        pl.concat([found, ghosts]),
        known_classes=[0, 1, 2],
        candidate_thresholds=thresholds,
        champion_thresholds={0: 0.5, 1: 0.5, 2: 0.5},
        rules=RULES,
    )
    assert both.candidate_f1 == 1.0
    assert (both.champion_f1 < 1.0) == known_to_candidate


def test_a_class_that_the_candidate_dropped_counts_as_never_found() -> None:
    pair = compare(
        snapshot(),
        perfect(snapshot(), without=(1,)),
        perfect(snapshot()),
        known_classes=[0, 1],
        candidate_thresholds={0: 0.5},
        champion_thresholds={0: 0.5, 1: 0.5},
        rules=RULES,
    )
    assert pair.classes[1].candidate_ap50 == 0.0
    assert pair.candidate_f1 < pair.champion_f1 == 1.0


def test_a_thousand_samples_take_seconds() -> None:
    labels = truth([(f"E{i}-0", class_id, LEFT) for i in range(100) for class_id in range(8)])
    found = perfect(labels)
    thresholds = dict.fromkeys(range(8), 0.5)
    started = time.monotonic()
    compare(
        labels,
        found,
        found,
        known_classes=list(range(8)),
        candidate_thresholds=thresholds,
        champion_thresholds=thresholds,
        rules=RULES,
    )
    assert time.monotonic() - started < 20
