"""The production deployment on this machine: what the overlay's manifests describe, on services of our own.

PostgreSQL and an S3 server are processes beside the cluster, as they would be in production; everything else runs in
pods of the stand-in cluster, as the manifests say. `Deployment` is what the story and the proofs need of it.
"""

import json
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rehearsal.cluster.cluster import Cluster
from rehearsal.cluster.isolation import isolation_possible
from rehearsal.cluster.settings import ClusterSettings, Node, Timing
from rehearsal.environment import answers
from rehearsal.images_of_cluster import DAGSTER_HOME, images
from rehearsal.manifests import OVERLAY, Addresses, Manifest, Manifests, as_pod, as_server, rendered, secrets
from rehearsal.object_store import ObjectStore, running_object_store
from rehearsal.postgresql import Database, running_postgresql
from rehearsal.processes import Service, ServiceError, end_left_over, free_port
from rehearsal.unisolated import folder_for, without_volumes

NAMESPACE = "enclosure-catalog"
DATABASES = ("dagster", "mlflow", "catalog")
BUCKET_SETTINGS = ("MLOPS_LANDING", "MLOPS_LABELS", "MLOPS_STORE", "MLFLOW_ARTIFACTS_DESTINATION")
MIGRATION_TIMEOUT = 300.0
SERVER_TIMEOUT = 300.0

NODES = (
    Node("cpu-1", cpu="64", memory="256Gi"),
    Node(
        "gpu-1",
        cpu="32",
        memory="128Gi",
        gpus=1,
        labels={"accelerator": "nvidia-l4"},
        taints=[{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}],
    ),
)
"""Bigger than this machine, so that pods are not held up by requests that a real node would meet."""

TIMING = Timing(tick=0.5, memory_watch=2.0)
"""Looked less often than in tests of the cluster: each look costs a core that trains some of its time."""


@dataclass(frozen=True)
class Deployment:
    """What runs, and where.

    Attributes:
        cluster: The stand-in cluster.
        manifests: What was applied, with the addresses of this machine.
        databases: By name.
        store: The S3 server.
        services: Processes beside the cluster.
        servers: Pods of Deployments, by the Deployment's name.
        webserver: Address of Dagster's page.
        mlflow: Address of MLflow.
    """

    cluster: Cluster
    manifests: Manifests
    databases: Mapping[str, Database]
    store: ObjectStore
    services: tuple[Service, ...]
    servers: Mapping[str, str]
    webserver: str
    mlflow: str

    def raise_if_unwell(self) -> None:
        """Nothing, while all services run.

        Raises:
            ServiceError: One has ended.
        """
        for service in self.services:
            service.raise_if_ended()
        names = {pod: name for name, pod in self.servers.items()}
        for pod in self.cluster.objects("Pod"):
            name = names.get(pod["metadata"]["name"])
            if name and any(status["restartCount"] for status in pod["status"].get("containerStatuses") or []):
                raise ServiceError(f"{name} ended. {_log_tail(self.cluster, self.servers[name])}")

    def graphql(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Ask Dagster's webserver, as its page does."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(  # noqa: S310 a server of ours on loopback
            f"{self.webserver}/graphql", body, {"Content-Type": "application/json"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=120) as answer:
            content: dict[str, Any] = json.load(answer)
        if content.get("errors"):
            raise ServiceError(f"Dagster's webserver answered: {content['errors']}")
        return content["data"]  # type: ignore[no-any-return]


@contextmanager
def deployed(
    folder: Path, sensor_interval: int, say: Callable[[str], None], first_day: str | None = None
) -> Iterator[Deployment]:
    """Start everything, in the order in which the operations guide installs it, and end it in reverse.

    Args:
        folder: Logs and data go there; what an earlier rehearsal left running from it is ended first.
        sensor_interval: Seconds between two looks of a sensor.
        say: Tells a line.
        first_day: YYYY-MM-DD that use cases start on, where that is not what they say.

    Raises:
        ServiceError: Something did not start; the message shows its log.
    """
    services = folder / "services"
    for name in end_left_over(services):
        say(f"Ended {name}, which an earlier rehearsal left behind")
    manifests = rendered(str(OVERLAY))
    settings = manifests.settings()
    with ExitStack() as stack:
        postgresql = stack.enter_context(running_postgresql(services, DATABASES))
        say("PostgreSQL runs")
        buckets = sorted({urlsplit(settings[name]).netloc for name in BUCKET_SETTINGS})
        store = stack.enter_context(running_object_store(services, buckets))
        say(f"The S3 server runs with buckets {', '.join(buckets)}")
        ports = {name: free_port() for name in ("mlflow", "code", "webserver")}
        mlflow, webserver = (f"http://127.0.0.1:{ports[name]}" for name in ("mlflow", "webserver"))
        databases = postgresql.databases
        changed = {
            **_settings(databases["dagster"], store, mlflow),
            "MLOPS_SENSOR_INTERVAL": str(sensor_interval),
        }
        manifests = manifests.at(Addresses(changed, ports["code"]))
        isolated = not isolation_possible()
        if not isolated:
            manifests = without_volumes(manifests, folder / "mounted")
        listening = [databases["dagster"].port, _port(store.endpoint), *ports.values()]
        cluster = stack.enter_context(_cluster(folder, listening, first_day, isolated))
        cluster.apply([*secrets(NAMESPACE, _secrets(databases, store)), *manifests.without("Deployment", "Job")])
        say(f"The stand-in cluster runs, pods {'in namespaces of their own' if cluster.isolated else 'not isolated'}")
        _migrate(cluster, manifests.get("Job", "catalog-migrate"))
        say("Databases are migrated")
        servers = _start_servers(cluster, manifests, ports)
        say("MLflow, the code location, Dagster's webserver and its daemon run")
        yield Deployment(
            cluster, manifests, databases, store, (postgresql.service, store.service), servers, webserver, mlflow
        )


def _settings(dagster: Database, store: ObjectStore, mlflow: str) -> dict[str, str]:
    """Addresses of `catalog-settings`."""
    secret = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    return {
        "DAGSTER_PG_HOST": dagster.host,
        "DAGSTER_PG_PORT": str(dagster.port),
        "DAGSTER_PG_USER": dagster.name,
        "DAGSTER_PG_DB": dagster.name,
        "PGSSLMODE": "prefer",
        "MLOPS_MLFLOW_TRACKING_URI": mlflow,
        "MLOPS_MLFLOW_UI": mlflow,
        **{name: value for name, value in store.environment.items() if name not in secret},
    }


def _secrets(databases: Mapping[str, Database], store: ObjectStore) -> dict[str, dict[str, str]]:
    return {
        "dagster-postgresql": {"DAGSTER_PG_PASSWORD": databases["dagster"].password},
        "store-credentials": {
            "AWS_ACCESS_KEY_ID": store.access_key,
            "AWS_SECRET_ACCESS_KEY": store.secret_key,
        },
        "catalog-database": {"MLOPS_CATALOG_DATABASE": databases["catalog"].url},
        "mlflow-database": {"MLFLOW_BACKEND_STORE_URI": databases["mlflow"].url},
    }


@contextmanager
def _cluster(folder: Path, host_ports: list[int], first_day: str | None, isolated: bool) -> Iterator[Cluster]:
    mounted = folder / "mounted"
    pages = folder_for("/pages", mounted)
    pages.mkdir(parents=True, exist_ok=True)
    pages.chmod(0o777)  # what fsGroup does on a cluster
    home = None if isolated else str(folder_for(DAGSTER_HOME, mounted))
    settings = ClusterSettings(
        folder=folder / "cluster",
        images=images(folder / "projects", first_day, home),
        nodes=NODES,
        isolation="namespaces" if isolated else "none",
        host_ports=host_ports,
        namespace=NAMESPACE,
        enforce_rbac=True,
        claims={"catalog-pages": pages},
        timing=TIMING,
    )
    with Cluster(settings) as cluster:
        yield cluster


def _migrate(cluster: Cluster, job: Manifest) -> None:
    """Run the migration Job and wait until it is complete."""
    cluster.apply([job])
    name, deadline = job["metadata"]["name"], time.monotonic() + MIGRATION_TIMEOUT
    while True:
        (found,) = [each for each in cluster.objects("Job") if each["metadata"]["name"] == name]
        status = found.get("status") or {}
        if status.get("succeeded"):
            return
        ended = {condition["type"] for condition in status.get("conditions") or [] if condition["status"] == "True"}
        if "Failed" in ended or time.monotonic() > deadline:
            pods = [record.pod for record in cluster.records() if record.job == name]
            raise ServiceError(f"The migration Job did not complete. {_log_tail(cluster, pods[-1] if pods else name)}")
        time.sleep(0.5)


def _start_servers(cluster: Cluster, manifests: Manifests, ports: Mapping[str, int]) -> dict[str, str]:
    pods: dict[str, str] = {}

    def start(name: str, port: int | None) -> None:
        deployment = manifests.get("Deployment", name)
        pods[name] = cluster.create_pod(as_pod(deployment) if port is None else as_server(deployment, port))

    start("mlflow", ports["mlflow"])
    start("code-enclosures", ports["code"])
    start("dagster-webserver", ports["webserver"])
    _wait(cluster, pods, "mlflow", answers(f"http://127.0.0.1:{ports['mlflow']}/health", "OK"))
    _wait(cluster, pods, "code-enclosures", _serves(ports["code"]))
    _wait(cluster, pods, "dagster-webserver", answers(f"http://127.0.0.1:{ports['webserver']}/server_info"))
    start("dagster-daemon", None)
    return pods


def _serves(port: int) -> Callable[[], bool]:
    """A question whether a code server has loaded its definitions, as the kubelet asks it."""
    from dagster._grpc.client import DagsterGrpcClient

    client: Any = DagsterGrpcClient(port=port, host="127.0.0.1")
    return lambda: bool(client.health_check_query() == "SERVING")


def _wait(cluster: Cluster, pods: Mapping[str, str], name: str, healthy: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SERVER_TIMEOUT
    while True:
        with suppress(OSError):  # nobody listens yet
            if healthy():
                return
        if time.monotonic() > deadline:
            raise ServiceError(
                f"{name} did not become healthy within {SERVER_TIMEOUT:.0f} s. {_log_tail(cluster, pods[name])}"
            )
        time.sleep(0.5)


def _log_tail(cluster: Cluster, pod: str) -> str:
    lines = cluster.logs(pod).splitlines()[-30:]
    return "\n".join([f"The log of pod {pod} ends with:", *(f"    {line}" for line in lines or ["(nothing)"])])


def _port(address: str) -> int:
    port = urlsplit(address).port
    if port is None:
        raise ServiceError(f"{address} names no port")
    return port
