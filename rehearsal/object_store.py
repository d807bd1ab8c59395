"""An S3 server on loopback (moto), and what a process needs to know to use it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rehearsal.environment import BIN, answers, basics
from rehearsal.processes import Command, Service, free_port, running

REGION = "us-east-1"


@dataclass(frozen=True)
class ObjectStore:
    """The server; its contents live in its memory and end with it."""

    service: Service
    endpoint: str
    access_key: str
    secret_key: str

    @property
    def environment(self) -> dict[str, str]:
        """The variables that botocore, and with it s3fs and MLflow, read."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self) -> Any:
        """A boto3 client for S3."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=REGION,
        )

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """Names of the objects below a prefix."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]


@contextmanager
def running_object_store(folder: Path, buckets: Sequence[str]) -> Iterator[ObjectStore]:
    """Start a server with empty buckets.

    Raises:
        ServiceError: It did not start.
    """
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    command = Command(
        name="object-store",
        arguments=[str(BIN / "moto_server"), "-H", "127.0.0.1", "-p", str(port)],
        environment=basics(),
        healthy=answers(f"{endpoint}/moto-api/"),
        folder=folder,
    )
    with running(command, folder) as service:
        store = ObjectStore(service, endpoint, "rehearsal", "rehearsal-secret")
        for bucket in buckets:
            store.client().create_bucket(Bucket=bucket)
        yield store
