"""What every pod of this project must keep to, on plain pod specs in the API's camelCase.

For rendered manifests as well as for the Jobs that dagster-k8s makes; needs no tool and no cluster.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

TOKEN_ACCOUNTS = {"dagster-webserver", "dagster-daemon", "dagster-run"}
"""Accounts that talk to the Kubernetes API; no other pod gets a token."""

_SECRET_NAME = re.compile(r"PASSWORD|SECRET|TOKEN|CREDENTIAL|_KEY\b|ACCESS_KEY", re.IGNORECASE)
_NO_SECRETS = {"DAGSTER_RUN_STEP_KEY"}
"""Names that sound like it: Dagster calls a step's name its key."""

_PASSWORD_IN_ADDRESS = re.compile(r"://[^/\s:@]+:[^/\s@]+@")

Spec = Mapping[str, Any]


def violations(pod: Spec, where: str) -> list[str]:
    """Every rule that a pod breaks, in words; an empty list for a good pod.

    Args:
        pod: A pod's `spec` as JSON or YAML give it.
        where: What to call it in the messages.
    """
    found = [*_pod(pod), *_volumes(pod)]
    for container in containers(pod):
        name = container["name"]
        found += [f"{name}: {line}" for line in _container(container, pod.get("securityContext") or {})]
    return [f"{where}: {line}" for line in found]


def containers(pod: Spec) -> list[Spec]:
    """Containers and init containers."""
    return [*(pod.get("initContainers") or []), *(pod.get("containers") or [])]


def references(pod: Spec) -> set[tuple[str, str]]:
    """(kind, name) of everything of the namespace, and priority classes, that a pod cannot start without."""
    found = {("ServiceAccount", pod["serviceAccountName"])} if pod.get("serviceAccountName") else set()
    if pod.get("priorityClassName"):
        found.add(("PriorityClass", pod["priorityClassName"]))
    for volume in pod.get("volumes") or []:
        found |= {("ConfigMap", volume["configMap"]["name"])} if volume.get("configMap") else set()
        found |= {("Secret", volume["secret"]["secretName"])} if volume.get("secret") else set()
        claim = volume.get("persistentVolumeClaim")
        found |= {("PersistentVolumeClaim", claim["claimName"])} if claim else set()
    for container in containers(pod):
        for source in container.get("envFrom") or []:
            for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                if source.get(field):
                    found.add((kind, source[field]["name"]))
        found |= {("Secret", name) for name, _ in secret_keys(container)}
    return found


def secret_keys(container: Spec) -> set[tuple[str, str]]:
    """(secret, key) of single variables."""
    refs = [(variable.get("valueFrom") or {}).get("secretKeyRef") for variable in container.get("env") or []]
    return {(ref["name"], ref["key"]) for ref in refs if ref}


def _pod(pod: Spec) -> Iterator[str]:
    account = pod.get("serviceAccountName")
    if account in (None, "", "default"):
        yield "runs under the default service account"
    if pod.get("automountServiceAccountToken", True) and account not in TOKEN_ACCOUNTS:
        yield f"account {account} gets a token of the Kubernetes API"
    if pod.get("enableServiceLinks", True):
        yield "service links would set variables such as MLFLOW_PORT"
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(field):
            yield f"{field} is set"
    security = pod.get("securityContext") or {}
    if (security.get("seccompProfile") or {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "no seccomp profile"


def _volumes(pod: Spec) -> Iterator[str]:
    volumes = pod.get("volumes") or []
    names = [volume["name"] for volume in volumes]
    yield from (f"two volumes are called {name}" for name in _twice(names))
    yield from (f"volume {volume['name']} is a folder of the node" for volume in volumes if volume.get("hostPath"))
    for container in containers(pod):
        mounts = container.get("volumeMounts") or []
        yield from (f"{container['name']}: no volume {m['name']}" for m in mounts if m["name"] not in names)
        twice = _twice([mount["mountPath"] for mount in mounts])
        yield from (f"{container['name']}: two volumes at {path}" for path in twice)


def _container(container: Spec, pod_security: Spec) -> Iterator[str]:
    yield from _security(container.get("securityContext") or {}, pod_security)
    yield from _resources(container.get("resources") or {})
    image = container.get("image") or ""
    tag = image.rsplit("/", 1)[-1]
    if "@sha256:" not in image and (":" not in tag or tag.endswith(":latest")):
        yield f"image {image!r} has neither digest nor version"
    env = container.get("env") or []
    yield from (f"{name} is set twice" for name in _twice([variable["name"] for variable in env]))
    for variable in env:
        value = variable.get("value") or ""
        named = _SECRET_NAME.search(variable["name"]) and variable["name"] not in _NO_SECRETS
        if value and (named or _PASSWORD_IN_ADDRESS.search(value)):
            yield f"{variable['name']} holds a secret by value"


def _security(own: Spec, pod: Spec) -> Iterator[str]:
    if not own.get("runAsNonRoot", pod.get("runAsNonRoot")):
        yield "may run as root"
    if not own.get("runAsUser", pod.get("runAsUser")):  # unset is the image's choice, 0 is root
        yield "no user other than root is set"
    if own.get("privileged") or own.get("allowPrivilegeEscalation", True):
        yield "may gain privileges"
    if not own.get("readOnlyRootFilesystem"):
        yield "root file system is writable"
    capabilities = own.get("capabilities") or {}
    if capabilities.get("drop") != ["ALL"] or capabilities.get("add"):
        yield "keeps capabilities"


def _resources(resources: Spec) -> Iterator[str]:
    from kubernetes.utils.quantity import parse_quantity

    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    for amount in ("cpu", "memory"):
        if amount not in requests or amount not in limits:
            yield f"no request or no limit of {amount}"
    for amount in requests.keys() & limits.keys():
        asked, most = parse_quantity(requests[amount]), parse_quantity(limits[amount])
        if asked > most:
            yield f"asks for more {amount} ({requests[amount]}) than its limit ({limits[amount]})"
        if "/" in amount and asked != most:
            yield f"{amount}: request and limit differ"


def _twice(names: list[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})
