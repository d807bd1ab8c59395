"""The manifests of an overlay as `kubectl kustomize` renders them, with the addresses of this machine in their places.

What is changed stands in `Addresses` and in `as_server`, and is all that is: the rest is what a cluster would get.
"""

import copy
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from rehearsal.processes import ServiceError
from resources.settings import PROJECT

OVERLAY = PROJECT / "k8s" / "overlays" / "prod-gpu"
"""The one whose training asks for a GPU."""

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Addresses:
    """What differs from the overlay: where services listen, and that nobody has a GPU.

    Attributes:
        settings: Keys of the ConfigMap `catalog-settings` with their values here.
        code_server: Port of the code location's server on loopback.
    """

    settings: Mapping[str, str]
    code_server: int


class Manifests:
    """Rendered manifests, by kind and name."""

    def __init__(self, objects: Iterable[Manifest]) -> None:
        self._objects = {(thing["kind"], thing["metadata"]["name"]): thing for thing in objects}

    def get(self, kind: str, name: str) -> Manifest:
        """A copy of one.

        Raises:
            KeyError: The overlay has none of that kind and name.
        """
        return copy.deepcopy(self._objects[kind, name])

    def settings(self) -> dict[str, str]:
        """What every process of the project gets as environment."""
        return dict(self.get("ConfigMap", "catalog-settings")["data"])

    def without(self, *kinds: str) -> list[Manifest]:
        """Copies of all but some kinds."""
        return [copy.deepcopy(thing) for (kind, _), thing in self._objects.items() if kind not in kinds]

    def replacing(self, thing: Manifest) -> "Manifests":
        """The same with another manifest in the place of the one of its kind and name."""
        changed = Manifests(self.without())
        changed._objects[thing["kind"], thing["metadata"]["name"]] = thing
        return changed

    def at(self, addresses: Addresses) -> "Manifests":
        """The same with addresses of this machine."""
        changed = Manifests(copy.deepcopy(list(self._objects.values())))
        data = changed._objects["ConfigMap", "catalog-settings"]["data"]
        data.update(addresses.settings)
        workspace = changed._objects["ConfigMap", "dagster-workspace"]["data"]
        workspace["workspace.yaml"] = _with_server(workspace["workspace.yaml"], addresses.code_server)
        compute = changed._objects["ConfigMap", "catalog-compute"]["data"]
        compute["compute.yaml"] = compute["compute.yaml"].replace("value: cuda", "value: cpu")
        return changed


def rendered(overlay: str) -> Manifests:
    """Render an overlay.

    Raises:
        ServiceError: kubectl is missing, or refuses.
    """
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise ServiceError("kubectl is needed: `kubectl kustomize` renders the manifests that are rehearsed")
    done = subprocess.run(  # noqa: S603 our own command
        [kubectl, "kustomize", overlay], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ServiceError(f"`kubectl kustomize {overlay}` failed:\n{done.stderr}")
    return Manifests(thing for thing in yaml.safe_load_all(done.stdout) if thing)


def as_server(deployment: Manifest, port: int) -> Manifest:
    """The pod of a Deployment whose server others reach: on this machine's loopback, at a port that is free.

    Args:
        deployment: With one container, whose arguments name 0.0.0.0 and the container's port.
        port: To listen on.
    """
    pod = as_pod(deployment)
    (container,) = pod["spec"]["containers"]
    (listens,) = [str(each["containerPort"]) for each in container["ports"]]
    arguments = container["args"]
    if "0.0.0.0" not in arguments or listens not in arguments:  # noqa: S104 it is replaced
        raise ServiceError(f"{pod['metadata']['name']}: {arguments} do not listen on 0.0.0.0 and {listens}")
    container["args"] = [{"0.0.0.0": "127.0.0.1", listens: str(port)}.get(word, word) for word in arguments]  # noqa: S104
    for variable in container.get("env") or []:
        if "value" in variable:  # names with ports that a server lets itself be called by
            variable["value"] = re.sub(rf":{listens}\b", f":{port}", variable["value"])
    pod["spec"]["hostNetwork"] = True
    return pod


def as_pod(deployment: Manifest) -> Manifest:
    """The pod of a Deployment with one replica."""
    template = copy.deepcopy(deployment["spec"]["template"])
    name = deployment["metadata"]["name"]
    namespace = deployment["metadata"]["namespace"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**template["metadata"], "name": f"{name}-0", "namespace": namespace},
        "spec": {"restartPolicy": "Always", **template["spec"]},
    }


def secrets(namespace: str, contents: Mapping[str, Mapping[str, str]]) -> list[Manifest]:
    """Secrets by name, which the manifests only refer to."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": namespace},
            "stringData": dict(content),
        }
        for name, content in contents.items()
    ]


def _with_server(workspace: str, port: int) -> str:
    content = yaml.safe_load(workspace)
    (location,) = content["load_from"]
    location["grpc_server"] |= {"host": "127.0.0.1", "port": port}
    return str(yaml.safe_dump(content))
