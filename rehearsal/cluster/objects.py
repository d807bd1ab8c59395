"""What the API speaks: kinds of objects, times, and errors in the shape of a Kubernetes `Status`."""

import datetime as dt
import secrets
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
"""A Kubernetes object as JSON, camelCase."""


@dataclass(frozen=True)
class Resource:
    """One kind that the server stores."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """As in `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version


_RBAC = "rbac.authorization.k8s.io"
RESOURCES = (
    Resource("", "v1", "pods", "Pod"),
    Resource("", "v1", "configmaps", "ConfigMap"),
    Resource("", "v1", "secrets", "Secret"),
    Resource("", "v1", "events", "Event"),
    Resource("", "v1", "serviceaccounts", "ServiceAccount"),
    Resource("", "v1", "services", "Service"),
    Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim"),
    Resource("", "v1", "namespaces", "Namespace", namespaced=False),
    Resource("", "v1", "nodes", "Node", namespaced=False),
    Resource("batch", "v1", "jobs", "Job"),
    Resource(_RBAC, "v1", "roles", "Role"),
    Resource(_RBAC, "v1", "rolebindings", "RoleBinding"),
    Resource(_RBAC, "v1", "clusterroles", "ClusterRole", namespaced=False),
    Resource(_RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False),
)
BY_KIND = {resource.kind: resource for resource in RESOURCES}
BY_PLURAL = {(resource.group, resource.plural): resource for resource in RESOURCES}


class ApiError(Exception):
    """A refusal that the client gets as a `Status` object."""

    def __init__(self, code: int, reason: str, message: str, details: Object | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.details = code, reason, message, details or {}

    def status(self) -> Object:
        """The body of the answer."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
            "code": self.code,
        }


def not_found(resource: Resource, name: str) -> ApiError:
    """404 as the API words it."""
    kind = f"{resource.plural}.{resource.group}" if resource.group else resource.plural
    details = {"name": name, "group": resource.group, "kind": resource.plural}
    return ApiError(404, "NotFound", f'{kind} "{name}" not found', details)


def now() -> str:
    """The time as `metav1.Time`, whole seconds."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def generated(prefix: str) -> str:
    """A name that the server makes up, five random characters after the prefix, 63 in all."""
    return f"{prefix[:57]}-{''.join(secrets.choice('bcdfghjklmnpqrstvwxz2456789') for _ in range(5))}"


def key_of(thing: Object) -> tuple[str, str, str]:
    """Kind, namespace and name."""
    metadata = thing["metadata"]
    return thing["kind"], metadata.get("namespace", ""), metadata["name"]


def labels_of(thing: Object) -> dict[str, str]:
    """Labels, empty where there are none."""
    labels: dict[str, str] = thing["metadata"].get("labels") or {}
    return labels


def owner_uids(thing: Object) -> list[str]:
    """Uids of the owners."""
    return [owner["uid"] for owner in thing["metadata"].get("ownerReferences") or []]


def finished(job: Object) -> bool:
    """Whether a Job is complete or failed."""
    return any(
        condition["type"] in ("Complete", "Failed") and condition["status"] == "True"
        for condition in job["status"].get("conditions", [])
    )


def ended(pod: Object) -> bool:
    """Whether a pod has reached its last phase."""
    return pod["status"]["phase"] in ("Succeeded", "Failed")
