"""What a step asks of Kubernetes, by profile; on a laptop these tags are carried and mean nothing.

Every asset and check takes one of the profiles as `op_tags`: tags on a job never reach step pods. What a deployment or
one run decides otherwise (images, sizes, nodes) stands in `compute_overrides` and is merged over them by the executor.
"""

from typing import Any, Literal

import dagster as dg

PROFILE_TAG = "mlops/compute"
K8S_TAG = "dagster-k8s/config"
GPU = "nvidia.com/gpu"

Tags = dict[str, Any]

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


def _profile(
    name: str, *, cpu: tuple[str, str], memory: tuple[str, str], minutes: int, gpus: int = 0, spot: bool = False
) -> Tags:
    """Build op tags; cpu and memory are (request, limit), minutes the deadline. A CPU profile asks for no GPU."""
    limits = {"cpu": cpu[1], "memory": memory[1]}
    requests = {"cpu": cpu[0], "memory": memory[0]}
    container: dict[str, Any] = {"resources": {"requests": requests, "limits": limits}}
    pod: dict[str, Any] = {}
    if gpus:
        limits[GPU] = requests[GPU] = str(gpus)
        pod["node_selector"] = {"accelerator": "nvidia"}
        pod["tolerations"] = [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}]
    if spot:  # preferred only: where no spot node has room, the pod goes to another
        pod["affinity"] = _SPOT
        pod["tolerations"] = [{"key": "node-lifecycle", "operator": "Equal", "value": "spot", "effect": "NoSchedule"}]
    # Kubernetes must not start a pod again by itself (dagster#33755); past its deadline it ends a step that hangs.
    job = {"backoff_limit": 0, "active_deadline_seconds": minutes * 60}
    config = {"container_config": container, "pod_spec_config": pod, "job_spec_config": job}
    return {PROFILE_TAG: name, K8S_TAG: config}


CPU_LIGHT = _profile("cpu_light", cpu=("250m", "1"), memory=("512Mi", "2Gi"), minutes=30)
"""Tables and pages."""

CPU_CHECK = _profile("cpu_check", cpu=("250m", "1"), memory=("768Mi", "2Gi"), minutes=15)
"""Checks: Great Expectations needs more to start than to judge."""

CPU_BATCH = _profile("cpu_batch", cpu=("2", "4"), memory=("2Gi", "6Gi"), minutes=120, spot=True)
"""Photos by the thousand: decoding, quality, batch inference."""

GPU_TRAIN = _profile("gpu_train", cpu=("4", "8"), memory=("16Gi", "32Gi"), minutes=720, gpus=1)
"""Training."""

GPU_INFER = _profile("gpu_infer", cpu=("2", "4"), memory=("8Gi", "16Gi"), minutes=120, gpus=1)
"""Inference where a deployment has GPUs for it; no asset asks for it yet."""

SHARED_MEMORY = {"gpu_train": "8Gi", "gpu_infer": "2Gi"}
"""Size of a memory-backed /dev/shm by profile: torch's worker processes hand batches over through it."""

PROFILES = {str(tags[PROFILE_TAG]): tags for tags in (CPU_LIGHT, CPU_CHECK, CPU_BATCH, GPU_TRAIN, GPU_INFER)}

RETRY = dg.RetryPolicy(max_retries=2, delay=10, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""Of every step: its pod may be evicted or preempted, a store or server be away for a moment."""


def image_of(profile: str) -> Literal["cpu", "gpu"]:
    """The image of a profile."""
    return "gpu" if profile.startswith("gpu") else "cpu"
