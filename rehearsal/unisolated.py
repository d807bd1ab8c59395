"""Where the kernel gives no namespaces: pods see this machine's files, so that what volumes would show must lie there.

Everything that the manifests mount is written to folders of the rehearsal, and its paths are replaced by those; pods
find the Kubernetes API by KUBECONFIG, since no account's folder can be mounted either.
"""

import re
from pathlib import Path
from typing import Any

from rehearsal.images_of_cluster import DAGSTER_HOME
from rehearsal.manifests import Manifest, Manifests

_MOUNTED = {
    DAGSTER_HOME: "dagster-instance",
    "/etc/dagster": "dagster-workspace",
    "/etc/catalog": "catalog-compute",
}
"""Mount paths of ConfigMaps."""

_WRITABLE = ("/scratch", "/pages")


def folder_for(path: str, folder: Path) -> Path:
    """Where a mount path lies instead."""
    return folder / path.strip("/").replace("/", "-")


def without_volumes(manifests: Manifests, folder: Path) -> Manifests:
    """Write what would be mounted below `folder`, and give the manifests with paths that lead there."""
    moved = Manifests(_moved(thing, folder) for thing in manifests.without())
    instance = moved.get("ConfigMap", "dagster-instance")
    text = instance["data"]["dagster.yaml"]
    instance["data"]["dagster.yaml"] = text.replace("load_incluster_config: true", "load_incluster_config: false")
    moved = moved.replacing(instance)
    for path, name in _MOUNTED.items():
        _write(moved.get("ConfigMap", name), folder_for(path, folder))
    for path in _WRITABLE:
        folder_for(path, folder).mkdir(parents=True, exist_ok=True)
    return moved


def _write(config_map: Manifest, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in config_map["data"].items():
        (folder / name).write_text(content, encoding="utf-8")


def _moved(thing: Any, folder: Path) -> Any:
    if isinstance(thing, dict):
        return {key: _moved(value, folder) for key, value in thing.items()}
    if isinstance(thing, list):
        return [_moved(value, folder) for value in thing]
    if not isinstance(thing, str):
        return thing
    paths = "|".join(re.escape(path) for path in (*_MOUNTED, *_WRITABLE))
    # A whole path, also as part of a longer one, but not the tail of another.
    return re.sub(rf"(?<![\w./-])({paths})(?![\w.-])", lambda found: str(folder_for(found.group(1), folder)), thing)
