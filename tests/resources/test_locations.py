"""What one process wrote to an object store is seen by another that has looked there before."""

import io
from collections.abc import Iterator
from typing import Any

import boto3
import polars as pl
import pytest
import s3fs
from moto.server import ThreadedMotoServer

from mlops_assets.labels.drop_state import drop_digest
from resources.label_drop import LabelDrop
from resources.tables import Tables

SCHEMA = {"value": pl.Int64()}
DAYS = ["2026-10-01", "2026-10-02"]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A plain client of an S3 server on loopback: another process, with no cache in common."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    client = boto3.client("s3")
    client.create_bucket(Bucket="bucket")
    yield client
    for found in client.list_objects_v2(Bucket="bucket").get("Contents", []):  # the next server has the same memory
        client.delete_object(Bucket="bucket", Key=found["Key"])
    client.delete_bucket(Bucket="bucket")
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def put_table(client: Any, name: str, value: int) -> None:
    content = io.BytesIO()
    pl.DataFrame({"value": [value]}, schema=SCHEMA).write_parquet(content)
    client.put_object(Bucket="bucket", Key=f"store/tables/{name}.parquet", Body=content.getvalue())


def test_days_written_by_another_process_are_seen(client: Any) -> None:
    tables = Tables(root="s3://bucket/store")
    assert tables.read("days", SCHEMA, DAYS[0]).is_empty()
    for number, day in enumerate(DAYS, 1):
        put_table(client, f"days/{day}", number)
        assert tables.read_days("days", SCHEMA)["value"].to_list() == list(range(1, number + 1))
        assert tables.read("days", SCHEMA, day)["value"].to_list() == [number]


def test_a_table_replaced_by_another_process_is_read_anew(client: Any) -> None:
    tables = Tables(root="s3://bucket/store")
    for number in (1, 2):
        put_table(client, "whole", number)
        assert tables.read("whole", SCHEMA)["value"].to_list() == [number]


def test_a_table_is_written_as_one_object(client: Any) -> None:
    Tables(root="s3://bucket/store").write("whole", pl.DataFrame({"value": [3]}), SCHEMA)
    (written,) = client.list_objects_v2(Bucket="bucket")["Contents"]
    assert written["Key"] == "store/tables/whole.parquet"


def test_labels_dropped_since_the_last_look_are_seen(client: Any) -> None:
    drop = LabelDrop(address="s3://bucket/labels")
    seen = set()
    for number in range(3):
        client.put_object(Bucket="bucket", Key=f"labels/export-{number}/labels.json", Body=b"[]")
        seen.add(drop_digest(drop.path()))
    assert len(seen) == 3
