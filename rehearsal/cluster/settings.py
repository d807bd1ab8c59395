"""What a caller decides about the stand-in cluster: images, nodes, services, isolation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

WORKDIR = "/app"


@dataclass(frozen=True)
class Image:
    """A container image as folders of this machine.

    Attributes:
        environment: Virtual environment, read only at its own path; its `bin` leads PATH.
        project: Folder that the container finds at `workdir`, read only.
        env: The image's own variables (`ENV` of its Dockerfile); a pod's come over them.
        entrypoint: Put before `args` where a pod gives no `command`.
        paths: Further folders to show, read only, at their own paths (what an editable install points to).
        workdir: Where the project is mounted and commands start; without isolation they start in `project` itself.
        pull_seconds: How long the first pull on a node takes.
    """

    environment: Path
    project: Path
    env: Mapping[str, str] = field(default_factory=dict)
    entrypoint: Sequence[str] = ()
    paths: Sequence[Path] = ()
    workdir: str = WORKDIR
    pull_seconds: float = 0.0

    def interpreter(self) -> Path:
        """Folder of the Python installation that the environment was made from."""
        return (self.environment / "bin" / "python").resolve().parent.parent


@dataclass(frozen=True)
class Node:
    """A machine: what it offers, as Kubernetes quantities, and who may use it.

    `taints` are dictionaries with key, value and effect.
    """

    name: str
    cpu: str = "8"
    memory: str = "64Gi"
    gpus: int = 0
    gpu_resource: str = "nvidia.com/gpu"
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[Mapping[str, str]] = ()


@dataclass(frozen=True)
class Service:
    """A name that pods reach, by port, at a port of this machine's loopback."""

    name: str
    ports: Mapping[int, int]


@dataclass(frozen=True)
class Timing:
    """Seconds that a real cluster takes longer for; short here so that tests end."""

    tick: float = 0.1
    pull_backoff: float = 2.0
    pull_backoff_most: float = 30.0
    node_lost: float = 1.0
    memory_watch: float = 0.25
    restart: float = 1.0


@dataclass(frozen=True)
class ClusterSettings:
    """Everything that the cluster is made from.

    Attributes:
        folder: Where pods' files, logs and credentials are kept; everything in it belongs to the cluster.
        images: By repository name; registry, tag and digest of a pod's image are left aside.
        nodes: None given: one that takes everything.
        services: Names that isolated pods reach.
        host_ports: Further loopback ports that isolated pods reach as 127.0.0.1.
        isolation: "auto" takes namespaces where the kernel gives them; "namespaces" fails without; "none" never.
        own_network: With isolation, whether pods get a network of their own with nothing but services and host_ports.
        enforce_rbac: Whether calls need a token and its account the right; needs Roles and bindings to be applied.
        claims: By name, the folder that stands for a PersistentVolumeClaim.
    """

    folder: Path
    images: Mapping[str, Image]
    nodes: Sequence[Node] = (Node("node-1", cpu="64", memory="512Gi", gpus=8),)
    services: Sequence[Service] = ()
    host_ports: Sequence[int] = ()
    namespace: str = "enclosure-catalog"
    isolation: Literal["auto", "namespaces", "none"] = "auto"
    own_network: bool = True
    enforce_rbac: bool = False
    claims: Mapping[str, Path] = field(default_factory=dict)
    timing: Timing = Timing()
    port: int = 0
