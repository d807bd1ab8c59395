"""Production's Dagster deployment for the fault table: its dagster.yaml, roles and pods, on the stand-in cluster.

What differs from `k8s/base`: addresses, and intervals and timeouts of seconds where production has minutes.
"""

import base64
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from dagster import DagsterInstance
from dagster._core.errors import DagsterUserCodeUnreachableError

from rehearsal.cluster.cluster import Cluster
from rehearsal.cluster.settings import ClusterSettings, Image, Node
from rehearsal.faults.scenarios import SCENARIOS, VICTIM, Scenario
from rehearsal.postgresql import Database, running_postgresql
from rehearsal.processes import ServiceError, free_port
from resources.settings import PROJECT

NAMESPACE = "enclosure-catalog"
IMAGE = "enclosure-catalog-cpu"
BASE = PROJECT / "k8s" / "base"
DAGSTER_HOME = "/opt/dagster/dagster_home"
LOCATION = "faults"
START_SECONDS = 120.0
SHORTER: Mapping[str, Mapping[str, Any]] = {
    "run_monitoring": {
        "start_timeout_seconds": 60,
        "cancel_timeout_seconds": 60,
        "poll_interval_seconds": 5,
        "free_slots_after_run_end_seconds": 20,
    },
    "run_coordinator": {"config": {"dequeue_interval_seconds": 1}},
    "concurrency": {"runs": {"max_concurrent_runs": 40}},
}


@dataclass(frozen=True)
class Deployment:
    """What runs: the cluster, and the instance as the webserver sees it (its account, its rights)."""

    cluster: Cluster
    instance: DagsterInstance
    workspace: Any

    def graphql(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Ask what the webserver's page asks.

        Raises:
            ServiceError: The answer has errors.
        """
        from dagster_graphql.test.utils import execute_dagster_graphql

        result = execute_dagster_graphql(self.workspace.create_request_context(), query, dict(variables))
        if result.errors:
            raise ServiceError(str(result.errors))
        return dict(result.data)


@contextmanager
def deployed(folder: Path, scenarios: tuple[Scenario, ...] = SCENARIOS) -> Iterator[Deployment]:
    """Start PostgreSQL, the cluster, the code server and the daemon; end them in reverse.

    Raises:
        ServiceError: Something did not start; the message shows its log.
    """
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import GrpcServerTarget

    with ExitStack() as stack:
        database = stack.enter_context(running_postgresql(folder / "services", ["dagster"])).databases["dagster"]
        port = free_port()
        config = _dagster_yaml()
        cluster = stack.enter_context(Cluster(_settings(folder, [database.port, port], scenarios)))
        instance = stack.enter_context(_instance(folder / "webserver", config, database, cluster))
        cluster.apply(_objects(config, database, port))
        code = cluster.create_pod(_code_server(port))
        target = GrpcServerTarget(host="127.0.0.1", port=port, socket=None, location_name=LOCATION)
        _wait_for_code(cluster, code, port)
        workspace = stack.enter_context(WorkspaceProcessContext(instance, target))
        cluster.create_pod(_server_pod(BASE / "services" / "daemon.yaml", "daemon"))
        yield Deployment(cluster, instance, workspace)


def _settings(folder: Path, host_ports: list[int], scenarios: tuple[Scenario, ...]) -> ClusterSettings:
    image = Image(
        environment=Path(sys.prefix),
        project=PROJECT,
        env={"HOME": "/tmp", "PYTHONPATH": "/app", "DAGSTER_HOME": DAGSTER_HOME},  # noqa: S108 in the pod
    )
    lost = [
        Node(f"victim-{each.name}", labels={VICTIM: each.name}, taints=[_taint(each)])
        for each in scenarios
        if each.own_node
    ]
    nodes = [Node("common", cpu="64", memory="256Gi"), *lost]
    return ClusterSettings(folder / "cluster", {IMAGE: image}, nodes=nodes, host_ports=host_ports, enforce_rbac=True)


def _taint(scenario: Scenario) -> dict[str, str]:
    return {"key": VICTIM, "value": scenario.name, "effect": "NoSchedule"}


def on_own_node(scenario: Scenario) -> dict[str, Any]:
    """Pod settings that would rather have the scenario's node, and take another one when it is gone."""
    term = {"match_expressions": [{"key": VICTIM, "operator": "In", "values": [scenario.name]}]}
    preferred = [{"weight": 100, "preference": term}]
    affinity = {"node_affinity": {"preferred_during_scheduling_ignored_during_execution": preferred}}
    return {"affinity": affinity, "tolerations": [{**_taint(scenario), "operator": "Equal"}]}


def _dagster_yaml() -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((BASE / "dagster.yaml").read_text())
    for section, values in SHORTER.items():
        config[section] = _merged(config[section], values)
    return config


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **old,
        **{key: _merged(old[key], value) if isinstance(value, Mapping) else value for key, value in new.items()},
    }


@contextmanager
def _instance(home: Path, config: Mapping[str, Any], database: Database, cluster: Cluster) -> Iterator[DagsterInstance]:
    """The webserver's instance, outside the cluster: its account's kubeconfig takes the mounted token's place."""
    outside = {"load_incluster_config": False, "kubeconfig_file": str(cluster.kubeconfig("dagster-webserver"))}
    launcher = {**config["run_launcher"], "config": {**config["run_launcher"]["config"], **outside}}
    server = {"hostname": database.host, "port": database.port, "username": database.name}
    login = {**server, "password": database.password, "db_name": database.name, "scheme": "postgresql+psycopg2"}
    logs = {"base_dir": str(home / "artifacts")}
    home.mkdir(parents=True, exist_ok=True)
    own = {
        **config,
        "run_launcher": launcher,
        "storage": {"postgres": {"postgres_db": login}},
        "local_artifact_storage": {**config["local_artifact_storage"], "config": logs},
    }
    (home / "dagster.yaml").write_text(yaml.safe_dump(own))
    with DagsterInstance.from_config(str(home)) as instance:
        instance.get_runs(limit=1)  # makes the tables, before several processes would at once
        yield instance


def _objects(config: Mapping[str, Any], database: Database, code_port: int) -> list[dict[str, Any]]:
    """Accounts and roles as they are, and the ConfigMaps and Secrets that pods name."""
    texts = [(BASE / "foundation" / name).read_text() for name in ("service-accounts.yaml", "roles.yaml")]
    settings = {
        "DAGSTER_PG_HOST": database.host,
        "DAGSTER_PG_PORT": str(database.port),
        "DAGSTER_PG_USER": database.name,
        "DAGSTER_PG_DB": database.name,
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "MLOPS_PROFILE": "k8s",
    }
    server = {"grpc_server": {"host": "127.0.0.1", "port": code_port, "location_name": LOCATION}}
    maps = {
        "catalog-settings": settings,
        "catalog-compute": {"compute.yaml": "{}"},
        "dagster-instance": {"dagster.yaml": yaml.safe_dump(dict(config))},
        "dagster-workspace": {"workspace.yaml": yaml.safe_dump({"load_from": [server]})},
    }
    secrets = {"dagster-postgresql": {"DAGSTER_PG_PASSWORD": database.password}}
    secrets |= {"store-credentials": {}, "catalog-database": {}}
    return [
        *(thing for text in texts for thing in yaml.safe_load_all(text) if thing),
        *({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": n}, "data": d} for n, d in maps.items()),
        *(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": n}, "data": _coded(d)}
            for n, d in secrets.items()
        ),
    ]


def _coded(data: Mapping[str, str]) -> dict[str, str]:
    return {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}


def _server_pod(manifest: Path, name: str) -> dict[str, Any]:
    """The pod of a Deployment."""
    deployment = next(thing for thing in yaml.safe_load_all(manifest.read_text()) if thing["kind"] == "Deployment")
    template: dict[str, Any] = deployment["spec"]["template"]
    template["metadata"]["name"] = name
    return template


def _code_server(port: int) -> dict[str, Any]:
    pod = _server_pod(PROJECT / "k8s" / "code-location" / "deployment.yaml", "code")
    place = ["-h", "127.0.0.1", "-p", str(port)]
    container = pod["spec"]["containers"][0]
    container["args"] = ["dagster", "code-server", "start", *place, "-m", "rehearsal.faults.project", "-a", "defs"]
    pod["spec"]["hostNetwork"] = True  # others connect to it
    return pod


def _wait_for_code(cluster: Cluster, pod: str, port: int) -> None:
    from dagster._grpc.client import DagsterGrpcClient

    end = time.monotonic() + START_SECONDS
    while True:
        client = DagsterGrpcClient(port=port, host="127.0.0.1")  # a new one: gRPC waits long after a refusal
        with suppress(DagsterUserCodeUnreachableError):
            client.ping("")
            return
        if time.monotonic() > end:
            raise ServiceError(f"The code server did not answer. Its log: {cluster.logs(pod)[-4000:]}")
        time.sleep(0.5)
