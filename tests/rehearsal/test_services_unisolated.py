"""Without namespaces: what would be mounted lies in folders, and every path leads there."""

import shutil
from pathlib import Path

import pytest
import yaml

from rehearsal.manifests import OVERLAY, Manifests, rendered
from rehearsal.unisolated import folder_for, without_volumes

CONFIG = {"kind": "ConfigMap", "apiVersion": "v1"}


@pytest.fixture
def manifests() -> Manifests:
    settings = {"MLOPS_SCRATCH": "/scratch", "MLOPS_PAGES": "/pages/{use_case}", "MLOPS_STORE": "s3://store/scratch/x"}
    instance = "dagster_home: /opt/dagster/dagster_home\nload_incluster_config: true\npaths: [/scratch, /scratchy]\n"
    return Manifests(
        [
            {**CONFIG, "metadata": {"name": "catalog-settings"}, "data": settings},
            {**CONFIG, "metadata": {"name": "dagster-instance"}, "data": {"dagster.yaml": instance}},
            {**CONFIG, "metadata": {"name": "dagster-workspace"}, "data": {"workspace.yaml": "load_from: []"}},
            {**CONFIG, "metadata": {"name": "catalog-compute"}, "data": {"compute.yaml": "profiles: {}"}},
        ]
    )


def test_paths_lead_to_folders_that_are_there(manifests: Manifests, tmp_path: Path) -> None:
    moved = without_volumes(manifests, tmp_path)
    settings = moved.settings()
    assert settings["MLOPS_SCRATCH"] == str(folder_for("/scratch", tmp_path))
    assert Path(settings["MLOPS_SCRATCH"]).is_dir()
    assert settings["MLOPS_PAGES"] == f"{folder_for('/pages', tmp_path)}/{{use_case}}"
    assert settings["MLOPS_STORE"] == "s3://store/scratch/x"


def test_the_instances_file_is_written_with_the_same_content(manifests: Manifests, tmp_path: Path) -> None:
    moved = without_volumes(manifests, tmp_path)
    home = folder_for("/opt/dagster/dagster_home", tmp_path)
    written = yaml.safe_load((home / "dagster.yaml").read_text())
    assert written == yaml.safe_load(moved.get("ConfigMap", "dagster-instance")["data"]["dagster.yaml"])
    assert written == {
        "dagster_home": str(home),
        "load_incluster_config": False,
        "paths": [str(folder_for("/scratch", tmp_path)), "/scratchy"],
    }


def test_what_was_given_is_left_as_it_is(manifests: Manifests, tmp_path: Path) -> None:
    without_volumes(manifests, tmp_path)
    assert manifests.settings()["MLOPS_SCRATCH"] == "/scratch"


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_no_mounted_path_is_left_in_the_overlay(tmp_path: Path) -> None:
    moved = without_volumes(rendered(str(OVERLAY)), tmp_path)
    (arguments,) = [
        container["args"]
        for container in moved.get("Deployment", "dagster-daemon")["spec"]["template"]["spec"]["containers"]
    ]
    workspace = Path(arguments[-1])
    assert workspace.is_relative_to(tmp_path)
    assert yaml.safe_load(workspace.read_text())["load_from"]
    compute = Path(moved.settings()["MLOPS_COMPUTE_FILE"])
    assert compute.is_file()
