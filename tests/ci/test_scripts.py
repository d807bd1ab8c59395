"""The shell of the workflows' jobs, run with doubles of what talks to the outside: docker, cosign, gh, sudo."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.ci.overlay import ROOT

DIGEST = "sha256:" + "a" * 64
IMAGE = f"ghcr.io/owner/enclosure-catalog-cpu@{DIGEST}"
IDENTITY = "https://github.com/Owner/catalog/.github/workflows/images.yaml@refs/heads/main"


class Runner:
    """A GitHub runner's environment with doubles in PATH, each of which notes how it was called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "bin").mkdir()
        self.environment = {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "PYTHON": sys.executable,
            "GITHUB_REPOSITORY": "Owner/catalog",
            "GITHUB_REPOSITORY_OWNER": "Owner",
            "GITHUB_EVENT_NAME": "push",
            "GITHUB_REF_NAME": "main",
            "GITHUB_SHA": "c0ffee",
            "GITHUB_SERVER_URL": "https://github.com",
        }

    def double(self, name: str, does: str = "true") -> None:
        file = self.folder / "bin" / name
        file.write_text(f'#!/bin/bash\necho "{name} $*" >>"{self.folder}/calls"\n{does}\n')
        file.chmod(0o755)

    def calls(self) -> list[str]:
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def run(self, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(ROOT / "scripts" / "ci" / script), *arguments],
            cwd=ROOT,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


def test_signatures_are_verified_against_this_repository_s_image_workflow(runner: Runner) -> None:
    runner.double("cosign")
    done = runner.run("verify_signatures.sh", IMAGE, IMAGE.replace("cpu", "gpu"))
    assert done.returncode == 0, done.stderr
    assert [call.split()[-1] for call in runner.calls()] == [IMAGE, IMAGE.replace("cpu", "gpu")]
    assert all(f"--certificate-identity {IDENTITY} " in call for call in runner.calls())


def test_an_unsigned_image_stops_the_deployment_before_the_cluster_is_touched(runner: Runner) -> None:
    runner.double("cosign", "exit 1")
    runner.double("kubectl")
    environment = {"IMAGES": json.dumps({"enclosure-catalog-cpu": IMAGE}), "OVERLAY": "dev", "REVISION": "HEAD"}
    done = runner.run("deploy.sh", KUBECONFIG_BASE64=base64.b64encode(b"x").decode(), **environment)
    assert done.returncode != 0
    assert [call.split()[0] for call in runner.calls()] == ["cosign"]


@pytest.mark.parametrize("arguments", [[], ["ghcr.io/owner/enclosure-catalog-cpu:main"]])
def test_nothing_or_a_tag_cannot_be_verified(arguments: list[str], runner: Runner) -> None:
    runner.double("cosign")
    assert runner.run("verify_signatures.sh", *arguments).returncode == 2
    assert runner.calls() == []


def test_deploying_takes_the_cluster_from_the_secret_and_leaves_no_file_of_it(runner: Runner) -> None:
    runner.double("cosign")
    runner.double(
        "kubectl", f'cat "$KUBECONFIG" >"{runner.folder}/seen"; echo "$KUBECONFIG" >"{runner.folder}/path"; exit 1'
    )
    environment = {"IMAGES": json.dumps({"enclosure-catalog-cpu": IMAGE}), "OVERLAY": "dev", "REVISION": "HEAD"}
    done = runner.run("deploy.sh", KUBECONFIG_BASE64=base64.b64encode(b"the cluster").decode(), **environment)
    assert done.returncode != 0  # this kubectl can do nothing
    assert (runner.folder / "seen").read_text() == "the cluster"
    assert not Path((runner.folder / "path").read_text().strip()).exists()


def test_a_published_image_is_signed_then_called_main_and_noted(runner: Runner) -> None:
    runner.double("cosign")
    runner.double("docker")
    done = runner.run("publish_image.sh", IMAGE, str(runner.folder / "built" / "cpu"))
    assert done.returncode == 0, done.stderr
    assert runner.calls() == [
        f"cosign sign --yes {IMAGE}",
        f"docker buildx imagetools create --tag ghcr.io/owner/enclosure-catalog-cpu:main {IMAGE}",
    ]
    assert (runner.folder / "built" / "cpu").read_text().strip() == DIGEST


def test_an_image_that_cannot_be_signed_is_not_called_main(runner: Runner) -> None:
    runner.double("cosign", "exit 1")
    runner.double("docker")
    assert runner.run("publish_image.sh", IMAGE, str(runner.folder / "built" / "cpu")).returncode != 0
    assert [call.split()[0] for call in runner.calls()] == ["cosign"]
    assert not (runner.folder / "built").exists()


def test_build_arguments_hold_the_base_image_by_digest(runner: Runner) -> None:
    runner.double("docker", f"echo {DIGEST}")
    done = runner.run("build_arguments.sh", "k8s/images/cpu.Dockerfile")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "arguments<<EOF",
        f"BASE_IMAGE=python:3.11-slim-bookworm@{DIGEST}",
        "VERSION=main",
        "REVISION=c0ffee",
        "SOURCE=https://github.com/Owner/catalog",
        "EOF",
    ]
    runner.double("docker", "echo '<no value>'")
    assert runner.run("build_arguments.sh", "k8s/images/cpu.Dockerfile").returncode == 1


@pytest.mark.parametrize(
    ("environment", "images"),
    [
        ({"GITHUB_EVENT_NAME": "schedule"}, '["cpu", "gpu"]'),
        ({"GITHUB_EVENT_NAME": "pull_request", "BASE": "HEAD"}, "[]"),
        ({"GITHUB_EVENT_NAME": "push"}, '["cpu", "gpu"]'),  # the registry of this test has no image
    ],
)
def test_what_to_build_goes_to_the_job_s_outputs(environment: dict[str, str], images: str, runner: Runner) -> None:
    runner.double("docker", "exit 1")
    done = runner.run("decide.sh", **environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"images={images}", "registry=ghcr.io/owner"]
    asked = [call for call in runner.calls() if "ghcr.io/owner/enclosure-catalog-cpu:main" in call]
    assert bool(asked) == (environment["GITHUB_EVENT_NAME"] == "push")


def test_a_deployment_is_started_with_every_image_by_digest_and_the_commit(runner: Runner) -> None:
    runner.double("docker", 'echo \'{"digest": "sha256:old"}\'')
    runner.double("gh")
    (runner.folder / "built").mkdir()
    (runner.folder / "built" / "cpu").write_text("sha256:new\n")
    done = runner.run("start_deployment.sh", str(runner.folder / "built"), REGISTRY="ghcr.io/owner")
    assert done.returncode == 0, done.stderr
    images = {
        "enclosure-catalog-cpu": "ghcr.io/owner/enclosure-catalog-cpu@sha256:new",
        "enclosure-catalog-gpu": "ghcr.io/owner/enclosure-catalog-gpu@sha256:old",
    }
    expected = f"gh workflow run deploy.yaml --ref main --field images={json.dumps(images)} --field revision=c0ffee"
    assert runner.calls()[-1] == expected


def test_the_runner_s_preparation_refuses_any_other_machine(runner: Runner) -> None:
    runner.double("sudo")
    assert runner.run("prepare_runner.sh").returncode == 2
    assert runner.calls() == []
    assert runner.run("prepare_runner.sh", GITHUB_ACTIONS="true").returncode == 0
    assert any("rm -rf" in call for call in runner.calls())
