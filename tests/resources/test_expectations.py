"""Real validations by Great Expectations; it is imported once a process, which takes seconds."""

import datetime as dt
import gc
import warnings

import dagster as dg
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.expectations import Expectation, ExpectationError, Suite, SuiteResult, to_check_result, validate

UTC = dt.UTC
FRAME = pl.DataFrame(
    {
        "photo_id": ["p1", "p2", "p3", "p4"],
        "status": ["accepted", "duplicate", "accepted", None],
        "width": [640, None, 2**60 + 1, 640],
        "confidence": [0.2, None, 0.9, 1.5],
        "day": [dt.date(2026, 1, 1), None, dt.date(2026, 2, 1), dt.date(2026, 3, 1)],
        "taken": [dt.datetime(2026, 1, 1, 12, tzinfo=UTC), None, dt.datetime(2026, 2, 1, tzinfo=UTC), None],
        "labels": [["a"], [], None, ["a", "b"]],
        "box": [{"x": 1}, {"x": 2}, None, {"x": 1}],
        "sharp": [True, None, False, True],
    },
    schema_overrides={"width": pl.Int64, "status": pl.Categorical},
)


def one(kind: str, severity: str = "error", key: tuple[str, ...] = ("photo_id",), **kwargs: object) -> Suite:
    return Suite("one", (Expectation(kind, kwargs, "in words", severity),), key)  # type: ignore[arg-type]


def failing(frame: pl.DataFrame, kind: str, **kwargs: object) -> tuple[int, tuple[str, ...]]:
    result = validate(frame, one(kind, **kwargs))  # type: ignore[arg-type]
    return (result.failures[0].unexpected_count, result.failures[0].sample) if result.failures else (0, ())


@pytest.mark.parametrize(
    ("kind", "kwargs", "count", "sample"),
    [
        ("expect_column_values_to_not_be_null", {"column": "width"}, 1, "photo_id=p2, width=null"),
        ("expect_column_values_to_be_unique", {"column": "width"}, 2, "photo_id=p1, width=640"),
        ("expect_column_values_to_be_in_set", {"column": "width", "value_set": [640]}, 1, f"width={2**60 + 1}"),
        ("expect_column_values_to_be_in_set", {"column": "status", "value_set": ["accepted"]}, 1, "status=duplicate"),
        ("expect_column_values_to_be_in_set", {"column": "sharp", "value_set": [True]}, 1, "photo_id=p3, sharp=False"),
        ("expect_column_values_to_be_between", {"column": "confidence", "min_value": 0, "max_value": 1}, 1, "=1.5"),
        ("expect_column_values_to_be_between", {"column": "day", "min_value": dt.date(2026, 2, 1)}, 1, "=2026-01-01"),
        ("expect_column_values_to_be_in_set", {"column": "day", "value_set": [dt.date(2026, 1, 1)]}, 2, "=2026-02-01"),
        ("expect_column_max_to_be_between", {"column": "day", "max_value": dt.date(2026, 2, 1)}, 0, "observed"),
        (
            "expect_column_values_to_be_between",
            {"column": "taken", "min_value": dt.datetime(2026, 1, 15, tzinfo=UTC)},
            1,
            "taken=2026-01-01T12:00:00+00:00",
        ),
        ("expect_column_values_to_be_in_set", {"column": "labels", "value_set": [("a",)]}, 2, "photo_id=p2, labels="),
        ("expect_column_value_lengths_to_equal", {"column": "photo_id", "value": 3}, 4, "photo_id=p1"),
        ("expect_column_values_to_be_unique", {"column": "box"}, 2, 'photo_id=p1, box={"x":1}'),
        ("expect_compound_columns_to_be_unique", {"column_list": ["status", "sharp"]}, 0, None),
        ("expect_column_pair_values_to_be_equal", {"column_A": "width", "column_B": "confidence"}, 3, "photo_id=p1"),
        ("expect_table_row_count_to_equal", {"value": 5}, 0, "observed 4"),
        ("expect_column_to_exist", {"column": "nowhere"}, 0, None),
    ],
)
def test_expectation_names_the_rows_that_break_it(kind: str, kwargs: dict, count: int, sample: str | None) -> None:
    result = validate(FRAME, one(kind, **kwargs))
    (outcome,) = result.outcomes
    assert outcome.unexpected_count == count
    if sample is not None:
        assert not result.passed
        assert any(sample in text for text in outcome.sample), outcome.sample


def test_where_narrows_an_expectation_to_its_rows() -> None:
    accepted = pl.col("status") == "accepted"
    expectations = (
        Expectation("expect_column_values_to_be_in_set", {"column": "width", "value_set": [1]}, "a", where=accepted),
        Expectation("expect_column_values_to_be_in_set", {"column": "width", "value_set": [1]}, "b"),
        Expectation("expect_table_row_count_to_equal", {"value": 2}, "c", where=accepted),
    )
    a, b, c = validate(FRAME, Suite("narrow", expectations, ("photo_id",))).outcomes
    assert [(o.words, o.checked, o.unexpected_count, o.passed) for o in (a, b, c)] == [
        ("a", 2, 2, False),
        ("b", 4, 3, False),
        ("c", 2, 0, True),
    ]
    assert a.sample[0] == "photo_id=p1, width=640"


@pytest.mark.parametrize("frame", [FRAME.clear(), FRAME.with_columns(pl.exclude("photo_id", "box").map_batches(
    lambda column: pl.Series(column.name, [None] * len(column), dtype=column.dtype)
))], ids=["no rows", "all null"])  # fmt: skip
@pytest.mark.parametrize("column", ["status", "width", "confidence", "day", "taken", "labels", "sharp", "box"])
def test_frame_without_values_breaks_no_rule_on_values(frame: pl.DataFrame, column: str) -> None:
    kinds = ("expect_column_values_to_be_in_set", "expect_column_values_to_be_unique")
    expectations = [
        Expectation(kinds[0], {"column": column, "value_set": []}, "in a set"),
        Expectation(kinds[1], {"column": column}, "unique"),
    ]
    if column == "box":
        frame = frame.clear()
    assert validate(frame, Suite("values", tuple(expectations))).passed


def test_frame_without_rows_fails_a_row_count() -> None:
    assert not validate(FRAME.clear(), one("expect_table_row_count_to_be_between", key=(), min_value=1)).passed


def test_nan_fails_although_great_expectations_takes_it_for_missing() -> None:
    frame = pl.DataFrame({"photo_id": ["p1", "p2"], "confidence": [0.5, float("nan")]})
    result = validate(frame, one("expect_column_values_to_be_between", column="confidence", min_value=0, max_value=1))
    (failure,) = result.failures
    assert (failure.expectation, failure.unexpected_count, failure.sample) == (
        "no_nan",
        1,
        ("photo_id=p2, confidence=nan",),
    )


def test_rule_across_tables_is_an_expectation_on_a_prepared_frame() -> None:
    landed = pl.DataFrame({"day": ["d1", "d2"], "landed": [3, 2]})
    rows = pl.DataFrame(
        {"day": ["d1", "d1", "d1", "d2"], "status": ["accepted", "duplicate", "quarantined", "accepted"]}
    )
    prepared = landed.join(rows.group_by("day").len("accounted_for"), on="day", how="left").sort("day")
    suite = Suite(
        "conservation",
        (
            Expectation(
                "expect_column_pair_values_to_be_equal",
                {"column_A": "landed", "column_B": "accounted_for", "ignore_row_if": "neither"},
                "landed = accepted + duplicate + quarantined + erased",
            ),
        ),
        key=("day",),
    )
    (failure,) = validate(prepared, suite).failures
    assert (failure.unexpected_count, failure.sample) == (1, ("day=d2, landed=2, accounted_for=1",))


def test_column_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(ExpectationError, match=r"lacks: nowhere; it has photo_id, status"):
        validate(FRAME, one("expect_column_values_to_be_unique", column="nowhere"))


def test_misspelt_expectation_is_answered_with_the_nearest() -> None:
    with pytest.raises(ExpectationError, match="ExpectColumnValuesToBeUnique"):
        validate(FRAME, one("expect_column_values_to_be_uniqe", column="width"))


def test_wrong_argument_is_an_error_of_the_suite_not_of_the_data() -> None:
    with pytest.raises(ExpectationError, match="wrong arguments"):
        validate(FRAME, one("expect_column_values_to_be_between", column="width", min_value="many"))


def test_expectation_that_cannot_be_computed_is_an_error_of_the_suite_not_of_the_data() -> None:
    with pytest.raises(ExpectationError, match=r"on photo_id of suite 'one' could not be computed"):
        validate(FRAME, one("expect_column_values_to_be_between", column="photo_id", min_value=3))


def test_what_great_expectations_would_judge_wrongly_is_refused() -> None:
    with pytest.raises(ExpectationError, match="give `where`"):
        validate(FRAME, one("expect_column_values_to_be_unique", column="width", row_condition="status == 'x'"))
    with pytest.raises(ExpectationError, match=r"prepare a column with list.len()"):
        validate(FRAME, one("expect_column_value_lengths_to_be_between", column="labels", min_value=1))


def mixed(frame: pl.DataFrame = FRAME) -> SuiteResult:
    expectations = (
        Expectation("expect_column_values_to_be_unique", {"column": "photo_id"}, "a photo | once"),
        Expectation("expect_column_values_to_not_be_null", {"column": "day"}, "day known", "warn"),
        Expectation("expect_column_values_to_not_be_null", {"column": "width"}, "width known"),
    )
    return validate(frame, Suite("mixed", expectations, ("photo_id",)))


def test_markdown_shows_errors_then_warnings_then_the_rest() -> None:
    rows = mixed().markdown.splitlines()[2:]
    assert [row.split(" | ")[:2] for row in rows] == [
        ["| **failed**", "width known"],
        ["| warns", "day known"],
        ["| held", "a photo \\| once"],
    ]
    assert rows[0] == "| **failed** | width known | width | 1 | 4 | photo_id=p2, width=null |"


def test_check_result_fails_with_the_worst_severity() -> None:
    check = to_check_result(mixed(), dg.AssetKey(["uc", "raw_photos"]), "rules")
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert check.description == "2 of 3 expectations failed, first: width known (1 of 4 rows)"
    assert check.metadata["expectations_failed"].value == 2
    warned = to_check_result(mixed(FRAME.with_columns(width=pl.lit(1))))
    assert (warned.passed, warned.severity) == (False, dg.AssetCheckSeverity.WARN)
    held = to_check_result(mixed(FRAME.filter(pl.col("width").is_not_null())))
    assert (held.passed, held.metadata["rows"].value) == (True, 3)


def test_blocking_check_lets_warnings_pass() -> None:
    @dg.asset(check_specs=[dg.AssetCheckSpec("rules", asset="table", blocking=True)])
    def table() -> dg.MaterializeResult:
        return dg.MaterializeResult(check_results=[to_check_result(mixed(FRAME.with_columns(width=pl.lit(1))))])

    @dg.asset(deps=[table])
    def follower() -> None:
        """Runs only if no blocking check failed."""

    result = dg.materialize([table, follower])
    assert result.asset_materializations_for_node("follower")
    assert not result.get_asset_check_evaluations()[0].passed


def test_repeated_validations_keep_nothing() -> None:
    from pandas import DataFrame

    def alive() -> int:
        gc.collect()
        return sum(isinstance(thing, DataFrame) for thing in gc.get_objects())

    mixed()
    before = alive()
    for _ in range(10):
        mixed()
    assert alive() <= before


def test_validation_prints_and_warns_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mixed()
    assert capfd.readouterr() == ("", "")


@settings(max_examples=15, deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(-5, 5)), max_size=8))
def test_counts_agree_with_polars(values: list[int | None]) -> None:
    frame = pl.DataFrame({"n": values}, schema={"n": pl.Int32})
    suite = Suite(
        "counts",
        (
            Expectation("expect_column_values_to_not_be_null", {"column": "n"}, "known"),
            Expectation("expect_column_values_to_be_between", {"column": "n", "min_value": 0}, "not negative"),
            Expectation("expect_column_values_to_be_unique", {"column": "n"}, "once"),
        ),
    )
    expected = frame.select(
        pl.col("n").null_count().alias("null"),
        (pl.col("n") < 0).sum().alias("negative"),
        (pl.col("n").is_duplicated() & pl.col("n").is_not_null()).sum().alias("repeated"),
    ).row(0)
    assert tuple(outcome.unexpected_count for outcome in validate(frame, suite).outcomes) == expected
