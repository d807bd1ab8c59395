"""What a deployment, or one run from the launchpad, wants other than the compute profiles say.

Both speak the same language: `profiles:` by name and `steps:` by op name, each with the fields of `Override`. A field
that is given takes the place of what was there; the run goes before the deployment, a step before its profile. What
comes out is merged over the asset's op tags by the Kubernetes executor.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import dagster as dg
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlops_assets.compute import GPU, PLACEMENT, PROFILE_TAG, image_of

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
    gpus: int | None = Field(None, ge=0, description="0: trains without, on any node")
    gpu_resource: str = Field(GPU, description="what a cluster calls its GPUs, such as nvidia.com/mig-1g.10gb")
    node_selector: dict[str, str] | None = None
    preferred_nodes: dict[str, str] | None = Field(None, description="labels of nodes to take first if they have room")
    tolerations: list[dict[str, Any]] | None = None
    shared_memory: str | None = Quantity
    deadline_minutes: int | None = Field(None, ge=1)
    k8s: dict[str, Any] = Field({}, description="dagster-k8s configuration as it is, merged last")

    def over(self, base: "Override") -> "Override":
        """These fields in place of another's; of processors and memory each side, of `k8s` each key by itself."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        for name in ("cpu", "memory"):
            if name in given:
                sides = getattr(base, name).model_dump(exclude_none=True) | given[name].model_dump(exclude_none=True)
                given[name] = Amount(**sides)
        if self.gpus == 0:  # what led to GPU nodes would keep the pod from any other
            given = {"node_selector": None, "tolerations": None, "shared_memory": None} | given
        return base.model_copy(update=given | {"k8s": merged(base.k8s, self.k8s)})

    def as_k8s_config(self) -> dict[str, Any]:
        """As dagster-k8s takes it for a step."""
        container: dict[str, Any] = {"image": self.image, "resources": self._resources()}
        pod: dict[str, Any] = {
            "node_selector": self.node_selector,
            "tolerations": self.tolerations,
            "affinity": _prefer(self.preferred_nodes),
        }
        if self.shared_memory:
            memory = {"medium": "Memory", "size_limit": self.shared_memory}
            pod["volumes"] = [{"name": "dshm", "empty_dir": memory}]
            container["volume_mounts"] = [{"name": "dshm", "mount_path": "/dev/shm"}]  # noqa: S108 where torch looks
        job = {"active_deadline_seconds": self.deadline_minutes * 60 if self.deadline_minutes else None}
        sections = {"container_config": container, "pod_spec_config": pod, "job_spec_config": job}
        said = {name: {k: v for k, v in section.items() if v} for name, section in sections.items()}
        return merged(said, self.k8s)

    def _resources(self) -> dict[str, dict[str, str]]:
        gpus = {} if self.gpus is None else {self.gpu_resource: str(self.gpus)}
        if self.gpu_resource != GPU:
            gpus[GPU] = "0"  # the profile's own, which a merge cannot take away
        sides = {
            f"{side}s": {"cpu": getattr(self.cpu, side), "memory": getattr(self.memory, side), **gpus}
            for side in ("request", "limit")
        }
        said = {side: {k: v for k, v in amounts.items() if v is not None} for side, amounts in sides.items()}
        return {side: amounts for side, amounts in said.items() if amounts}


def _prefer(labels: Mapping[str, str] | None) -> dict[str, Any]:
    if not labels:
        return {}
    wanted = [{"key": key, "operator": "In", "values": [value]} for key, value in labels.items()]
    term = {"weight": 100, "preference": {"match_expressions": wanted}}
    return {"node_affinity": {"preferred_during_scheduling_ignored_during_execution": [term]}}


class Compute(_Section):
    """Overrides by profile and by step."""

    profiles: dict[ProfileName, Override] = {}
    steps: dict[str, Override] = {}

    def for_step(self, step: str, profile: str, base: Override) -> Override:
        """What one step gets, laid over what it has without."""
        by_profile = self.profiles.get(profile, Override())  # type: ignore[call-overload]
        return self.steps.get(step, Override()).over(by_profile.over(base))


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
    steps: Iterable[dg.AssetsDefinition | dg.OpDefinition], images: Mapping[str, str], *overrides: Compute
) -> dict[str, dict[str, Any]]:
    """Configuration of every step for `per_step_k8s_config`: its profile's image and place, then the overrides.

    Args:
        steps: Assets and checks of the code location, and the ops of its jobs.
        images: Image name by `cpu` and `gpu`.
        overrides: Later ones win. One file serves all code locations of a deployment, so that what it says of another
            use case's checks (`<use case>__<asset>__checks`) is left alone.

    Raises:
        ComputeError: An override names a step that there is not.
    """
    ops = [step if isinstance(step, dg.OpDefinition) else step.op for step in steps]
    profiles = {op.name: str(op.tags[PROFILE_TAG]) for op in ops}
    unknown = sorted({name for each in overrides for name in each.steps if "__" not in name} - profiles.keys())
    if unknown:
        raise ComputeError(f"No step is called {', '.join(unknown)}; there are {', '.join(sorted(profiles))}")
    return {name: _step(name, profile, images, overrides) for name, profile in profiles.items()}


def _step(name: str, profile: str, images: Mapping[str, str], overrides: Iterable[Compute]) -> dict[str, Any]:
    wanted = Override(image=images[image_of(profile)], **PLACEMENT.get(profile, {}))
    for each in overrides:
        wanted = each.for_step(name, profile, wanted)
    return wanted.as_k8s_config()


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
