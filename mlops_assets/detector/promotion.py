"""The decision whether a candidate becomes the champion, DESIGN §3 Promotion, (a) to (g), in words with figures.

Pure: every figure comes in, nothing is read or measured here.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

import polars as pl

from mlops_assets.detector.comparison import ClassComparison, Comparison
from mlops_assets.detector.parity import MIN_SHARE, ParityResult
from mlops_assets.use_case import PromotionRules

_SIGNIFICANCE = 0.05

_ROUNDING = 1e-9
"""A limit that is met exactly is met, whatever binary fractions make of 0.90 - 0.85."""


@dataclass(frozen=True)
class Decision:
    """What was decided, and why.

    Attributes:
        promoted: Whether the candidate becomes the champion.
        reasons: One sentence a criterion, passed ones too, and notes on classes that cannot be judged.
        provisional: Classes of the candidate without a test box.
    """

    promoted: bool
    reasons: list[str]
    provisional: list[int]


@dataclass(frozen=True)
class _Finding:
    """`passed` is None where the criterion does not apply, or for a note."""

    criterion: str
    passed: bool | None
    words: str

    def sentence(self) -> str:
        if not self.criterion:
            return self.words
        verdict = {True: "passed", False: "failed", None: "does not apply"}[self.passed]
        return f"({self.criterion}) {verdict}: {self.words}"


def decide(
    candidate: pl.DataFrame,
    comparison: Comparison | None,
    parity: ParityResult,
    leakage: Set[str],
    rules: PromotionRules,
    *,
    test_enclosures: Mapping[int, int],
    names: Mapping[int, str],
) -> Decision:
    """Decide by DESIGN §3: all of (a) to (g) must hold, without a champion (d) to (f).

    Args:
        candidate: Its rows of DETECTOR_EVALUATION on test.
        comparison: With the champion on the same snapshot; None without a champion.
        parity: Of the candidate's export.
        leakage: Test enclosures in the candidate's training manifest.
        rules: Tolerances of the use case.
        test_enclosures: Test enclosures with a box of each class, from `comparison.enclosures_by_class`.
        names: Display names for the reasons.
    """
    rows = candidate.filter(pl.col("class_id").is_not_null() & (pl.col("split") == "test")).sort("class_id")
    provisional = rows.filter(pl.col("n") == 0)["class_id"].to_list()
    measured = dict(rows.filter(pl.col("n") > 0).select("class_id", "ap50").iter_rows())
    known = set(comparison.known_classes) if comparison else set()
    findings = [
        *_against_champion(comparison, rules, names),
        _new_classes({c: ap for c, ap in measured.items() if c not in known}, rules, names),
        _parity(parity),
        _no_leakage(leakage),
        _micro_f1(comparison, rules),
        *_provisional_classes(provisional, rules, names),
        *_not_judgeable(sorted(known & test_enclosures.keys() | measured.keys()), test_enclosures, rules, names),
    ]
    return Decision(
        promoted=all(finding.passed is not False for finding in findings),
        reasons=[finding.sentence() for finding in findings],
        provisional=provisional,
    )


def unusable(faults: Sequence[str]) -> Decision:
    """Refuse a candidate that could not serve: of such a one nothing can be measured."""
    reasons = [_Finding("files", False, fault).sentence() for fault in faults]
    return Decision(promoted=False, reasons=reasons, provisional=[])


def _against_champion(
    comparison: Comparison | None, rules: PromotionRules, names: Mapping[int, str]
) -> Iterator[_Finding]:
    if comparison is None:
        yield from (_Finding(letter, None, "there is no champion yet") for letter in "abc")
        return
    yield _macro(comparison, rules)
    yield _significant_losses(comparison, rules, names)
    yield _large_falls(comparison, rules, names)


def _macro(comparison: Comparison, rules: PromotionRules) -> _Finding:
    if comparison.macro_lower_bound is None:
        return _Finding("a", False, "no class that the champion knows has a test box; label photos of test enclosures")
    return _Finding(
        "a",
        comparison.macro_lower_bound > -rules.tolerance + _ROUNDING,
        f"macro AP50 over {len(comparison.classes)} classes that the champion knows changes by "
        f"{comparison.macro_change:+.3f}, with 95 % confidence by {comparison.macro_lower_bound:+.3f} or better "
        f"(must be above {-rules.tolerance:+.3f})",
    )


def _significant_losses(comparison: Comparison, rules: PromotionRules, names: Mapping[int, str]) -> _Finding:
    judged = [c for c in comparison.classes if c.enclosures >= rules.min_test_enclosures]
    if not judged:
        return _Finding("b", True, f"no known class has {rules.min_test_enclosures} or more test enclosures")
    limit = 1 - _SIGNIFICANCE / len(judged)
    lost = [c for c in judged if c.loss_probability >= limit - _ROUNDING]
    worst = max(judged, key=lambda c: c.loss_probability)
    words = "; ".join(_loss_in_words(c, rules, names) for c in lost or [worst])
    return _Finding("b", not lost, f"{words} (must be below {limit:.3f} for each of {len(judged)} judgeable classes)")


def _loss_in_words(item: ClassComparison, rules: PromotionRules, names: Mapping[int, str]) -> str:
    return (
        f"{names[item.class_id]} falls by more than {rules.tolerance:.2f} with probability {item.loss_probability:.3f}"
    )


def _large_falls(comparison: Comparison, rules: PromotionRules, names: Mapping[int, str]) -> _Finding:
    if not comparison.classes:
        return _Finding("c", True, "no known class has a test box")
    fallen = [c for c in comparison.classes if -c.change > rules.max_class_fall + _ROUNDING]
    worst = min(comparison.classes, key=lambda c: c.change)
    words = "; ".join(
        f"AP50 of {names[c.class_id]} goes from {c.champion_ap50:.3f} to {c.candidate_ap50:.3f}"
        for c in fallen or [worst]
    )
    which = "" if fallen else "the least favourable change: "
    return _Finding("c", not fallen, f"{which}{words} (may fall by {rules.max_class_fall:.2f} at most)")


def _new_classes(measured: Mapping[int, float], rules: PromotionRules, names: Mapping[int, str]) -> _Finding:
    if not measured:
        return _Finding("d", None, "no new class with test boxes")
    passed = all(ap50 >= rules.floor_ap50 - _ROUNDING for ap50 in measured.values())
    words = ", ".join(f"{names[class_id]} {ap50:.3f}" for class_id, ap50 in measured.items())
    return _Finding("d", passed, f"AP50 of new classes: {words} (floor {rules.floor_ap50:.2f})")


def _parity(parity: ParityResult) -> _Finding:
    if parity.total == 0:
        return _Finding("e", False, "export parity could not be measured: nothing was detected on the test photos")
    words = f"{parity.matched} of {parity.total} detections agree between PyTorch and {parity.runtime}"
    return _Finding("e", parity.holds, f"{words}, {parity.share:.2%} (at least {MIN_SHARE:.1%})")


def _no_leakage(leakage: Set[str]) -> _Finding:
    if not leakage:
        return _Finding("f", True, "no test enclosure among those trained on")
    some = ", ".join(sorted(leakage)[:5])
    return _Finding("f", False, f"{len(leakage)} test enclosures were trained on, such as {some}; train again")


def _micro_f1(comparison: Comparison | None, rules: PromotionRules) -> _Finding:
    if comparison is None:
        return _Finding("g", None, "there is no champion yet")
    fall = comparison.champion_f1 - comparison.candidate_f1
    return _Finding(
        "g",
        fall <= rules.tolerance + _ROUNDING,
        f"micro F1 at stored thresholds goes from {comparison.champion_f1:.3f} to {comparison.candidate_f1:.3f} "
        f"(may fall by {rules.tolerance:.2f} at most)",
    )


def _provisional_classes(provisional: list[int], rules: PromotionRules, names: Mapping[int, str]) -> Iterator[_Finding]:
    if provisional:
        words = f"without a test box: {', '.join(names[c] for c in provisional)}; label photos of test enclosures"
        if rules.provisional_classes == "refuse":
            yield _Finding("provisional classes", False, f"{words} (the use case refuses provisional classes)")
        else:
            yield _Finding("", None, f"Provisional, {words}")


def _not_judgeable(
    shown: Sequence[int], enclosures: Mapping[int, int], rules: PromotionRules, names: Mapping[int, str]
) -> Iterator[_Finding]:
    few = {c: enclosures.get(c, 0) for c in shown if enclosures.get(c, 0) < rules.min_test_enclosures}
    if few:
        listed = ", ".join(f"{names[c]} ({count})" for c, count in few.items())
        yield _Finding("", None, f"Not judgeable, fewer than {rules.min_test_enclosures} test enclosures: {listed}")
