"""Jobs of a run and its steps, made by dagster-k8s itself from a launcher's and a code location's configuration."""

import json
from typing import Any

import dagster as dg
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import UserDefinedDagsterK8sConfig, construct_dagster_k8s_job, get_user_defined_k8s_config
from kubernetes.client import ApiClient

from definitions import build_defs
from mlops_assets.compute_overrides import Compute
from mlops_assets.erasure.job import ERASURE_OPS
from mlops_assets.k8s_executor import k8s_executor
from mlops_assets.use_case import load_use_case
from resources.settings import Settings

Job = dict[str, Any]


def launcher_context(config: dict[str, Any]) -> K8sContainerContext:
    """What a K8sRunLauncher with that configuration gives to every pod."""
    return K8sContainerContext(
        image_pull_policy=config["image_pull_policy"],
        service_account_name=config["service_account_name"],
        env_config_maps=config["env_config_maps"],
        env_secrets=config["env_secrets"],
        namespace=config["job_namespace"],
        run_k8s_config=UserDefinedDagsterK8sConfig.from_dict(config["run_k8s_config"]),
    )


def run_job(config: dict[str, Any], image: str) -> Job:
    """The Job of a run."""
    return _job(config, launcher_context(config), image, "run", "run_worker")


def step_jobs(config: dict[str, Any], settings: Settings, deployment: Compute) -> dict[str, Job]:
    """The Job of every step of the default use case, by op name."""
    defs = build_defs(settings, load_use_case(settings.use_case_folder / f"{settings.use_case}.yaml"))
    assets = [
        step for step in [*(defs.assets or []), *(defs.asset_checks or [])] if isinstance(step, dg.AssetsDefinition)
    ]
    steps = [*assets, *ERASURE_OPS]
    images = {"cpu": settings.cpu_image, "gpu": settings.gpu_image}
    executor = k8s_executor(steps, images, deployment, settings.step_service_account)
    processed = executor.apply_config_mapping({"config": {}})
    assert processed.success, processed.errors
    executor_config = processed.value["config"]
    base = launcher_context(config).merge(
        K8sContainerContext(run_k8s_config=UserDefinedDagsterK8sConfig.from_dict(executor_config["step_k8s_config"]))
    )
    jobs = {}
    for op in [*(step.op for step in assets), *ERASURE_OPS]:
        name = op.name
        of_step = UserDefinedDagsterK8sConfig.from_dict(executor_config["per_step_k8s_config"].get(name, {}))
        context = base.merge(K8sContainerContext(run_k8s_config=get_user_defined_k8s_config(op.tags)))
        context = context.merge(K8sContainerContext(run_k8s_config=of_step))
        jobs[name] = _job(config, context, executor_config["job_image"], name, "step_worker")
    return jobs


def _job(config: dict[str, Any], context: K8sContainerContext, image: str, name: str, component: str) -> Job:
    class Launcher:
        """The four fields that get_k8s_job_config reads."""

        job_image = None
        dagster_home = config["dagster_home"]
        instance_config_map = config["instance_config_map"]
        postgres_password_secret = None

    job = construct_dagster_k8s_job(
        job_config=context.get_k8s_job_config(image, Launcher),
        args=["dagster", "api", "execute_step"],
        job_name=f"{component}-{name}".replace("_", "-")[:60].rstrip("-"),
        component=component,
        user_defined_k8s_config=context.run_k8s_config,
    )
    plain: Job = json.loads(json.dumps(ApiClient().sanitize_for_serialization(job)))
    return plain
