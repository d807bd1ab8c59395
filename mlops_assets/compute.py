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


def _profile(name: str, *, cpu: tuple[str, str], memory: tuple[str, str], minutes: int, gpus: int = 0) -> Tags:
    """Build op tags; cpu and memory are (request, limit), minutes the deadline. A CPU profile asks for no GPU."""
    limits = {"cpu": cpu[1], "memory": memory[1]}
    requests = {"cpu": cpu[0], "memory": memory[0]}
    container: dict[str, Any] = {"resources": {"requests": requests, "limits": limits}}
    if gpus:
        limits[GPU] = requests[GPU] = str(gpus)
    # Kubernetes must not start a pod again by itself (dagster#33755); past its deadline it ends a step that hangs.
    job = {"backoff_limit": 0, "active_deadline_seconds": minutes * 60}
    config = {"container_config": container, "job_spec_config": job}
    return {PROFILE_TAG: name, K8S_TAG: config}


CPU_LIGHT = _profile("cpu_light", cpu=("250m", "1"), memory=("512Mi", "2Gi"), minutes=30)
"""Tables and pages."""

CPU_CHECK = _profile("cpu_check", cpu=("250m", "1"), memory=("768Mi", "2Gi"), minutes=15)
"""Checks: Great Expectations needs more to start than to judge."""

CPU_BATCH = _profile("cpu_batch", cpu=("2", "4"), memory=("2Gi", "6Gi"), minutes=120)
"""Photos by the thousand: decoding, quality, batch inference."""

GPU_TRAIN = _profile("gpu_train", cpu=("4", "8"), memory=("16Gi", "32Gi"), minutes=720, gpus=1)
"""Training."""

GPU_INFER = _profile("gpu_infer", cpu=("2", "4"), memory=("8Gi", "16Gi"), minutes=120, gpus=1)
"""Inference where a deployment has GPUs for it; no asset asks for it yet."""

_GPU_NODES: Tags = {
    "node_selector": {"accelerator": "nvidia"},
    "tolerations": [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}],
}
_SPOT_NODES: Tags = {
    "preferred_nodes": {"node-lifecycle": "spot"},
    "tolerations": [{"key": "node-lifecycle", "operator": "Equal", "value": "spot", "effect": "NoSchedule"}],
}
PLACEMENT = {
    "cpu_batch": _SPOT_NODES,
    "gpu_train": {**_GPU_NODES, "shared_memory": "8Gi"},
    "gpu_infer": {**_GPU_NODES, "shared_memory": "2Gi"},
}
"""Where a step runs by profile, until a deployment says otherwise; fields of `compute_overrides.Override`.

Not among the op tags, which can be added to but not taken from. Batch work prefers spot nodes and goes to others where
they have no room. Shared memory is for torch, whose worker processes hand batches over through /dev/shm.
"""

RETRY = dg.RetryPolicy(max_retries=2, delay=10, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""Of every step: its pod may be evicted or preempted, a store or server be away for a moment."""

RETRY_TRAINING = dg.RetryPolicy(max_retries=8, delay=10, backoff=dg.Backoff.LINEAR, jitter=dg.Jitter.PLUS_MINUS)
"""Of a training, which goes on where it was: on spot nodes it may be preempted several times. Waits 6 min in all."""


def with_secret(profile: Tags, secret: str) -> Tags:
    """A profile whose pods, and no others, are given a Kubernetes Secret as environment, where there is one."""
    config = profile[K8S_TAG]
    reference = {"secret_ref": {"name": secret, "optional": True}}
    container = {**config["container_config"], "env_from": [reference]}
    return {**profile, K8S_TAG: {**config, "container_config": container}}


def image_of(profile: str) -> Literal["cpu", "gpu"]:
    """The image of a profile."""
    return "gpu" if profile.startswith("gpu") else "cpu"
