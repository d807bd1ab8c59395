"""From a pod to the specification of its container's process: image, user, network, limits."""

import itertools
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rehearsal.cluster.objects import Object
from rehearsal.cluster.pod_files import ACCOUNT_FOLDER, Volumes, environment
from rehearsal.cluster.quantities import cores_or_bytes
from rehearsal.cluster.sandbox.main import Spec
from rehearsal.cluster.sandbox.relay import Route
from rehearsal.cluster.sandbox.root import Mount
from rehearsal.cluster.settings import ClusterSettings, Image
from rehearsal.cluster.store import Store

ENFORCED_ALWAYS = ("memory limit", "CPU count", "deadline")
ENFORCED_ISOLATED = ("only the image's and the volumes' files", "volumes at their paths", "user", "own processes")


def image_name(reference: str) -> str:
    """`registry/path/name:tag@digest` → `name`."""
    return reference.rsplit("/", 1)[-1].split("@", 1)[0].split(":", 1)[0]


@dataclass(frozen=True)
class ContainerMaker:
    """Makes specifications; `credentials` gives the folder of an account's token, certificate and kubeconfig."""

    store: Store
    settings: ClusterSettings
    isolated: bool
    api_port: int

    def image(self, container: Object) -> Image | None:
        """The image's folders, None where nobody has it."""
        return self.settings.images.get(image_name(container["image"]))

    def enforced(self, pod: Object) -> list[str]:
        """What will be held against this pod, in words."""
        if not self.isolated:
            return list(ENFORCED_ALWAYS)
        security = self._security(pod, pod["spec"]["containers"][0])
        extra = ["read-only root"] if security.get("readOnlyRootFilesystem") else []
        extra += ["no new privileges"] if security.get("allowPrivilegeEscalation") is False else []
        extra += ["egress to named services alone"] if self._own_network(pod) else []
        return [*ENFORCED_ALWAYS, *ENFORCED_ISOLATED, *extra]

    def spec(self, pod: Object, container: Object, folder: Path, credentials: Path | None) -> Spec:
        """The container's process.

        Args:
            pod: The pod.
            container: One of its containers, or init containers.
            folder: The pod's own folder on this machine.
            credentials: Folder with its account's token, certificate and kubeconfig, None: it gets none.

        Raises:
            ConfigError: Something that it names is missing.
        """
        image = self.image(container)
        if image is None:
            raise LookupError(container["image"])
        volumes = Volumes(self.store, folder / "volumes", self.settings.claims)
        mounts = [*_image_mounts(image), *volumes.mounts(pod, container)]
        variables = self._variables(pod, container, image, credentials)
        if credentials is not None:
            mounts.append(Mount(str(credentials), ACCOUNT_FOLDER, read_only=True))
        command = [*(container.get("command") or image.entrypoint), *(container.get("args") or [])]
        security = self._security(pod, container)
        root = folder / "root"
        root.mkdir(parents=True, exist_ok=True)
        uid = int(security.get("runAsUser") or 0)
        return Spec(
            command=[_expand(word, variables) for word in command],
            environment=variables,
            workdir=container.get("workingDir") or (image.workdir if self.isolated else str(image.project)),
            root=str(root),
            uid=uid,
            gid=int(security.get("runAsGroup") or uid),
            cpus=_cpus(container),
            mounts=mounts,
            routes=self.routes() if self._own_network(pod) else [],
            hosts=self.hosts(),
            isolated=self.isolated,
            own_network=self._own_network(pod),
            read_only_root=bool(security.get("readOnlyRootFilesystem")),
            no_new_privileges=security.get("allowPrivilegeEscalation") is False,
        )

    def routes(self) -> list[Route]:
        """Every address that a pod with a network of its own reaches."""
        own = {self.api_port, *self.settings.host_ports}
        named = [
            Route(_address(index), port, host_port)
            for index, service in enumerate(self.settings.services)
            for port, host_port in service.ports.items()
        ]
        return [*(Route("127.0.0.1", port, port) for port in sorted(own)), *named]

    def hosts(self) -> str:
        """Content of /etc/hosts: services by all their names."""
        lines = ["127.0.0.1 localhost"]
        for index, service in enumerate(self.settings.services):
            space = f"{service.name}.{self.settings.namespace}"
            address = _address(index) if self.settings.own_network else "127.0.0.1"
            lines.append(f"{address} {service.name} {space} {space}.svc {space}.svc.cluster.local")
        return "\n".join(lines) + "\n"

    def _own_network(self, pod: Object) -> bool:
        return self.isolated and self.settings.own_network and not pod["spec"].get("hostNetwork")

    def _security(self, pod: Object, container: Object) -> Object:
        return {**(pod["spec"].get("securityContext") or {}), **(container.get("securityContext") or {})}

    def _variables(self, pod: Object, container: Object, image: Image, credentials: Path | None) -> dict[str, str]:
        """The image's variables, the cluster's, the pod's, later ones over earlier."""
        base = {
            "PATH": f"{image.environment}/bin:/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self.api_port),
        }
        if credentials is not None:
            place = ACCOUNT_FOLDER if self.isolated else str(credentials)
            base["KUBECONFIG"] = f"{place}/kubeconfig"
        name = {"HOSTNAME": pod["metadata"]["name"][:63]}
        return base | dict(image.env) | name | environment(self.store, pod, container)


def _address(index: int) -> str:
    return f"127.0.1.{index + 1}"


def _expand(word: str, variables: Mapping[str, str]) -> str:
    """`$(NAME)` in commands and arguments."""
    for name, value in variables.items():
        word = word.replace(f"$({name})", value)
    return word


def _image_mounts(image: Image) -> list[Mount]:
    folders = dict.fromkeys([image.environment, image.interpreter(), *image.paths])
    shown = [Mount(str(folder), str(folder), read_only=True) for folder in folders if not folder.is_relative_to("/usr")]
    return [*shown, Mount(str(image.project), image.workdir, read_only=True)]


def _cpus(container: Object) -> list[int]:
    """As many processors as the limit says, rounded up, out of those of this process; empty: all."""
    limit = ((container.get("resources") or {}).get("limits") or {}).get("cpu")
    own = sorted(os.sched_getaffinity(0))
    if limit is None:
        return []
    count = min(len(own), max(1, math.ceil(cores_or_bytes(limit))))
    start = next(_turn) % len(own)
    return sorted(own[(start + step) % len(own)] for step in range(count))


_turn = itertools.count()
