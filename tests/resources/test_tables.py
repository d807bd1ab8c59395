import datetime as dt
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from resources.tables import CODE_VERSION, RUN_ID, ParquetTables, SchemaError, Tables
from resources.tombstones import Tombstone, Tombstones

SCHEMA = {"photo_id": pl.String(), "n": pl.Int32()}
DAYS = dg.StaticPartitionsDefinition(["2026-10-05", "2026-10-06", "2026-10-07"])


def rows(*numbers: int) -> pl.DataFrame:
    return pl.DataFrame({"photo_id": [str(n) for n in numbers], "n": list(numbers)}, schema=SCHEMA)


@dg.asset(partitions_def=DAYS, key_prefix="case")
def daily(context: dg.AssetExecutionContext) -> pl.DataFrame:
    return rows(int(context.partition_key[-1]))


@dg.asset(partitions_def=DAYS, key_prefix="case")
def same_day(daily: pl.DataFrame) -> pl.DataFrame:
    return daily.with_columns(n=pl.col("n") * pl.lit(10, pl.Int32))


@dg.asset(key_prefix="case")
def total(daily: dict[str, pl.DataFrame]) -> pl.DataFrame:
    return pl.concat([rows(), *daily.values()])


@dg.asset(key_prefix="case")
def wrong() -> pl.DataFrame:
    return pl.DataFrame({"photo_id": [1], "extra": [2]})


SCHEMAS = dict.fromkeys(["daily", "same_day", "total", "wrong"], SCHEMA)


def materialize(root: Path, *assets: dg.AssetsDefinition, day: str | None = None) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        list(assets),
        resources={"io_manager": ParquetTables(str(root), SCHEMAS)},
        partition_key=day,
        selection=assets[-1:],
    )


def test_a_day_reads_its_own_day(tmp_path: Path) -> None:
    materialize(tmp_path, daily, day="2026-10-06")
    materialize(tmp_path, daily, same_day, day="2026-10-06")
    assert Tables(root=str(tmp_path)).read("same_day", SCHEMA, "2026-10-06")["n"].to_list() == [60]


@pytest.mark.parametrize("days", [[], ["2026-10-06"], ["2026-10-05", "2026-10-07"]])
def test_all_days_are_a_dict_of_those_that_exist(tmp_path: Path, days: list[str]) -> None:
    for day in days:
        materialize(tmp_path, daily, day=day)
    materialize(tmp_path, daily, total)
    assert Tables(root=str(tmp_path)).read("total", SCHEMA)["n"].to_list() == [int(day[-1]) for day in days]


def test_wrong_columns_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"missing \['n'\], unknown \['extra'\], wrong type \['photo_id"):
        materialize(tmp_path, wrong)
    assert list(tmp_path.rglob("*wrong*")) == []


def test_a_range_of_days_in_one_run_is_refused(tmp_path: Path) -> None:
    tags = {"dagster/asset_partition_range_start": "2026-10-05", "dagster/asset_partition_range_end": "2026-10-06"}
    io_manager = ParquetTables(str(tmp_path), SCHEMAS)

    @dg.asset(partitions_def=DAYS, key_prefix="case", backfill_policy=dg.BackfillPolicy.single_run())
    def daily() -> pl.DataFrame:
        return rows(1)

    with pytest.raises(Exception, match="multiple partitions"):
        dg.materialize([daily], resources={"io_manager": io_manager}, tags=tags)


def test_tables_by_name_before_a_day(tmp_path: Path) -> None:
    for day in DAYS.get_partition_keys():
        materialize(tmp_path, daily, day=day)
    tables = Tables(root=str(tmp_path))
    assert tables.read_days("daily", SCHEMA)["n"].to_list() == [5, 6, 7]
    earlier = tables.read_days("daily", SCHEMA, before="2026-10-07")
    assert earlier["day"].to_list() == ["2026-10-05", "2026-10-06"]
    assert tables.read_days("never_written", SCHEMA).is_empty()
    narrow = list(tables.each_day("daily", {"n": SCHEMA["n"]}, before="2026-10-07"))
    assert [(day, frame.to_dict(as_series=False)) for day, frame in narrow] == [
        ("2026-10-05", {"n": [5]}),
        ("2026-10-06", {"n": [6]}),
    ]
    assert tables.read("never_written", SCHEMA).schema == pl.Schema(SCHEMA)


def test_a_failed_write_leaves_the_last_version_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = Tables(root=str(tmp_path))
    tables.write("side", rows(1), SCHEMA)
    folder = tmp_path / "tables"
    folder.joinpath("side.parquet").chmod(0o600)

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("upath.UPath.write_bytes", full_disk, raising=True)
    monkeypatch.setattr("pathlib.Path.write_bytes", full_disk, raising=True)
    with pytest.raises(OSError, match="No space left"):
        tables.write("side", rows(2), SCHEMA)
    monkeypatch.undo()
    assert tables.read("side", SCHEMA)["n"].to_list() == [1]
    assert [path.name for path in folder.iterdir()] == ["side.parquet"]


def test_days_can_be_read_by_column_and_condition(tmp_path: Path) -> None:
    for day in ("2026-10-05", "2026-10-06", "2026-10-07"):
        materialize(tmp_path, daily, day=day)
    found = Tables(root=str(tmp_path)).read_days(
        "daily", SCHEMA, before="2026-10-07", columns=["n"], where=pl.col("n") > 5
    )
    assert found.rows() == [(6, "2026-10-06")]
    assert found.columns == ["n", "day"]


def test_a_column_declared_since_is_null_and_one_dropped_since_is_gone(tmp_path: Path) -> None:
    materialize(tmp_path, daily, day="2026-10-06")
    tables, later = Tables(root=str(tmp_path)), {"n": SCHEMA["n"], "new": pl.String()}
    assert tables.read("daily", later, "2026-10-06").rows() == [(6, None)]
    assert tables.read_days("daily", later).rows() == [(6, None, "2026-10-06")]
    assert tables.read("daily", later, "2026-10-06").schema == later


def test_what_was_erased_while_a_step_worked_does_not_come_back_with_its_table(tmp_path: Path) -> None:
    erased, other = "a" * 64, "b" * 64

    @dg.asset(key_prefix="case")
    def late() -> pl.DataFrame:
        Tombstones(str(tmp_path)).put(Tombstone(erased, dt.datetime(2026, 10, 8, tzinfo=dt.UTC)))
        return pl.DataFrame({"photo_id": [erased, other], "n": [1, 2]}, schema=SCHEMA)

    def forget(name: str, frame: pl.DataFrame, gone: object) -> pl.DataFrame:
        assert (name, gone) == ("late", {erased: dt.datetime(2026, 10, 8, tzinfo=dt.UTC)})
        return frame.filter(pl.col("photo_id") != erased)

    io_manager = ParquetTables(str(tmp_path), {"late": SCHEMA}, forget)
    result = dg.materialize([late], resources={"io_manager": io_manager})
    tables = Tables(root=str(tmp_path))
    assert tables.read("late", SCHEMA)["photo_id"].to_list() == [other]
    assert tables.made_by("late")[RUN_ID] == result.run_id


def test_tables_are_found_whoever_wrote_them_and_replaced_under_the_code_that_made_them(tmp_path: Path) -> None:
    materialize(tmp_path, daily, day="2026-10-06")
    materialize(tmp_path, daily, total)
    (tmp_path / "tables" / ".total.parquet.123").write_bytes(b"cut off")
    tables = Tables(root=str(tmp_path))
    assert list(tables.files()) == [("daily", "2026-10-06"), ("total", None)]
    before = tables.made_by("daily", "2026-10-06")
    assert CODE_VERSION in before
    tables.replace("daily", "2026-10-06", rows())
    assert tables.made_by("daily", "2026-10-06") == before
    assert tables.read("daily", SCHEMA, "2026-10-06").is_empty()
    assert list(Tables(root=str(tmp_path / "nowhere")).files()) == []
