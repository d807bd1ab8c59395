"""The careful launcher beside dagster-k8s's own, both asking the stand-in cluster's API."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.launcher.base import WorkerStatus
from dagster._core.test_utils import create_run_for_test
from dagster_k8s import K8sRunLauncher
from kubernetes import client, config

from rehearsal.cluster.cluster import Cluster
from rehearsal.cluster.faults import ApiFault
from rehearsal.cluster.settings import ClusterSettings, Image
from resources.run_launcher import CarefulRunLauncher

NAMESPACE = "enclosure-catalog"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    image = Image(environment=Path(sys.prefix), project=tmp_path)
    with Cluster(ClusterSettings(folder=tmp_path / "cluster", images={"test": image})) as running:
        yield running


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as made:
        yield made


def _launcher(kind: type[K8sRunLauncher], cluster: Cluster, instance: DagsterInstance) -> Any:
    launcher = kind(
        service_account_name="dagster-run",
        instance_config_map="dagster-instance",
        dagster_home="/opt/dagster/dagster_home",
        job_namespace=NAMESPACE,
        load_incluster_config=False,
        kubeconfig_file=str(cluster.kubeconfig()),
    )
    launcher.register_instance(instance)
    return launcher


def _run_with_jobs(cluster: Cluster, instance: DagsterInstance) -> DagsterRun:
    """A started run with its Job, that of a step at work, and that of a step that has ended."""
    run = create_run_for_test(instance, status=DagsterRunStatus.STARTED)
    batch = client.BatchV1Api(config.new_client_from_config(str(cluster.kubeconfig())))
    for name, command in (
        (f"dagster-run-{run.run_id}", "sleep 60"),
        ("step-working", "sleep 60"),
        ("step-done", "true"),
    ):
        container = {"name": "c", "image": "test", "command": ["sh", "-c", command]}
        pod = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container]}
        metadata = {"name": name, "labels": {"dagster/run-id": run.run_id}}
        spec = {"backoffLimit": 0, "template": {"spec": pod}}
        batch.create_namespaced_job(NAMESPACE, {"metadata": metadata, "spec": spec})
    return run


@pytest.mark.parametrize("status", [429, 403, "reset"])
def test_an_api_that_does_not_answer_says_nothing_about_the_run(
    cluster: Cluster, instance: DagsterInstance, status: Any
) -> None:
    run = _run_with_jobs(cluster, instance)
    cluster.faults.add(ApiFault(status, ["get"], "jobs/status", count=None))
    theirs = _launcher(K8sRunLauncher, cluster, instance).check_run_worker_health(run)
    assert theirs.status == WorkerStatus.UNKNOWN  # and run monitoring fails the run
    ours = _launcher(CarefulRunLauncher, cluster, instance).check_run_worker_health(run)
    assert ours.status == WorkerStatus.RUNNING
    cluster.faults.clear()
    cluster.delete("Job", f"dagster-run-{run.run_id}", policy="Background", grace=0)
    gone = _launcher(CarefulRunLauncher, cluster, instance).check_run_worker_health(run)
    assert gone.status == WorkerStatus.UNKNOWN


def test_a_run_that_is_given_up_keeps_no_job_at_work(cluster: Cluster, instance: DagsterInstance) -> None:
    run = _run_with_jobs(cluster, instance)
    other = create_run_for_test(instance, status=DagsterRunStatus.STARTED)
    launcher = _launcher(CarefulRunLauncher, cluster, instance)
    _wait_for_end_of_one(cluster)
    told = launcher.get_run_worker_debug_info(run, include_container_logs=False)
    assert "step-working" in told
    assert "step-done" not in told.partition("Deleted with it")[2]
    assert [job["metadata"]["name"] for job in cluster.objects("Job")] == ["step-done"]
    assert launcher.get_run_worker_debug_info(other) is not None


def _wait_for_end_of_one(cluster: Cluster) -> None:
    end = time.monotonic() + 30
    while not any(job["status"].get("succeeded") for job in cluster.objects("Job")):
        assert time.monotonic() < end
        time.sleep(0.1)
