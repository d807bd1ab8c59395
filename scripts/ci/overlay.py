"""Manifests of one commit and overlay, with images by digest."""

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from scripts.ci.kubectl import Kubectl, Manifest

ROOT = Path(__file__).resolve().parents[2]


def with_images(kustomization: Mapping[str, Any], images: Mapping[str, str]) -> dict[str, Any]:
    """A kustomization whose images are these addresses (name → registry/name@sha256:…); others stay.

    Raises:
        ValueError: An address has no digest, or the kustomization does not name the image.
    """
    entries = {entry["name"]: entry for entry in kustomization.get("images", [])}
    if unknown := sorted(set(images) - set(entries)):
        raise ValueError(f"The overlay names no image {', '.join(unknown)}")
    for name, address in images.items():
        place, _, digest = address.partition("@")
        if not digest.startswith("sha256:"):
            raise ValueError(f"{address} is no address by digest")
        entries[name] = {"name": name, "newName": place, "digest": digest}
    return {**kustomization, "images": list(entries.values())}


def manifests(
    kubectl: Kubectl, revision: str, overlay: str, images: Mapping[str, str], root: Path = ROOT
) -> list[Manifest]:
    """What an overlay of a commit is, rendered from git, whatever lies in the working tree."""
    with tempfile.TemporaryDirectory() as folder:
        export(revision, Path(folder), root)
        place = Path(folder) / "k8s" / "overlays" / overlay
        file = place / "kustomization.yaml"
        file.write_text(yaml.safe_dump(with_images(yaml.safe_load(file.read_text()), images), sort_keys=False))
        rendered = kubectl.run("kustomize", str(place))
    return [entry for entry in yaml.load_all(rendered, Loader=yaml.CSafeLoader) if entry]


def export(revision: str, folder: Path, root: Path = ROOT) -> None:
    """Write a commit's `k8s/` into a folder."""
    command = ["git", "archive", "--format=tar", revision, "k8s"]
    archive = subprocess.run(command, cwd=root, check=True, capture_output=True).stdout  # noqa: S603 git
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
