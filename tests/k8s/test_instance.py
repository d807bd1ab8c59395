"""The cluster's dagster.yaml, as the installed Dagster reads it, and the pods that its launcher makes of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.errors import DagsterInvalidConfigError
from dagster._core.instance.config import dagster_instance_config
from rendering import K8S, OVERLAYS, PROJECT, Doc, deployed, named, of_kind, pods
from step_pods import run_job, step_jobs
from test_manifests import VERSIONS, external_secrets, validate

from mlops_assets.compute_overrides import Compute, parse_compute
from rehearsal.pod_rules import references, violations
from rehearsal.postgresql import running_postgresql
from resources.settings import Settings, load_settings

INSTANCE = K8S / "base" / "dagster.yaml"
GPU = "nvidia.com/gpu"
overlays = pytest.mark.parametrize("overlay", OVERLAYS)


def settings_of(overlay: str) -> dict[str, str]:
    data: dict[str, str] = named(deployed(overlay), "ConfigMap", "catalog-settings")["data"]
    return data


@overlays
def test_the_instance_file_is_what_is_mounted(overlay: str) -> None:
    assert named(deployed(overlay), "ConfigMap", "dagster-instance")["data"] == {"dagster.yaml": INSTANCE.read_text()}


@pytest.mark.parametrize("section", ["run_monitoring", "concurrency", "retention", "sensors", "telemetry"])
def test_an_unknown_key_would_be_refused(section: str, tmp_path: Path) -> None:
    content = yaml.safe_load(INSTANCE.read_text())
    content[section]["start_timeout_second"] = 1
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(DagsterInvalidConfigError):
        dagster_instance_config(str(tmp_path))


@contextmanager
def loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """The instance on a real PostgreSQL; only where the cluster is found differs from the file."""
    kubeconfig = folder / "kubeconfig"
    cluster = {"clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}], "users": []}
    context = {"contexts": [{"name": "c", "context": {"cluster": "c", "user": ""}}], "current-context": "c"}
    kubeconfig.write_text(yaml.safe_dump(cluster | context))
    content = yaml.safe_load(INSTANCE.read_text())
    content["run_launcher"]["config"] |= {"load_incluster_config": False, "kubeconfig_file": str(kubeconfig)}
    (folder / "dagster.yaml").write_text(yaml.safe_dump(content))
    with running_postgresql(folder, ["dagster"]) as server:
        database = server.databases["dagster"]
        monkeypatch.setenv("DAGSTER_PG_HOST", database.host)
        monkeypatch.setenv("DAGSTER_PG_PORT", str(database.port))
        monkeypatch.setenv("DAGSTER_PG_USER", database.name)
        monkeypatch.setenv("DAGSTER_PG_DB", database.name)
        monkeypatch.setenv("DAGSTER_PG_PASSWORD", database.password)
        with dg.DagsterInstance.from_config(str(folder)) as instance:
            yield instance


def test_dagster_loads_every_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dagster_k8s import K8sRunLauncher
    from dagster_postgres import PostgresEventLogStorage

    with loaded(tmp_path, monkeypatch) as instance:
        assert isinstance(instance.event_log_storage, PostgresEventLogStorage)
        launcher = instance.run_launcher
        assert isinstance(launcher, K8sRunLauncher)
        assert launcher.job_image is None  # a run starts in its code server's image
        assert (launcher.service_account_name, launcher.job_namespace) == ("dagster-run", "enclosure-catalog")
        assert instance.compute_log_manager.__class__.__name__ == "NoOpComputeLogManager"
        assert instance.run_monitoring_enabled
        assert instance.run_monitoring_max_resume_run_attempts == 0
        assert instance.run_monitoring_start_timeout_seconds == 600
        assert instance.run_retries_enabled
        assert not instance.telemetry_enabled
        assert Path(instance.root_directory) == Path("/tmp/dagster")  # noqa: S108
        queue = instance.get_concurrency_config().run_queue_config
        assert queue is not None
        assert queue.max_concurrent_runs == 10
        # A pool that nobody configured takes the default; the file alone does it, without a command.
        instance.event_log_storage.initialize_concurrency_limit_to_default("gpu")
        assert instance.event_log_storage.get_concurrency_info("gpu").slot_count == 1


def test_what_holds_on_a_laptop_holds_on_a_cluster() -> None:
    cluster, laptop = (yaml.safe_load(file.read_text()) for file in (INSTANCE, PROJECT / "local" / "dagster.yaml"))
    for section in ("run_retries", "retention", "telemetry", "nux"):
        assert cluster[section] == laptop[section], section
    assert cluster["concurrency"]["pools"] == laptop["concurrency"]["pools"]
    limits = cluster["concurrency"]["runs"]["tag_concurrency_limits"]
    assert all(limit in limits for limit in laptop["concurrency"]["runs"]["tag_concurrency_limits"])
    assert {limit["key"]: limit["limit"] for limit in limits} == {"mlops/one_at_a_time": 1, "dagster/backfill": 4}


def test_deadlines_are_nested() -> None:
    """A step's, then the run's by monitoring, then the run's Job."""
    content = yaml.safe_load(INSTANCE.read_text())
    job = content["run_launcher"]["config"]["run_k8s_config"]["job_spec_config"]
    longest = max(
        override.deadline_minutes * 60
        for overlay in OVERLAYS
        for override in compute_of(overlay).profiles.values()
        if override.deadline_minutes
    )
    monitored = content["run_monitoring"]["max_runtime_seconds"]
    assert longest < monitored < job["active_deadline_seconds"]


@overlays
def test_every_variable_that_it_reads_is_given(overlay: str) -> None:
    wanted = set(_variables(yaml.safe_load(INSTANCE.read_text())["storage"]))
    assert wanted == settings_of(overlay).keys() & wanted | {"DAGSTER_PG_PASSWORD"}
    assert "DAGSTER_PG_PASSWORD" in external_secrets()["dagster-postgresql"]


def _variables(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if value.keys() == {"env"}:
            yield value["env"]
        for item in value.values():
            yield from _variables(item)


@overlays
def test_the_settings_of_a_deployment_load(overlay: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = {name: value for name, value in settings_of(overlay).items() if name.startswith("MLOPS_")}
    for name, value in ours.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLOPS_CATALOG_DATABASE", "postgresql+psycopg2://catalogue@db/catalogue")
    settings = load_settings()  # refuses unknown names
    places = settings.places("enclosures")
    assert settings.profile == "k8s"
    assert all(
        place.startswith("s3://") and "{" not in place for place in (places.landing, places.labels, places.store)
    )
    assert len({places.landing, places.labels, places.store}) == 3
    assert settings.device == "cpu"  # a step with a GPU gets another by compute.yaml


@overlays
def test_the_workspace_asks_servers_that_there_are(overlay: str) -> None:
    from dagster._core.workspace.config_schema import ensure_workspace_config

    docs = deployed(overlay)
    text = named(docs, "ConfigMap", "dagster-workspace")["data"]["workspace.yaml"]
    content = yaml.safe_load(text)
    ensure_workspace_config(content, "workspace.yaml")
    asked = {(entry["grpc_server"]["host"], entry["grpc_server"]["port"]) for entry in content["load_from"]}
    serving = [doc for doc in of_kind(docs, "Service") if doc["metadata"]["name"].startswith("code-")]
    assert asked == {(doc["metadata"]["name"], doc["spec"]["ports"][0]["port"]) for doc in serving}


def compute_of(overlay: str) -> Compute:
    text = named(deployed(overlay), "ConfigMap", "catalog-compute")["data"]["compute.yaml"]
    return parse_compute(yaml.safe_load(text), f"compute.yaml of {overlay}")


def jobs_of(overlay: str) -> dict[str, Doc]:
    """The run's Job and every step's, as dagster-k8s makes them in that deployment."""
    settings = settings_of(overlay)
    config = yaml.safe_load(INSTANCE.read_text())["run_launcher"]["config"]
    deployment = Settings(
        profile="k8s",
        cpu_image=settings["MLOPS_CPU_IMAGE"],
        gpu_image=settings["MLOPS_GPU_IMAGE"],
        step_service_account=settings["MLOPS_STEP_SERVICE_ACCOUNT"],
    )
    return {"run": run_job(config, settings["MLOPS_CPU_IMAGE"])} | step_jobs(config, deployment, compute_of(overlay))


@overlays
def test_run_and_step_pods_keep_to_the_rules(overlay: str, tmp_path: Path) -> None:
    docs, jobs = deployed(overlay), jobs_of(overlay)
    there = {(doc["kind"], doc["metadata"]["name"]) for doc in docs}
    outside = {("Secret", name) for name in external_secrets()}
    for name, job in jobs.items():
        pod = job["spec"]["template"]["spec"]
        assert violations(pod, name) == []
        assert references(pod) <= there | outside, name
        assert job["spec"]["backoffLimit"] == 0, name
        assert job["spec"]["activeDeadlineSeconds"] > 0, name
        assert job["spec"]["ttlSecondsAfterFinished"] > 0, name
        labels = job["spec"]["template"]["metadata"]["labels"]
        assert labels["app.kubernetes.io/part-of"] == "enclosure-catalog", name
        assert pod["serviceAccountName"] == ("dagster-run" if name == "run" else "dagster-step"), name
    for version in VERSIONS:
        assert validate(list(jobs.values()), version, tmp_path) == ""


@overlays
def test_steps_get_what_the_deployment_gives_them(overlay: str) -> None:
    jobs = jobs_of(overlay)
    with_gpu, with_pages, on_cuda = set(), set(), set()
    for name, job in jobs.items():
        pod = job["spec"]["template"]["spec"]
        [container] = pod["containers"]
        if container["resources"]["limits"].get(GPU, "0") != "0":
            with_gpu.add(name)
        if {"name": "MLOPS_DEVICE", "value": "cuda"} in container["env"]:
            on_cuda.add(name)
        if any(mount["mountPath"] == "/pages" for mount in container["volumeMounts"]):
            with_pages.add(name)
    assert with_pages == {"catalog_pages", "erase_from_catalogue", "erase_files"}
    training = {"detector_weights"} if overlay == "prod-gpu" else set()
    assert with_gpu == on_cuda == training
    trains = jobs["detector_weights"]["spec"]["template"]["spec"]
    assert "enclosure-catalog-gpu@" in trains["containers"][0]["image"]  # torch is there, with or without a GPU
    if overlay == "prod-gpu":
        assert trains["nodeSelector"] == {"accelerator": "nvidia-l4"}


@pytest.mark.parametrize("overlay", ["dev", "prod-cpu"])
def test_without_gpus_training_asks_for_no_gpu_node(overlay: str) -> None:
    trains = jobs_of(overlay)["detector_weights"]["spec"]["template"]["spec"]
    assert not trains.get("nodeSelector")


@overlays
def test_the_largest_steps_fit_the_bounds_of_the_namespace(overlay: str) -> None:
    from kubernetes.utils.quantity import parse_quantity

    docs = deployed(overlay)
    [most] = [limit["max"] for limit in named(docs, "LimitRange", "defaults")["spec"]["limits"]]
    quota = named(docs, "ResourceQuota", "compute")["spec"]["hard"]
    always = {"cpu": 0.0, "memory": 0.0}
    for doc in of_kind(docs, "Deployment"):
        [container] = pods([doc]).popitem()[1]["containers"]
        for amount in always:
            asked = float(parse_quantity(container["resources"]["requests"][amount]))
            always[amount] += asked * doc["spec"]["replicas"]
    for name, job in jobs_of(overlay).items():
        resources = job["spec"]["template"]["spec"]["containers"][0]["resources"]
        for amount in ("cpu", "memory"):
            assert parse_quantity(resources["limits"][amount]) <= parse_quantity(most[amount]), name
            asked = float(parse_quantity(resources["requests"][amount]))
            assert always[amount] + asked < float(parse_quantity(quota[f"requests.{amount}"])), name
