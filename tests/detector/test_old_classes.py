import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from mlops_assets.detector.checks import CHECKS
from mlops_assets.detector.old_classes import old_class_change
from mlops_assets.detector.schema import DETECTOR_EVALUATION, DETECTOR_WEIGHTS, OLD_CLASS_CHANGE
from mlops_assets.labels.schema import EQUIPMENT_CLASSES
from mlops_assets.table_checks import CheckInputs
from mlops_assets.tables import SCHEMAS
from mlops_assets.use_case import UseCase
from resources.expectations import to_check_result, validate
from resources.photo_store import PhotoStore
from resources.tables import Tables

NAMES = {0: "splitter", 1: "router", 2: "battery", 3: "meter"}
CASE = UseCase(name="cabinets", title="Cabinets", start=dt.date(2026, 10, 1))


def evaluation(**by_version: dict[int, float | None]) -> pl.DataFrame:
    """DETECTOR_EVALUATION with AP50 by class, of versions v1, v2 …; figures on val that must not be taken."""
    rows = [
        {"model_version": version[1:], "class_id": class_id, "split": split, "ap50": ap50 if split == "test" else 0.5}
        | {"n": 4 if ap50 is not None else 0}
        for version, classes in by_version.items()
        for class_id, ap50 in [*classes.items(), (None, 0.7)]
        for split in ("val", "test")
    ]
    return pl.DataFrame(rows, schema=DETECTOR_EVALUATION)


def test_old_classes_are_told_apart_from_new_ones_and_the_worst_is_named() -> None:
    change = old_class_change(evaluation(v2={0: 0.8, 1: 0.7, 3: 0.9}, v1={0: 0.7, 1: 0.9}), "2")
    assert change.table.schema == OLD_CLASS_CHANGE
    assert change.table.select("class_id", "old", "n").rows() == [(0, True, 4), (1, True, 4), (3, False, 4)]
    assert change.macro == pytest.approx(-0.05)
    assert change.worst == (1, pytest.approx(-0.2))
    assert change.figures() == {
        "old_classes_ap50_change": pytest.approx(-0.05),
        "worst_old_class_ap50_change": pytest.approx(-0.2),
        "new_classes_ap50": 0.9,
    }
    assert change.markdown(NAMES).splitlines() == [
        "Macro AP50 of 2 classes that the champion knows: -0.050; the worst is router: -0.200",
        "",
        "| class | AP50 before | after | change | test boxes |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| router | 0.900 | 0.700 | -0.200 | 4 |",
        "| splitter | 0.700 | 0.800 | 0.100 | 4 |",
        "| meter | new | 0.900 | - | 4 |",
    ]


def test_a_class_that_the_candidate_does_not_know_any_more_counts_as_never_found() -> None:
    change = old_class_change(evaluation(v2={0: 0.8}, v1={0: 0.8, 2: 0.6}), "2")
    assert change.worst == (2, pytest.approx(-0.6))
    assert change.macro == pytest.approx(-0.3)


def test_classes_without_a_test_box_count_for_nothing() -> None:
    change = old_class_change(evaluation(v2={0: 0.8, 1: None, 3: None}, v1={0: 0.8, 1: None, 2: None}), "2")
    assert (change.macro, change.new_macro) == (0.0, None)
    assert change.figures() == {"old_classes_ap50_change": 0.0, "worst_old_class_ap50_change": 0.0}
    none = old_class_change(evaluation(v2={1: None}, v1={1: None}), "2")
    assert none.figures() == {}
    assert none.sentence(NAMES) == "No class that the champion knows has a test box"


def test_without_a_champion_there_is_nothing_to_compare() -> None:
    first = old_class_change(evaluation(v1={0: 0.8}), "1")
    assert first.table.is_empty()
    assert first.figures() == {}
    assert first.markdown(NAMES) == "No champion to compare with"


def test_more_than_two_models_are_refused() -> None:
    with pytest.raises(ValueError, match="versions 1, 2 beside the candidate 3"):
        old_class_change(evaluation(v1={0: 0.8}, v2={0: 0.8}, v3={0: 0.8}), "3")


@pytest.mark.parametrize(
    ("champion", "candidate", "passes"),
    [
        ({0: 0.9, 1: 0.9}, {0: 0.9, 1: 0.87, 3: 0.1}, True),
        ({0: 0.9, 1: 0.9}, {0: 0.9, 1: 0.85, 3: 1.0}, False),
        (None, {0: 0.1}, True),
    ],
)
def test_the_check_warns_of_old_classes_that_fell_and_stops_nothing(
    champion: dict[int, float] | None, candidate: dict[int, float], passes: bool, tmp_path: Path
) -> None:
    tables, store = Tables(root=str(tmp_path)), PhotoStore(landing=str(tmp_path), root=str(tmp_path))
    weights = pl.DataFrame([{"model_version": "2"}], schema=DETECTOR_WEIGHTS)
    tables.write("detector_weights", weights, DETECTOR_WEIGHTS)
    known = pl.DataFrame([{"class_id": i, "class_name": n} for i, n in NAMES.items()], schema=EQUIPMENT_CLASSES)
    tables.write("equipment_classes", known, EQUIPMENT_CLASSES)
    (check,) = [check for check in CHECKS if check.suite.name == "old_classes"]
    versions = {"v2": candidate} | ({"v1": champion} if champion else {})
    inputs = CheckInputs(evaluation(**versions), tables, store, "", SCHEMAS, CASE)  # type: ignore[arg-type]
    result = to_check_result(validate(check.frame(inputs), check.suite))
    assert result.passed is passes
    assert not check.blocking
    if not passes:
        assert result.severity.name == "WARN"
        assert "the worst is router: -0.050" in str(result.metadata["expectations"].value)
