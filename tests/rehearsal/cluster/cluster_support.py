"""A stand-in cluster with this environment as its image, and the real Kubernetes client."""

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from kubernetes import client, config

from rehearsal.cluster.cluster import Cluster
from rehearsal.cluster.settings import ClusterSettings, Image, Timing

NAMESPACE = "enclosure-catalog"
QUICK = Timing(pull_backoff=0.3, node_lost=0.3, memory_watch=0.1, restart=0.2)


def settings_of(folder: Path, **changes: Any) -> ClusterSettings:
    """A cluster whose one image is this environment, with the tests' folder as project."""
    image = Image(environment=Path(sys.prefix), project=Path(__file__).parent, env={"HOME": "/tmp"})  # noqa: S108 in the pod
    return replace(ClusterSettings(folder=folder, images={"test": image}, timing=QUICK), **changes)


class Api:
    """The real client at a cluster, as one account."""

    def __init__(self, cluster: Cluster, account: str | None = None) -> None:
        self.connection = config.new_client_from_config(str(cluster.kubeconfig(account)))
        self.batch, self.core = client.BatchV1Api(self.connection), client.CoreV1Api(self.connection)

    def run(self, name: str, *args: str, **changes: Any) -> None:
        """Create a Job of one container, `sh -c` by default; `container`, `pod` and `job` change its parts."""
        container = {
            "name": "main",
            "image": "test:1",
            "command": ["sh", "-c"],
            "args": [*args],
            **changes.get("container", {}),
        }
        pod = {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
            **changes.get("pod", {}),
        }
        spec = {"backoffLimit": 0, "template": {"spec": pod}, **changes.get("job", {})}
        body = {"metadata": {"name": name, **changes.get("metadata", {})}, "spec": spec}
        self.batch.create_namespaced_job(NAMESPACE, body)

    def pod(self, job: str) -> Any:
        """The latest pod of a Job."""
        pods = self.core.list_namespaced_pod(NAMESPACE, label_selector=f"job-name={job}").items
        return pods[-1] if pods else None

    def job_status(self, job: str) -> Any:
        return self.batch.read_namespaced_job_status(job, NAMESPACE).status

    def end_of(self, job: str, seconds: float = 20.0) -> Any:
        """Wait for a Job's end; returns its last condition."""
        return eventually(lambda: (self.job_status(job).conditions or [None])[-1], seconds)

    def log(self, job: str, **options: Any) -> str:
        raw = self.core.read_namespaced_pod_log(
            self.pod(job).metadata.name, NAMESPACE, _preload_content=False, **options
        )
        return str(raw.data.decode())


def eventually(read: Callable[[], Any], seconds: float = 10.0) -> Any:
    """What `read` gives once it is true."""
    end = time.monotonic() + seconds
    while not (value := read()):
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.05)
    return value
