"""A pod a step: Dagster's Kubernetes executor with the compute profiles, a deployment's overrides and a run's.

dagster-k8s is imported inside, so that only the k8s profile pays for it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from mlops_assets.compute_overrides import Compute, parse_compute, step_overrides

KEPT_SECONDS = 3600
"""How long a finished step's Job and pod stay for `kubectl logs`; Kubernetes removes them afterwards."""

_ANYTHING = dg.Permissive()  # type: ignore[no-untyped-call]
_LAUNCHPAD = {
    "profiles": dg.Field(
        _ANYTHING,
        is_required=False,
        description="Overrides by compute profile, such as {gpu_train: {gpus: 2, memory: {limit: 64Gi}}}; "
        "fields as in mlops_assets/compute_overrides.py.",
    ),
    "steps": dg.Field(_ANYTHING, is_required=False, description="The same by step (op name)."),
    "max_concurrent": dg.Field(
        dg.Noneable(dg.IntSource), is_required=False, description="Step pods of this run at a time; empty: no limit."
    ),
}


def k8s_executor(
    steps: Sequence[dg.AssetsDefinition | dg.OpDefinition],
    images: Mapping[str, str],
    deployment: Compute,
    service_account: str,
) -> dg.ExecutorDefinition:
    """The executor of a code location.

    Args:
        steps: Its assets, checks and the ops of jobs.
        images: Image name by `cpu` and `gpu`.
        deployment: What this deployment wants otherwise.
        service_account: Of step pods, which call no Kubernetes API; empty: as the launcher's run pods.
    """
    from dagster_k8s import k8s_job_executor

    step_overrides(steps, images, deployment)  # a wrong step name is found when the code location loads

    def configure(config: dict[str, Any]) -> dict[str, Any]:
        of_run = parse_compute(
            {key: config[key] for key in ("profiles", "steps") if key in config}, "The run's executor configuration"
        )
        pod: dict[str, Any] = {"automount_service_account_token": False, "enable_service_links": False}
        pod |= {"service_account_name": service_account} if service_account else {}
        job = {"ttl_seconds_after_finished": KEPT_SECONDS, "backoff_limit": 0}
        return {
            "job_image": images["cpu"],
            "per_step_k8s_config": step_overrides(steps, images, deployment, of_run),
            "step_k8s_config": {"pod_spec_config": pod, "job_spec_config": job},
            # A run pod that goes takes its steps along, so that none works on for nobody.
            "enable_owner_references": True,
        } | ({"max_concurrent": config["max_concurrent"]} if config.get("max_concurrent") else {})

    executor: dg.ExecutorDefinition = k8s_job_executor.configured(
        configure, name="kubernetes", config_schema=_LAUNCHPAD
    )
    return executor
