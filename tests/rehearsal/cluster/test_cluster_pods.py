"""What a pod of the stand-in finds, and what is held against it."""

import http.server
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_support import NAMESPACE, Api, eventually, settings_of

from rehearsal.cluster.cluster import Cluster
from rehearsal.cluster.faults import PodFault, Selector
from rehearsal.cluster.isolation import isolation_possible
from rehearsal.cluster.records import read_lines, table
from rehearsal.cluster.settings import Service

needs_namespaces = pytest.mark.skipif(bool(isolation_possible()), reason=f"no namespaces: {isolation_possible()}")
PYTHON = {"command": ["python", "-c"]}
CONFIG = [
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"A": "1", "B": "2"}},
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "files"}, "data": {"compute.yaml": "x: 1\n"}},
    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "store"}, "data": {"key": "czNjcmV0"}},
]
LOCKED = {
    "runAsUser": 10001,
    "runAsNonRoot": True,
    "readOnlyRootFilesystem": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
}


@pytest.fixture
def service() -> Iterator[int]:
    """The port of an HTTP server on loopback."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def test_variables_come_from_literals_config_maps_secrets_and_fields(api: Api, cluster: Cluster) -> None:
    cluster.apply(CONFIG)
    env = [
        {"name": "PLAIN", "value": "p"},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "store", "key": "key"}}},
        {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "no", "key": "key", "optional": True}}},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "CPUS", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        {"name": "B", "value": "over"},
    ]
    sources = [{"configMapRef": {"name": "settings"}}, {"prefix": "S_", "secretRef": {"name": "store"}}]
    container = {"env": env, "envFrom": sources, "resources": {"limits": {"cpu": "500m"}}}
    api.run(
        "env",
        "echo $PLAIN $KEY ${NONE-unset} $A $B $S_key $CPUS; echo $POD; hostname; echo $HOSTNAME",
        container=container,
    )
    assert api.end_of("env").type == "Complete"
    first, pod, _, hostname = api.log("env").splitlines()
    assert first == "p s3cret unset 1 over s3cret 1"
    assert pod == hostname == api.pod("env").metadata.name


def test_the_environment_of_this_machine_does_not_reach_a_pod(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMETHING_OF_THE_HOST", "1")
    api.run("bare", "env")
    assert api.end_of("bare").type == "Complete"
    assert "SOMETHING_OF_THE_HOST" not in api.log("bare")


def test_a_pod_waits_for_a_config_map_that_is_missing(api: Api, cluster: Cluster) -> None:
    api.run("waits", "echo $A", container={"envFrom": [{"configMapRef": {"name": "settings"}}]})

    def reason() -> bool:
        statuses = api.pod("waits") and api.pod("waits").status.container_statuses
        return bool(statuses) and statuses[0].state.waiting.reason == "CreateContainerConfigError"

    eventually(reason)
    cluster.apply(CONFIG)
    assert api.end_of("waits").type == "Complete"
    assert api.log("waits") == "1\n"


@needs_namespaces
def test_files_are_the_images_and_the_volumes_and_nothing_else(api: Api, cluster: Cluster, tmp_path: Path) -> None:
    cluster.apply(CONFIG)
    volumes = [
        {"name": "tmp", "emptyDir": {}},
        {"name": "scratch", "emptyDir": {}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "200Mi"}},
        {"name": "files", "configMap": {"name": "files"}},
        {"name": "host", "hostPath": {"path": str(tmp_path)}},
    ]
    mounts = [
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 in the pod
        {"name": "scratch", "mountPath": "/scratch"},
        {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 in the pod
        {"name": "files", "mountPath": "/etc/catalog/compute.yaml", "subPath": "compute.yaml"},
        {"name": "host", "mountPath": "/host"},
    ]
    script = f"""
        id -u; pwd; ls test_cluster_pods.py; cat /etc/catalog/compute.yaml
        touch /tmp/a /scratch/b && echo volumes are written
        for at in / /app /etc /usr /etc/catalog {sys.prefix}; do touch $at/x 2>/dev/null && echo wrote $at; done
        ls {Path.home()} 2>/dev/null | grep -v pyenv; ls -d {tmp_path} 2>/dev/null
        df -m /dev/shm | tail -1 | awk '{{print $2}}'; ls /proc | grep -c '^[0-9]'; grep NoNewPrivs /proc/self/status
    """
    api.run("closed", script, container={"securityContext": LOCKED, "volumeMounts": mounts}, pod={"volumes": volumes})
    api.end_of("closed")
    lines = api.log("closed").splitlines()
    assert lines[:5] == ["10001", "/app", "test_cluster_pods.py", "x: 1", "volumes are written"]
    assert lines[5] == "200", lines  # nothing written elsewhere, nothing of the host seen
    assert int(lines[6]) < 8
    assert lines[7].endswith("1")
    assert "read-only root" in cluster.records()[0].enforced


@needs_namespaces
def test_only_named_services_are_reached(tmp_path: Path, service: int) -> None:
    script = f"""
import http.client, socket, sys
connection = http.client.HTTPConnection("web", 5000); connection.request("GET", "/")
print(connection.getresponse().status)
for address in (("127.0.0.1", {service}), ("192.0.2.1", 80)):
    try: socket.create_connection(address, 2)
    except OSError as error: print("refused")
"""
    services = [Service("other", {80: 1}), Service("web", {5000: service})]
    with Cluster(settings_of(tmp_path / "cluster", services=services)) as cluster:
        api = Api(cluster)
        api.run("caller", script, container=PYTHON)
        assert api.end_of("caller").type == "Complete"
        assert api.log("caller").split() == ["501", "refused", "refused"]


@needs_namespaces
def test_in_cluster_credentials_are_the_accounts_own_and_can_be_left_out(api: Api) -> None:
    script = """
from kubernetes import client, config
try: config.load_incluster_config()
except config.ConfigException as error: print("none"); raise SystemExit
print(len(client.CoreV1Api().list_namespaced_pod(open('/var/run/secrets/kubernetes.io/serviceaccount/namespace').read()).items))
"""
    api.run("with", script, container=PYTHON)
    assert api.end_of("with").type == "Complete"
    api.run("without", script, container=PYTHON, pod={"automountServiceAccountToken": False})
    assert api.end_of("without").type == "Complete"
    assert (api.log("with"), api.log("without")) == ("1\n", "none\n")


def test_more_memory_than_the_limit_is_killed(api: Api, cluster: Cluster) -> None:
    script = "import time; held = bytearray(b'x') * (200 << 20); time.sleep(30)"
    resources = {"requests": {"memory": "20Mi"}, "limits": {"memory": "100Mi"}}
    api.run("greedy", script, container={**PYTHON, "resources": resources})
    assert api.end_of("greedy").reason == "BackoffLimitExceeded"
    ended = api.pod("greedy").status.container_statuses[0].state.terminated
    assert (ended.reason, ended.exit_code) == ("OOMKilled", 137)
    assert cluster.records()[0].peak_memory > 100 << 20


def test_a_cpu_limit_is_the_count_of_processors_seen(api: Api) -> None:
    resources = {"requests": {"cpu": "100m"}, "limits": {"cpu": "500m"}}
    script = "import os; print(len(os.sched_getaffinity(0)))"
    api.run("one", script, container={**PYTHON, "resources": resources})
    assert api.end_of("one").type == "Complete"
    assert api.log("one") == "1\n"


def test_no_process_outlives_its_pod_or_the_cluster(tmp_path: Path) -> None:
    script = "sleep 3417 & setsid sleep 3417 & sleep {}"
    with Cluster(settings_of(tmp_path / "cluster")) as cluster:
        api = Api(cluster)
        api.run("left", script.format("0.5"))
        api.run("runs", script.format("300"))
        api.end_of("left")
        eventually(lambda: len(cluster.processes()) == 1)
        pids = list(cluster.processes().values())
    assert pids
    eventually(lambda: not any(_alive(pid) for pid in pids))
    eventually(lambda: _count("sleep\x003417") == 0)


def _alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _count(command: str) -> int:
    found = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                found += command in (entry / "cmdline").read_text()
            except OSError:
                continue  # it has ended
    return found


@pytest.mark.parametrize(
    ("kind", "phase", "reason"),
    [
        ("evict", "Failed", "Evicted"),
        ("out_of_memory", "Failed", None),
        ("kill", "Failed", None),
        ("drain", None, None),
    ],
)
def test_faults_of_pods_end_them_as_a_cluster_would(
    api: Api, cluster: Cluster, kind: str, phase: str | None, reason: str | None
) -> None:
    cluster.faults.add(PodFault(kind, Selector(labels={"job-name": "struck"}), when_logged="begun"))
    api.run("struck", "trap 'exit 143' TERM; echo begun; while true; do sleep 0.1; done")
    assert api.end_of("struck").reason == "BackoffLimitExceeded"
    if phase is None:
        eventually(lambda: not api.core.list_namespaced_pod(NAMESPACE).items)
        return
    pod = api.pod("struck")
    assert (pod.status.phase, pod.status.reason) == (phase, reason)
    assert pod.status.container_statuses[0].state.terminated.exit_code == 137


def test_records_tell_what_was_asked_for_and_how_it_ended(api: Api, cluster: Cluster, tmp_path: Path) -> None:
    labels = {
        "dagster/op": "enclosures__raw_photos",
        "dagster/run-id": "r",
        "app.kubernetes.io/component": "step_worker",
    }
    resources = {
        "requests": {"cpu": "1", "memory": "1Gi"},
        "limits": {"cpu": "2", "memory": "2Gi", "nvidia.com/gpu": "1"},
    }
    pod_template = {"metadata": {"labels": labels}}
    container = {"name": "main", "image": "registry/test@sha256:0", "command": ["echo", "work"], "resources": resources}
    spec = {"restartPolicy": "Never", "containers": [container], "serviceAccountName": "dagster-step"}
    template = {**pod_template, "spec": spec}
    body = {"metadata": {"name": "dagster-step-0abc-1"}, "spec": {"template": template, "backoffLimit": 0}}
    api.batch.create_namespaced_job(NAMESPACE, body)
    assert api.end_of("dagster-step-0abc-1").type == "Complete"
    cluster.write_records(tmp_path / "pods.jsonl")
    (record,) = read_lines(tmp_path / "pods.jsonl")
    assert (record.asset, record.attempt, record.gpus, record.account) == (
        "enclosures/raw_photos",
        2,
        1,
        "dagster-step",
    )
    assert (record.phase, record.exit_code, record.node) == ("Succeeded", 0, "node-1")
    assert record.created <= (record.scheduled or 0) <= (record.started or 0) <= (record.first_line or 0)
    assert (record.ended or 0) >= (record.first_line or 0)
    assert "enclosures/raw_photos" in table([record])
