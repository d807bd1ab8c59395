"""Great Expectations as Dagster asset checks: a suite is plain data, a frame goes in, a check result comes out.

What a table must hold is declared beside its stage; only how it is judged and shown belongs here. A rule across
tables is an ordinary expectation on a frame prepared for it, for example one row a day with the columns `landed`
and `accounted_for`, expected to be equal.
"""

import datetime as dt
import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import dagster as dg
import polars as pl
import polars.selectors as cs

SAMPLE_ROWS = 5
"""Examples shown for a failed expectation."""

_WHOLE_TABLE = "expect_table_column"
"""Expectations on the set of columns itself, for which every column is needed."""


class ExpectationError(ValueError):
    """A suite cannot be applied to a frame: an unknown expectation, wrong arguments or a column that is not there."""


@dataclass(frozen=True)
class Expectation:
    """One expectation of a suite.

    Attributes:
        type: Great Expectations' name, such as `expect_column_values_to_be_between`.
        kwargs: Its arguments. Null values are passed over by Great Expectations unless the expectation is about
            them.
        words: What it means, for people who look at a failed check.
        severity: `error` fails the check, `warn` only warns.
        where: The rows that it is about, such as `pl.col("status") == "accepted"`; all rows if not given. It stands
            in for `row_condition`, whose strings Great Expectations has deprecated.
    """

    type: str
    kwargs: Mapping[str, Any]
    words: str
    severity: Literal["error", "warn"] = "error"
    where: pl.Expr | None = field(default=None, compare=False)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it judges, in the order of its arguments."""
        single = [self.kwargs[name] for name in ("column", "column_A", "column_B") if name in self.kwargs]
        return (*single, *self.kwargs.get("column_list", ()))


@dataclass(frozen=True)
class Suite:
    """What one table must hold; `key` names the columns by which a sample row is found again."""

    name: str
    expectations: tuple[Expectation, ...]
    key: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """How one expectation came out.

    Attributes:
        expectation: Great Expectations' name, or `no_nan` for the rule that every judged float column follows.
        column: The judged columns, comma separated; empty where the table itself is judged.
        severity: As declared.
        words: As declared.
        passed: Whether it held.
        checked: Rows looked at, after `where`.
        unexpected_count: Rows that break it; 0 where the table as a whole is judged.
        sample: Up to `SAMPLE_ROWS` such rows as `column=value`, key columns first, or the observed value.
    """

    expectation: str
    column: str
    severity: Literal["error", "warn"]
    words: str
    passed: bool
    checked: int
    unexpected_count: int
    sample: tuple[str, ...]


@dataclass(frozen=True)
class SuiteResult:
    """How a suite came out on a frame of `rows` rows."""

    suite: str
    rows: int
    outcomes: tuple[Outcome, ...]

    @property
    def failures(self) -> tuple[Outcome, ...]:
        """What did not hold, errors before warnings."""
        return tuple(sorted((o for o in self.outcomes if not o.passed), key=lambda outcome: outcome.severity))

    @property
    def passed(self) -> bool:
        """Whether everything held, warnings too."""
        return not self.failures

    @property
    def has_errors(self) -> bool:
        """Whether anything of severity `error` failed."""
        return any(outcome.severity == "error" for outcome in self.failures)

    @property
    def markdown(self) -> str:
        """A table of all expectations, failed ones first."""
        held = [outcome for outcome in self.outcomes if outcome.passed]
        lines = ["| | expectation | column | wrong | of | examples |", "| --- | --- | --- | ---: | ---: | --- |"]
        return "\n".join(lines + [_markdown_row(outcome) for outcome in (*self.failures, *held)])


def validate(frame: pl.DataFrame, suite: Suite) -> SuiteResult:
    """Judge a frame by a suite.

    Only the columns that the suite names become pandas (nulls stay nulls, integers stay integers, dates become
    midnight times, lists become tuples, structs JSON). Great Expectations takes a float NaN for a missing value,
    which would let it through every range, so a NaN in a judged float column fails as `no_nan`.

    Args:
        frame: Any frame, also one without rows.
        suite: What it must hold.

    Raises:
        ExpectationError: The suite names a column that the frame lacks or an expectation that does not exist, or
            an expectation could not be computed (wrong type of column or argument).
    """
    _refuse_unfit(frame, suite)
    groups: dict[str, list[Expectation]] = {}
    for expectation in suite.expectations:
        groups.setdefault(str(expectation.where), []).append(expectation)
    judged = {
        id(expectation): outcome
        for group in groups.values()
        for expectation, outcome in zip(group, _judge(frame, group, suite), strict=True)
    }
    outcomes = [judged[id(expectation)] for expectation in suite.expectations]
    return SuiteResult(suite.name, frame.height, (*outcomes, *_nan_outcomes(frame, suite)))


def to_check_result(
    result: SuiteResult, asset_key: dg.AssetKey | None = None, check_name: str | None = None
) -> dg.AssetCheckResult:
    """The result as Dagster shows it: failed with severity WARN if nothing worse than warnings failed.

    Args:
        result: What `validate` gave.
        asset_key: Needed where several checks are yielded from one function.
        check_name: Likewise.
    """
    failures = result.failures
    if failures:
        worst = failures[0]
        count = f" ({worst.unexpected_count} of {worst.checked} rows)" if worst.unexpected_count else ""
        description = f"{len(failures)} of {len(result.outcomes)} expectations failed, first: {worst.words}{count}"
    else:
        description = f"all {len(result.outcomes)} expectations held on {result.rows} rows"
    return dg.AssetCheckResult(
        passed=result.passed,
        asset_key=asset_key,
        check_name=check_name,
        severity=dg.AssetCheckSeverity.ERROR if result.has_errors or not failures else dg.AssetCheckSeverity.WARN,
        description=description,
        metadata={
            "expectations": dg.MetadataValue.md(result.markdown),
            "expectations_checked": len(result.outcomes),
            "expectations_failed": len(failures),
            "rows": result.rows,
            "unexpected": sum(outcome.unexpected_count for outcome in failures),
        },
    )


def _refuse_unfit(frame: pl.DataFrame, suite: Suite) -> None:
    """What Great Expectations would answer late, wrongly or not at all."""
    looked_for = [c for e in suite.expectations if e.type != "expect_column_to_exist" for c in e.columns]
    missing = dict.fromkeys(column for column in (*suite.key, *looked_for) if column not in frame.columns)
    if missing:
        raise ExpectationError(
            f"Suite {suite.name!r} names columns that the frame lacks: {', '.join(missing)}; "
            f"it has {', '.join(frame.columns) or 'none'}. Correct the suite, or prepare the column first"
        )
    for expectation in suite.expectations:
        if "row_condition" in expectation.kwargs:
            raise ExpectationError(f"{expectation.type} of suite {suite.name!r}: give `where`, not row_condition")
        if expectation.type.startswith("expect_column_value_lengths") and any(
            isinstance(frame.schema[column], pl.List | pl.Array) for column in expectation.columns
        ):
            # It would measure the list's text.
            raise ExpectationError(
                f"{expectation.type} of suite {suite.name!r} measures text only: prepare a column with list.len()"
            )


def _judge(frame: pl.DataFrame, group: list[Expectation], suite: Suite) -> list[Outcome]:
    """Judge expectations that are about the same rows."""
    import great_expectations as gx

    rows = frame if group[0].where is None else frame.filter(group[0].where)
    expectations = [_to_gx(expectation, index) for index, expectation in enumerate(group)]
    validation = _gx_batch(rows.select(_needed_columns(rows, group, suite.key))).validate(
        gx.ExpectationSuite(name=suite.name, expectations=expectations),
        result_format={
            "result_format": "SUMMARY",
            "partial_unexpected_count": SAMPLE_ROWS,
            "unexpected_index_column_names": list(suite.key),
        },
    )
    results = {result.expectation_config.meta["index"]: result for result in validation.results}
    return [_outcome(expectation, results[index], suite, rows) for index, expectation in enumerate(group)]


def _needed_columns(frame: pl.DataFrame, group: list[Expectation], key: tuple[str, ...]) -> list[str]:
    if any(expectation.type.startswith(_WHOLE_TABLE) for expectation in group):
        return frame.columns
    needed = {*key, *(column for expectation in group for column in expectation.columns)}
    # A suite may only count rows: one column stands for them then.
    return [column for column in frame.columns if column in needed] or frame.columns[:1]


def _to_gx(expectation: Expectation, index: int) -> Any:
    import great_expectations as gx
    from pydantic.v1 import ValidationError

    known = {name.lower(): name for name in dir(gx.expectations) if name.startswith("Expect")}
    name = known.get(expectation.type.replace("_", ""))
    if name is None:
        close = difflib.get_close_matches(expectation.type.replace("_", ""), known, n=1)
        hint = f"; the nearest is {known[close[0]]}" if close else ""
        raise ExpectationError(f"Great Expectations {gx.__version__} has no {expectation.type!r}{hint}")
    kwargs = {key: _midnight(value) for key, value in expectation.kwargs.items()}
    severity = {"error": "critical", "warn": "warning"}[expectation.severity]
    try:
        return getattr(gx.expectations, name)(**kwargs, severity=severity, meta={"index": index})
    except ValidationError as error:
        raise ExpectationError(f"{expectation.type} ({expectation.words}) has wrong arguments: {error}") from error


def _midnight(value: Any) -> Any:
    """Dates as times, as the frame's own dates are: pandas compares no date with a column of times."""
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return dt.datetime.combine(value, dt.time())
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(_midnight(item) for item in value)
    return value


def _gx_batch(frame: pl.DataFrame) -> Any:
    """The frame in a context of its own, so that nothing outlives a validation."""
    import great_expectations as gx
    from great_expectations.data_context.types import base

    # A context of its own makes a temporary folder for a documentation site that nobody reads.
    stores = base.InMemoryStoreBackendDefaults(init_temp_docs_sites=False)
    config = base.DataContextConfig(
        store_backend_defaults=stores,
        analytics_enabled=False,
        progress_bars=base.ProgressBarsConfig(globally=False),
    )
    context = gx.get_context(project_config=config, mode="ephemeral")
    asset = context.data_sources.add_pandas("polars").add_dataframe_asset("frame")
    return asset.add_batch_definition_whole_dataframe("whole").get_batch({"dataframe": _to_pandas(frame)})


def _to_pandas(frame: pl.DataFrame) -> Any:
    import pandas as pd

    # pandas' own integers and booleans cannot be null: they would turn into floats and objects.
    integers = ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")
    nullable = {"bool": pd.BooleanDtype()} | {name.lower(): getattr(pd, f"{name}Dtype")() for name in integers}
    structs = [pl.col(name) for name, dtype in frame.schema.items() if isinstance(dtype, pl.Struct)]
    flat = frame.with_columns(
        *[pl.when(struct.is_not_null()).then(struct.struct.json_encode()) for struct in structs],
        cs.by_dtype(pl.Categorical, pl.Enum).cast(pl.String),
    )
    table = flat.to_pandas(types_mapper=lambda arrow: nullable.get(str(arrow)), date_as_object=False)
    for name, dtype in flat.schema.items():
        if isinstance(dtype, pl.List | pl.Array):  # arrays cannot be hashed, so neither counted nor compared
            table[name] = pd.Series([_as_tuple(value) for value in flat[name].to_list()], dtype=object)
    return table


def _as_tuple(value: Any) -> Any:
    return tuple(_as_tuple(item) for item in value) if isinstance(value, list) else value


def _outcome(expectation: Expectation, result: Any, suite: Suite, frame: pl.DataFrame) -> Outcome:
    if reason := _exception_message(result.exception_info):
        raise ExpectationError(
            f"{expectation.type} ({expectation.words}) on {', '.join(expectation.columns) or 'the table'} "
            f"of suite {suite.name!r} could not be computed: {reason}"
        )
    detail = result.to_json_dict()["result"]
    # Without a key, Great Expectations gives row numbers for rows; the values say more.
    rows = detail.get("partial_unexpected_index_list") if suite.key else None
    sample = [_row_text(row, suite.key, frame.schema) for row in rows or []]
    if not sample and not result.success:
        sample = [_value_text(value) for value in detail.get("partial_unexpected_list") or []] or _observed(detail)
    return Outcome(
        expectation=expectation.type,
        column=", ".join(expectation.columns),
        severity=expectation.severity,
        words=expectation.words,
        passed=bool(result.success),
        checked=detail.get("element_count", frame.height),
        unexpected_count=detail.get("unexpected_count", 0),
        sample=tuple(sample),
    )


def _exception_message(info: Mapping[str, Any]) -> str | None:
    """Great Expectations gives one exception, or one a metric."""
    found = [info] if "raised_exception" in info else [each for each in info.values() if isinstance(each, Mapping)]
    messages = [str(each["exception_message"]) for each in found if each["raised_exception"]]
    return "; ".join(messages) or None


def _observed(detail: Mapping[str, Any]) -> list[str]:
    if "observed_value" not in detail:
        return []
    observed = [f"observed {_value_text(detail['observed_value'])}"]
    return observed + ([json.dumps(detail["details"], default=str)] if detail.get("details") else [])


def _nan_outcomes(frame: pl.DataFrame, suite: Suite) -> Iterable[Outcome]:
    judged = {column for expectation in suite.expectations for column in expectation.columns}
    for name in frame.select(cs.float()).columns:
        if name not in judged or not (bad := frame.filter(pl.col(name).is_nan())).height:
            continue
        rows = bad.select(*suite.key, *([] if name in suite.key else [name])).head(SAMPLE_ROWS)
        yield Outcome(
            expectation="no_nan",
            column=name,
            severity="error",
            words=f"{name} is a number or null, never NaN",
            passed=False,
            checked=frame.height,
            unexpected_count=bad.height,
            sample=tuple(_row_text(row, suite.key, frame.schema) for row in rows.to_dicts()),
        )


def _row_text(row: Mapping[str, Any], key: tuple[str, ...], schema: Mapping[str, pl.DataType]) -> str:
    names = [*key, *(name for name in row if name not in key)]
    return ", ".join(f"{name}={_value_text(row[name], schema.get(name))}" for name in names)


def _value_text(value: Any, dtype: pl.DataType | None = None) -> str:
    text = "null" if value is None else str(value)
    return text.removesuffix("T00:00:00") if dtype == pl.Date() else text


def _markdown_row(outcome: Outcome) -> str:
    mark = "held" if outcome.passed else {"error": "**failed**", "warn": "warns"}[outcome.severity]
    examples = "" if outcome.passed else "; ".join(outcome.sample)
    cells = (mark, outcome.words, outcome.column, outcome.unexpected_count, outcome.checked, examples)
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
