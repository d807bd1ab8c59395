"""What a deployment, or one run from the launchpad, wants other than the compute profiles say.

Both speak the same language: `profiles:` by name and `steps:` by op name, each with the fields of `Override`. The
Kubernetes executor merges them over an asset's op tags, the run's over the deployment's, a step's over its profile's:
mappings key by key, while tolerations and volumes are added to those that are there.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import dagster as dg
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlops_assets.compute import GPU, PROFILE_TAG, SHARED_MEMORY, image_of

Quantity = Field(None, pattern=r"^[0-9]+(\.[0-9]+)?(m|[kKMGT]i?)?$")
ProfileName = Literal["cpu_light", "cpu_check", "cpu_batch", "gpu_train", "gpu_infer"]


class ComputeError(ValueError):
    """An override is wrong; the message names where it stands, the field and what it takes."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Amount(_Section):
    """A Kubernetes quantity, such as 500m or 4 processors, 512Mi or 16Gi of memory."""

    request: str | None = Quantity
    limit: str | None = Quantity


class Override(_Section):
    """Fields that are left out stay as they are."""

    image: str | None = None
    cpu: Amount = Amount()
    memory: Amount = Amount()
    gpus: int | None = Field(None, ge=0)
    gpu_resource: str = Field(GPU, description="what a cluster calls its GPUs, such as nvidia.com/mig-1g.10gb")
    node_selector: dict[str, str] = {}
    tolerations: list[dict[str, Any]] = []
    shared_memory: str | None = Quantity
    deadline_minutes: int | None = Field(None, ge=1)
    k8s: dict[str, Any] = Field({}, description="dagster-k8s configuration as it is, merged last")

    def as_k8s_config(self) -> dict[str, Any]:
        """As dagster-k8s takes it for a step."""
        resources = {"requests": self._amounts("request"), "limits": self._amounts("limit")}
        container: dict[str, Any] = {"image": self.image} if self.image else {}
        container |= {"resources": amounts} if (amounts := {k: v for k, v in resources.items() if v}) else {}
        pod: dict[str, Any] = {"node_selector": self.node_selector} if self.node_selector else {}
        pod |= {"tolerations": self.tolerations} if self.tolerations else {}
        if self.shared_memory:
            memory = {"medium": "Memory", "size_limit": self.shared_memory}
            pod["volumes"] = [{"name": "dshm", "empty_dir": memory}]
            container["volume_mounts"] = [{"name": "dshm", "mount_path": "/dev/shm"}]  # noqa: S108 where torch looks
        job = {"active_deadline_seconds": self.deadline_minutes * 60} if self.deadline_minutes else {}
        return merged({"container_config": container, "pod_spec_config": pod, "job_spec_config": job}, self.k8s)

    def _amounts(self, side: Literal["request", "limit"]) -> dict[str, str]:
        amounts = {"cpu": getattr(self.cpu, side), "memory": getattr(self.memory, side)}
        if self.gpus is not None:
            amounts[self.gpu_resource] = str(self.gpus)
        if self.gpu_resource != GPU:
            amounts[GPU] = "0"  # the profile's own, which a merge cannot take away
        return {name: amount for name, amount in amounts.items() if amount is not None}


class Compute(_Section):
    """Overrides by profile and by step."""

    profiles: dict[ProfileName, Override] = {}
    steps: dict[str, Override] = {}

    def for_step(self, step: str, profile: str) -> dict[str, Any]:
        """What is wanted otherwise for one step."""
        by_profile = self.profiles.get(profile, Override())  # type: ignore[call-overload]
        return merged(by_profile.as_k8s_config(), self.steps.get(step, Override()).as_k8s_config())


def parse_compute(content: object, origin: str) -> Compute:
    """Check overrides.

    Args:
        content: A mapping as YAML gives it; None for nothing.
        origin: Where it stands, for the message.

    Raises:
        ComputeError: A field is unknown or wrong.
    """
    try:
        return Compute.model_validate(content or {})
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, e['loc'])) or '(all)'}: {e['msg']}, got {e['input']!r}" for e in error.errors()]
        raise ComputeError(f"{origin} is wrong:\n" + "\n".join(lines)) from error


def load_compute(path: Path | None) -> Compute:
    """Read a deployment's overrides; without a file there are none.

    Raises:
        ComputeError: The file is missing, no YAML, or wrong.
    """
    if path is None:
        return Compute()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ComputeError(f"{path} (MLOPS_COMPUTE_FILE) cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ComputeError(f"{path} (MLOPS_COMPUTE_FILE) is no valid YAML: {error}") from error
    return parse_compute(content, f"{path} (MLOPS_COMPUTE_FILE)")


def step_overrides(
    steps: Iterable[dg.AssetsDefinition], images: Mapping[str, str], *overrides: Compute
) -> dict[str, dict[str, Any]]:
    """Configuration of every step for `per_step_k8s_config`: image, shared memory, then each of the overrides.

    Args:
        steps: Assets and checks of the code location.
        images: Image name by `cpu` and `gpu`.
        overrides: Later ones win.

    Raises:
        ComputeError: An override names a step that there is not.
    """
    profiles = {step.op.name: str(step.op.tags[PROFILE_TAG]) for step in steps}
    unknown = sorted({name for each in overrides for name in each.steps} - profiles.keys())
    if unknown:
        raise ComputeError(f"No step is called {', '.join(unknown)}; there are {', '.join(sorted(profiles))}")
    return {name: _step(name, profile, images, overrides) for name, profile in profiles.items()}


def _step(name: str, profile: str, images: Mapping[str, str], overrides: Iterable[Compute]) -> dict[str, Any]:
    config = Override(image=images[image_of(profile)], shared_memory=SHARED_MEMORY.get(profile)).as_k8s_config()
    for each in overrides:
        config = merged(config, each.for_step(name, profile))
    return config


_IDENTITY = {"volumes": "name", "volume_mounts": "mount_path", "env": "name"}
"""Lists of Kubernetes in which a later entry takes the place of an earlier one, by what tells them apart."""


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings key by key; lists one after the other, each entry once."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            result[key] = merged(old, value)
        elif isinstance(old, list) and isinstance(value, list):
            identity = _IDENTITY.get(key)
            taken = {item[identity] for item in value} if identity else set()
            kept = [item for item in old if item not in value and not (identity and item[identity] in taken)]
            result[key] = [*kept, *value]
        else:
            result[key] = value
    return result
