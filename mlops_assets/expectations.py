"""Expectations that several tables share; what one table alone must hold stands in its stage's `checks.py`."""

from collections.abc import Sequence

from mlops_assets.boxes import BOX_COLUMNS
from resources.expectations import Expectation

BOX_EDGES = ("left", "top", "right", "bottom")
TOLERANCE = 1e-6
"""Rounding left by centre and size in floating point, in shares of the photo."""


def not_null(*columns: str) -> tuple[Expectation, ...]:
    """Columns that always have a value."""
    return tuple(
        Expectation("expect_column_values_to_not_be_null", {"column": column}, f"{column} is always given")
        for column in columns
    )


def one_of(column: str, values: Sequence[str]) -> Expectation:
    """A column with a fixed vocabulary."""
    return Expectation(
        "expect_column_values_to_be_in_set",
        {"column": column, "value_set": list(values)},
        f"{column} is one of {', '.join(values)}",
    )


def unique(*columns: str) -> Expectation:
    """A key."""
    if len(columns) == 1:
        return Expectation("expect_column_values_to_be_unique", {"column": columns[0]}, f"{columns[0]} occurs once")
    return Expectation(
        "expect_compound_columns_to_be_unique", {"column_list": list(columns)}, f"({', '.join(columns)}) occurs once"
    )


def between(column: str, low: float | None, high: float | None, words: str) -> Expectation:
    """A range, both ends included."""
    return Expectation(
        "expect_column_values_to_be_between", {"column": column, "min_value": low, "max_value": high}, words
    )


def true(column: str, words: str) -> Expectation:
    """A condition computed into a column of the frame that is checked."""
    return Expectation("expect_column_values_to_be_in_set", {"column": column, "value_set": [True]}, words)


def boxes_inside() -> tuple[Expectation, ...]:
    """Boxes with an area, inside the photo; for frames made by `with_edges`."""
    return (
        *(between(edge, -TOLERANCE, 1 + TOLERANCE, f"the {edge} edge lies inside the photo") for edge in BOX_EDGES),
        *(between(size, TOLERANCE, 1 + TOLERANCE, f"{size} is above 0") for size in BOX_COLUMNS[2:]),
    )
