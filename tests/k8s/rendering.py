"""Renders the manifests as an operator does, and finds the tools of the checks."""

import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).resolve().parent.parent.parent
K8S = PROJECT / "k8s"
OVERLAYS = ["dev", "prod-cpu", "prod-gpu"]
COMPONENTS = ["components/auth-proxy", "components/external-secrets", "serving", "serving/autoscaling"]
OWN_IMAGES = ("enclosure-catalog-cpu", "enclosure-catalog-gpu")
DIGEST = {name: "sha256:" + str(number) * 64 for number, name in enumerate(OWN_IMAGES, start=1)}

Doc = dict[str, Any]


def tool(name: str) -> str:
    """A tool of the checks; the test is skipped, with a word, where it is not."""
    places = [PROJECT / ".tools" / place / "bin" / name for place in ("check", "policy")]
    found = next((str(place) for place in places if place.exists()), None) or shutil.which(name)
    if not found:
        pytest.skip(f"{name} is not here: `make check-tools` brings it, kubectl comes from the machine")
    return found


@functools.cache
def rendered(overlay: str) -> list[Doc]:
    """An overlay as it stands in the repository."""
    return kustomize(K8S / "overlays" / overlay)


@functools.cache
def deployed(overlay: str, *components: str) -> list[Doc]:
    """An overlay as CI deploys it: own images by digest; with optional components."""

    def change(kustomization: Doc) -> None:
        for image in kustomization["images"]:
            if image["name"] in DIGEST:
                image.pop("newTag", None)
                image["digest"] = DIGEST[image["name"]]
        added = [f"../../{component}" for component in components]
        kustomization["components"] = [*kustomization.get("components", []), *added]

    return render_changed(overlay, change)


def render_changed(overlay: str, change: Callable[[Doc], None]) -> list[Doc]:
    """An overlay whose kustomization was edited, in a copy."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "k8s"
        shutil.copytree(K8S, copy)
        file = copy / "overlays" / overlay / "kustomization.yaml"
        kustomization = yaml.safe_load(file.read_text())
        change(kustomization)
        file.write_text(yaml.safe_dump(kustomization))
        return kustomize(file.parent)


def kustomize(folder: Path) -> list[Doc]:
    command = [tool("kubectl"), "kustomize", str(folder)]
    environment = os.environ | {"KUBECONFIG": os.devnull}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def pods(docs: list[Doc]) -> dict[str, Doc]:
    """Pod specs by kind/name of what makes them."""
    return {
        f"{doc['kind']}/{doc['metadata']['name']}": doc["spec"]["template"]["spec"]
        for doc in docs
        if doc["kind"] in ("Deployment", "Job", "StatefulSet", "DaemonSet")
    }


def named(docs: list[Doc], kind: str, name: str) -> Doc:
    """The one document of that kind and name."""
    [found] = [doc for doc in docs if doc["kind"] == kind and doc["metadata"]["name"] == name]
    return found


def of_kind(docs: list[Doc], kind: str) -> list[Doc]:
    return [doc for doc in docs if doc["kind"] == kind]
