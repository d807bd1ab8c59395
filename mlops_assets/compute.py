"""What a step asks of Kubernetes, by profile; on a laptop these tags are carried and mean nothing.

Every asset and check takes one of the profiles as `op_tags`: tags on a job never reach step pods. What a deployment
decides (image names) is merged over them by the executor, see `step_overrides`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

PROFILE_TAG = "mlops/compute"
K8S_TAG = "dagster-k8s/config"

Tags = dict[str, Any]

_SHARED_MEMORY = {"name": "dshm", "empty_dir": {"medium": "Memory", "size_limit": "8Gi"}}
_SPOT = {
    "node_affinity": {
        "preferred_during_scheduling_ignored_during_execution": [
            {
                "weight": 100,
                "preference": {"match_expressions": [{"key": "node-lifecycle", "operator": "In", "values": ["spot"]}]},
            }
        ]
    }
}


def _profile(name: str, *, cpu: tuple[str, str], memory: tuple[str, str], gpus: int = 0, spot: bool = False) -> Tags:
    """Build op tags; cpu and memory are (request, limit). A CPU profile asks for no GPU."""
    limits = {"cpu": cpu[1], "memory": memory[1]}
    requests = {"cpu": cpu[0], "memory": memory[0]}
    container: dict[str, Any] = {"resources": {"requests": requests, "limits": limits}}
    pod: dict[str, Any] = {}
    if gpus:
        limits["nvidia.com/gpu"] = requests["nvidia.com/gpu"] = str(gpus)
        container["volume_mounts"] = [{"name": "dshm", "mount_path": "/dev/shm"}]  # noqa: S108 torch's workers share it
        pod["volumes"] = [_SHARED_MEMORY]
        pod["node_selector"] = {"accelerator": "nvidia"}
        pod["tolerations"] = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    if spot:
        pod["affinity"] = _SPOT
        pod["tolerations"] = [{"key": "node-lifecycle", "operator": "Equal", "value": "spot", "effect": "NoSchedule"}]
    config = {"container_config": container, "pod_spec_config": pod, "job_spec_config": {"backoff_limit": 0}}
    return {PROFILE_TAG: name, K8S_TAG: config}


CPU_LIGHT = _profile("cpu_light", cpu=("250m", "1"), memory=("512Mi", "2Gi"))
"""Tables, checks and pages."""

CPU_BATCH = _profile("cpu_batch", cpu=("2", "4"), memory=("2Gi", "6Gi"), spot=True)
"""Photos by the thousand: decoding, quality, batch inference."""

GPU_TRAIN = _profile("gpu_train", cpu=("4", "8"), memory=("16Gi", "32Gi"), gpus=1)
"""Training."""

GPU_INFER = _profile("gpu_infer", cpu=("2", "4"), memory=("8Gi", "16Gi"), gpus=1)
"""Inference where a deployment has GPUs for it; no asset asks for it yet."""


def step_overrides(assets: Iterable[dg.AssetsDefinition], images: Mapping[str, str]) -> dict[str, Any]:
    """Image of every step, for `per_step_k8s_config` of the Kubernetes executor, by its compute profile.

    Args:
        assets: Assets and checks of the code location.
        images: Image name by the first word of the profile, `cpu` and `gpu`.
    """
    return {
        asset.op.name: {"container_config": {"image": images[str(asset.op.tags[PROFILE_TAG]).split("_")[0]]}}
        for asset in assets
    }
