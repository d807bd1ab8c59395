"""What the API server refuses at creation: names, labels, quantities and volumes that cannot be."""

import re

from rehearsal.cluster.objects import ApiError, Object
from rehearsal.cluster.quantities import cores_or_bytes

_NAME = re.compile(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
_LABEL_VALUE = re.compile(r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")


def validate(thing: Object) -> None:
    """Refuse an object as the API server would.

    Raises:
        ApiError: 422 with the field and the reason.
    """
    errors = [*_metadata(thing["metadata"])]
    if thing["kind"] == "Job":
        template = thing.get("spec", {}).get("template")
        if not template:
            errors.append("spec.template: Required value")
        else:
            if template["spec"].get("restartPolicy") not in ("Never", "OnFailure"):
                errors.append('spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"')
            errors += [*_metadata(template.get("metadata", {})), *_pod_spec(template["spec"])]
    if thing["kind"] == "Pod":
        errors += _pod_spec(thing["spec"])
    if errors:
        name = thing["metadata"].get("name", "")
        raise ApiError(422, "Invalid", f'{thing["kind"]} "{name}" is invalid: {"; ".join(errors)}')


def _metadata(metadata: Object) -> list[str]:
    errors = []
    name = metadata.get("name")
    if name is not None and (not _NAME.match(name) or len(name) > 253):
        errors.append(f"metadata.name: Invalid value: {name!r}: not a lowercase RFC 1123 subdomain")
    for key, value in (metadata.get("labels") or {}).items():
        if not isinstance(value, str) or len(value) > 63 or not _LABEL_VALUE.match(value):
            errors.append(f"metadata.labels: Invalid value: {key}={value!r}")
    return errors


def _pod_spec(spec: Object) -> list[str]:
    errors = []
    containers = spec.get("containers") or []
    if len(containers) != 1:
        errors.append(f"spec.containers: the stand-in runs one container a pod, got {len(containers)}")
    volumes = {volume["name"] for volume in spec.get("volumes") or []}
    for container in [*containers, *(spec.get("initContainers") or [])]:
        if not container.get("image"):
            errors.append(f"spec.containers[{container.get('name')}].image: Required value")
        mounted = {mount["name"] for mount in container.get("volumeMounts") or []}
        errors += [
            f"spec.containers[{container['name']}].volumeMounts: Not found: {name}" for name in mounted - volumes
        ]
        errors += _resources(container.get("resources") or {})
    return errors


def _resources(resources: Object) -> list[str]:
    errors = []
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for name, value in [*limits.items(), *requests.items()]:
        try:
            cores_or_bytes(value)
        except ValueError as error:
            errors.append(f"resources.{name}: Invalid value: {error}")
            return errors
    for name, request in requests.items():
        if name in limits and cores_or_bytes(request) > cores_or_bytes(limits[name]):
            errors.append(f"resources.requests.{name}: Invalid value: {request!r}: must be at most the limit")
    for name, limit in limits.items():
        if "/" in name and cores_or_bytes(requests.get(name, limit)) != cores_or_bytes(limit):
            errors.append(f"resources.requests.{name}: must equal the limit of an extended resource")
    return errors
