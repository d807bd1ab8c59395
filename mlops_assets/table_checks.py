"""From a stage's suites to Dagster asset checks: one step an asset, so that Great Expectations starts once for it.

What a table must hold stands in each stage's `checks.py`; how expectations are judged in `resources/expectations.py`.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import dagster as dg
import polars as pl

from mlops_assets.compute import CPU_CHECK
from mlops_assets.partitions import days_of
from mlops_assets.use_case import UseCase
from resources.expectations import Suite, to_check_result, validate
from resources.photo_store import PhotoStore
from resources.tables import Schemas, Tables


@dataclass(frozen=True)
class CheckInputs:
    """What a check may look at: the table just written, its day if it has one, what stands beside it, settings."""

    table: pl.DataFrame
    tables: Tables
    photo_store: PhotoStore
    day: str
    schemas: Schemas
    use_case: UseCase

    def other(self, name: str, *, same_day: bool = False) -> pl.DataFrame:
        """Another table by name."""
        return self.tables.read(name, self.schemas[name], self.day if same_day else None)


@dataclass(frozen=True)
class TableCheck:
    """One check: a suite on a frame prepared from the table."""

    asset: str
    suite: Suite
    description: str
    daily: bool = False
    blocking: bool = True
    frame: Callable[[CheckInputs], pl.DataFrame] = lambda inputs: inputs.table


def build_checks(checks: Sequence[TableCheck], use_case: UseCase, schemas: Schemas) -> list[dg.AssetChecksDefinition]:
    """The checks of one use case; those of one asset run in one step."""
    return [
        _checks_of(asset, list(group), use_case, schemas)
        for asset, group in groupby(checks, key=lambda check: check.asset)
    ]


def _checks_of(asset: str, checks: list[TableCheck], use_case: UseCase, schemas: Schemas) -> dg.AssetChecksDefinition:
    key = dg.AssetKey([use_case.name, asset])
    daily = checks[0].daily
    with warnings.catch_warnings():
        # Checks by day are in preview; without them one bad day would block every good one.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        specs = _specs(key, checks, days_of(use_case) if daily else None)

    @dg.multi_asset_check(name=f"{use_case.name}__{asset}__checks", specs=specs, op_tags=CPU_CHECK)
    def run_checks(
        context: dg.AssetCheckExecutionContext, tables: Tables, photo_store: PhotoStore
    ) -> Iterator[dg.AssetCheckResult]:
        day = context.op_execution_context.partition_key if daily else ""
        table = tables.read(asset, schemas[asset], day or None)
        inputs = CheckInputs(table, tables, photo_store, day, schemas, use_case)
        for check in checks:
            yield to_check_result(validate(check.frame(inputs), check.suite), key, check.suite.name)

    return run_checks


def _specs(
    key: dg.AssetKey, checks: list[TableCheck], days: dg.PartitionsDefinition[str] | None
) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(
            check.suite.name,
            asset=key,
            description=check.description,
            blocking=check.blocking,
            partitions_def=days,
        )
        for check in checks
    ]
