from dataclasses import replace

import polars as pl
import pytest

from mlops_assets.detector.comparison import ClassComparison, Comparison
from mlops_assets.detector.parity import ParityResult
from mlops_assets.detector.promotion import Decision, decide, unusable
from mlops_assets.detector.schema import DETECTOR_EVALUATION
from mlops_assets.use_case import PromotionRules

NAMES = {0: "splitter", 1: "router", 2: "battery", 3: "fan unit"}
GOOD_PARITY = ParityResult(1000, 1000)
RULES = PromotionRules()
ENCLOSURES = {0: 12, 1: 8, 2: 6}


def evaluation(ap50: dict[int, float | None]) -> pl.DataFrame:
    rows = [
        {"model_version": "2", "class_id": c, "split": "test", "ap50": ap, "n": 0 if ap is None else 20}
        for c, ap in ap50.items()
    ]
    rows.append({"model_version": "2", "class_id": None, "split": "test", "ap50": 0.8, "n": 60})
    return pl.DataFrame(rows, schema=DETECTOR_EVALUATION)


CANDIDATE = evaluation({0: 0.8, 1: 0.8, 2: 0.7})
"""Class 2 is new."""

GOOD = Comparison(
    known_classes=(0, 1),
    classes=(ClassComparison(0, 0.80, 0.79, 0.02, 12), ClassComparison(1, 0.80, 0.82, 0.30, 8)),
    macro_change=-0.005,
    macro_lower_bound=-0.03,
    candidate_f1=0.85,
    champion_f1=0.86,
    samples=1000,
)


def decision(
    candidate: pl.DataFrame = CANDIDATE,
    comparison: Comparison | None = GOOD,
    parity: ParityResult = GOOD_PARITY,
    leakage: frozenset[str] = frozenset(),
    rules: PromotionRules = RULES,
) -> Decision:
    return decide(candidate, comparison, parity, leakage, rules, test_enclosures=ENCLOSURES, names=NAMES)


def failed(decided: Decision) -> list[str]:
    return [reason[1] for reason in decided.reasons if ") failed" in reason]


def test_a_candidate_that_meets_every_criterion_is_promoted_and_each_is_named_with_figures() -> None:
    decided = decision()
    assert decided.promoted
    assert decided.provisional == []
    assert [reason[:11] for reason in decided.reasons] == [f"({letter}) passed:" for letter in "abcdefg"]
    assert all(any(sign.isdigit() for sign in reason) for reason in decided.reasons if "enclosure" not in reason)


@pytest.mark.parametrize("lower_bound", [-0.05, 0.90 - 0.95, -0.2])
def test_a_alone_fails_on_the_macro_bound(lower_bound: float) -> None:
    decided = decision(comparison=replace(GOOD, macro_lower_bound=lower_bound))
    assert not decided.promoted
    assert failed(decided) == ["a"]
    assert f"{lower_bound:+.3f}" in decided.reasons[0]


def test_a_alone_fails_when_no_known_class_can_be_measured() -> None:
    decided = decision(comparison=replace(GOOD, classes=(), macro_change=None, macro_lower_bound=None))
    assert failed(decided) == ["a"]


def test_b_alone_fails_on_a_probable_loss_of_one_class() -> None:
    # Two judgeable classes: the limit is 1 - 0.05 / 2 = 0.975.
    at_limit = (GOOD.classes[0], replace(GOOD.classes[1], loss_probability=0.975))
    decided = decision(comparison=replace(GOOD, classes=at_limit))
    assert failed(decided) == ["b"]
    assert "router falls by more than 0.05 with probability 0.975" in decided.reasons[1]
    below = (GOOD.classes[0], replace(GOOD.classes[1], loss_probability=0.974))
    assert decision(comparison=replace(GOOD, classes=below)).promoted


def test_b_leaves_out_classes_under_five_test_enclosures_and_shows_them() -> None:
    few = (GOOD.classes[0], replace(GOOD.classes[1], loss_probability=1.0, enclosures=4))
    decided = decide(
        CANDIDATE,
        replace(GOOD, classes=few),
        GOOD_PARITY,
        frozenset(),
        RULES,
        test_enclosures=ENCLOSURES | {1: 4},
        names=NAMES,
    )
    assert decided.promoted
    assert decided.reasons[-1] == "Not judgeable, fewer than 5 test enclosures: router (4)"


def test_a_passes_just_above_the_tolerance() -> None:
    assert decision(comparison=replace(GOOD, macro_lower_bound=-0.0499)).promoted


def test_b_counts_only_judgeable_classes_for_its_limit() -> None:
    # One judgeable class: the limit is 0.95, which two would make 0.975.
    few = (replace(GOOD.classes[0], loss_probability=0.95), replace(GOOD.classes[1], enclosures=4))
    assert failed(decision(comparison=replace(GOOD, classes=few))) == ["b"]
    assert decision(comparison=replace(GOOD, classes=(replace(few[0], loss_probability=0.949), few[1]))).promoted


@pytest.mark.parametrize(("before", "after"), [(0.90, 0.65), (0.80, 0.55), (0.60, 0.35), (0.95, 0.70)])
def test_c_passes_a_fall_of_just_the_limit(before: float, after: float) -> None:
    fallen = (GOOD.classes[0], ClassComparison(1, after, before, 0.5, 4))
    assert decision(comparison=replace(GOOD, classes=fallen)).promoted
    further = (GOOD.classes[0], ClassComparison(1, after - 0.001, before, 0.5, 4))
    assert failed(decision(comparison=replace(GOOD, classes=further))) == ["c"]


@pytest.mark.parametrize(("before", "after"), [(0.90, 0.85), (0.86, 0.81), (1.0, 0.95), (0.30, 0.25)])
def test_g_passes_a_fall_of_just_the_tolerance(before: float, after: float) -> None:
    assert decision(comparison=replace(GOOD, candidate_f1=after, champion_f1=before)).promoted
    assert failed(decision(comparison=replace(GOOD, candidate_f1=after - 0.001, champion_f1=before))) == ["g"]


def test_a_class_that_the_candidate_dropped_is_shown_as_not_judgeable_too() -> None:
    decided = decide(
        evaluation({0: 0.8}), GOOD, GOOD_PARITY, frozenset(), RULES, test_enclosures={0: 12, 1: 3}, names=NAMES
    )
    assert decided.reasons[-1] == "Not judgeable, fewer than 5 test enclosures: router (3)"


def test_what_cannot_be_used_is_refused_for_each_fault() -> None:
    decided = unusable(["its export cannot be opened", "its class map is not that of its export"])
    assert (decided.promoted, decided.provisional) == (False, [])
    assert decided.reasons == [
        "(files) failed: its export cannot be opened",
        "(files) failed: its class map is not that of its export",
    ]


def test_c_alone_fails_on_a_large_fall_of_any_class() -> None:
    fallen = (GOOD.classes[0], ClassComparison(1, 0.50, 0.80, 0.90, 4))
    decided = decision(comparison=replace(GOOD, classes=fallen))
    assert failed(decided) == ["c"]
    assert "AP50 of router goes from 0.800 to 0.500" in decided.reasons[2]


def test_d_alone_fails_on_a_new_class_under_its_floor() -> None:
    decided = decision(candidate=evaluation({0: 0.1, 1: 0.8, 2: 0.49}))
    assert failed(decided) == ["d"], "class 0 is known: the floor is for new ones"
    assert "battery 0.490" in decided.reasons[3]
    assert decision(candidate=evaluation({0: 0.8, 1: 0.8, 2: 0.50})).promoted


@pytest.mark.parametrize("parity", [ParityResult(994, 1000), ParityResult(0, 0)])
def test_e_alone_fails_on_parity_that_is_low_or_not_measured(parity: ParityResult) -> None:
    assert failed(decision(parity=parity)) == ["e"]
    assert decision(parity=ParityResult(995, 1000)).promoted


def test_f_alone_fails_on_a_test_enclosure_that_was_trained_on() -> None:
    decided = decision(leakage=frozenset({"CAB-7"}))
    assert failed(decided) == ["f"]
    assert "CAB-7" in decided.reasons[5]


def test_g_alone_fails_on_micro_f1() -> None:
    assert failed(decision(comparison=replace(GOOD, candidate_f1=0.80, champion_f1=0.86))) == ["g"]
    assert decision(comparison=replace(GOOD, candidate_f1=0.82, champion_f1=0.86)).promoted


def test_without_a_champion_only_d_to_f_apply_and_every_class_is_new() -> None:
    decided = decision(comparison=None)
    assert decided.promoted
    assert [reason[1] for reason in decided.reasons if "does not apply" in reason] == ["a", "b", "c", "g"]
    assert failed(decision(comparison=None, candidate=evaluation({0: 0.4, 1: 0.8, 2: 0.8}))) == ["d"]
    assert failed(decision(comparison=None, parity=ParityResult(0, 10), leakage=frozenset({"A"}))) == ["e", "f"]


def test_a_class_without_test_boxes_is_provisional_and_the_use_case_says_what_follows() -> None:
    candidate = evaluation({0: 0.8, 1: 0.8, 2: 0.7, 3: None})
    promoted = decision(candidate=candidate)
    assert promoted.promoted
    assert promoted.provisional == [3]
    assert "Provisional, without a test box: fan unit" in promoted.reasons[-1]
    refused = decision(candidate=candidate, rules=PromotionRules(provisional_classes="refuse"))
    assert not refused.promoted
    assert refused.provisional == [3]
    assert "fan unit" in refused.reasons[-1]
    assert "refuses" in refused.reasons[-1]
