"""What the images are made of, read from their files: no environment is built here."""

import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rehearsal.images.build import base_python, context_files
from rehearsal.images.dockerfile import Dockerfile, Instruction, read_dockerfile
from rehearsal.images.environment import IMAGES, PROJECT, ImageName, differences, pins
from resources.settings import PREFIX, Settings

NAMES: tuple[ImageName, ...] = ("cpu", "gpu")
GPU_PACKAGES = re.compile(r"^(torch|torchvision|triton|ultralytics|onnxruntime-gpu|nvidia-.*)$")
HADOLINT = PROJECT / ".tools" / "check" / "bin" / "hadolint"

each_image = pytest.mark.parametrize("name", NAMES)


def dockerfile(name: str) -> Dockerfile:
    return read_dockerfile(IMAGES / f"{name}.Dockerfile")


def instructions(name: str, keyword: str) -> list[Instruction]:
    return [found for stage in dockerfile(name).stages.values() for found in stage.all(keyword)]


def pinned(lock: Path) -> dict[str, str]:
    return {pin.name: str(pin.specifier) for pin in pins(lock)}


def is_like_the_image() -> bool:
    return sys.version_info[:2] == (3, 11) and (sys.platform, platform.machine()) == ("linux", "x86_64")


# Locks of other machines and Pythons pin other versions of a few packages.
like_the_image = pytest.mark.skipif(not is_like_the_image(), reason="the images have Python 3.11 on Linux, x86_64")


@like_the_image
@each_image
def test_the_image_installs_versions_that_the_tests_run(name: str) -> None:
    image, tested = pinned(IMAGES / f"requirements-{name}.lock"), pinned(PROJECT / "requirements.lock")
    assert len(image) > 100
    assert {package: version for package, version in image.items() if tested.get(package) != version} == {}


@pytest.mark.parametrize("lock", ["cpu", "gpu", "uv"])
def test_every_pin_has_its_hashes_and_no_index_is_named(lock: str) -> None:
    text = (IMAGES / f"requirements-{lock}.lock").read_text()
    entries = re.findall(r"^[a-z0-9._-]+==(?:.*\\\n)*.*$", text, flags=re.MULTILINE)
    assert len(entries) == len(pinned(IMAGES / f"requirements-{lock}.lock"))
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in text
    assert [line for line in text.splitlines() if line.startswith("-")] == []  # no option such as --index-url


def test_only_the_gpu_image_has_gpu_packages() -> None:
    found = {name: {p for p in pinned(IMAGES / f"requirements-{name}.lock") if GPU_PACKAGES.match(p)} for name in NAMES}
    assert found["cpu"] == set()
    assert {"torch", "ultralytics"} < found["gpu"]


@like_the_image
def test_the_environment_of_the_tests_is_what_the_gpu_image_installs() -> None:
    assert differences(IMAGES / "requirements-gpu.lock") == []


@like_the_image
def test_the_gpu_image_could_install_what_it_pins(tmp_path: Path) -> None:
    """Its own line, but for the 7 GB: every pin has a wheel for the image's Python and C library, with a known hash."""
    line = next(run.value for run in instructions("gpu", "RUN") if "pip sync" in run.value)
    uv = str(Path(sys.prefix) / "bin" / "uv")
    script = line.replace("uv/bin/uv", uv).replace("pip sync", "pip sync --dry-run")
    shutil.copy(IMAGES / "requirements-gpu.lock", tmp_path)
    done = subprocess.run(["/bin/sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"Would install {len(pinned(IMAGES / 'requirements-gpu.lock'))} packages" in done.stderr


@each_image
def test_runs_without_a_name_without_rights_and_says_how_it_is(name: str) -> None:
    final = dockerfile(name).final
    assert [each.value for each in final.all("USER")] == ["10001:10001"]
    assert final.all("CMD")[-1].command()[:3] == ["dagster", "code-server", "start"]
    assert final.all("HEALTHCHECK")[-1].command()[:3] == ["dagster", "api", "grpc-health-check"]
    assert final.all("RUN") == []  # everything was made in an earlier stage, whose tools stay behind


@each_image
def test_labels_name_commit_and_version_from_the_build(name: str) -> None:
    given = {"VERSION": "1.2.3", "REVISION": "4f2a", "SOURCE": "elsewhere", "BASE_IMAGE": "python:x"}
    final = dockerfile(name).final
    assert {pair for each in final.all("ARG") for pair in each.pairs({})} == {"VERSION", "REVISION", "SOURCE"}
    labels = {key: text for each in final.all("LABEL") for key, text in each.pairs(given).items()}
    short = {key.removeprefix("org.opencontainers.image."): text for key, text in labels.items()}
    assert short.pop("description")
    assert short == {
        "title": f"enclosure-catalog-{name}",
        "version": "1.2.3",
        "revision": "4f2a",
        "source": "elsewhere",
        "base.name": "python:x",
        "licenses": "AGPL-3.0-or-later",
    }


@each_image
def test_the_base_is_slim_and_of_a_version_that_the_project_supports(name: str) -> None:
    file = dockerfile(name)
    assert re.fullmatch(r"python:\d\.\d+-slim-[a-z]+", file.base_image)
    assert base_python(file) == "3.11"


@each_image
def test_no_package_of_the_system_is_installed(name: str) -> None:
    assert [
        run.value for run in instructions(name, "RUN") if re.search(r"\b(apt|apt-get|apk|curl|wget)\b", run.value)
    ] == []


@each_image
def test_caches_of_package_managers_stay_out_of_layers(name: str) -> None:
    for run in instructions(name, "RUN"):
        if "pip install" in run.value or "pip sync" in run.value:
            assert "cache" in {mount["type"] for mount in run.mounts()}, run.value
            assert "--require-hashes" in run.value


@each_image
def test_settings_in_the_image_are_settings_of_the_project(name: str) -> None:
    variables = {key for each in instructions(name, "ENV") for key in each.pairs({})}
    known = {f"{PREFIX}{field.upper()}" for field in Settings.model_fields}
    assert "MLOPS_PROFILE" in variables
    assert {key for key in variables if key.startswith(PREFIX)} <= known


def test_both_images_hold_the_same_project() -> None:
    assert dockerfile("cpu").stages["app"] == replaced(dockerfile("gpu")).stages["app"]


def replaced(file: Dockerfile) -> Dockerfile:
    """Without line numbers of its own, which tell nothing of what is done."""
    other = dockerfile("cpu").stages["app"].instructions
    stage = file.stages["app"]
    lines = [Instruction(i.keyword, i.options, i.value, o.line) for i, o in zip(stage.instructions, other, strict=True)]
    return Dockerfile(file.arguments, {"app": type(stage)(stage.name, stage.parent, tuple(lines))})


def test_the_context_holds_what_runs_and_nothing_else() -> None:
    files = context_files(PROJECT)
    tops = {path.split("/")[0] for path in files}
    assert tops == {
        *("LICENSE", "definitions.py", "k8s", "mlops_assets", "pyproject.toml"),
        *("resources", "sensors", "use_cases", "workspace.yaml"),
    }
    assert {path for path in files if path.startswith("k8s/")} == {
        f"k8s/images/requirements-{name}.lock" for name in ("cpu", "gpu", "uv")
    }
    assert [path for path in files if "__pycache__" in path or "/." in path] == []


def test_whatever_git_ignores_cannot_get_into_an_image(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").write_text((PROJECT / ".dockerignore").read_text())
    for path in (".env", "mlops_assets/.env", "mlops_assets/__pycache__/a.pyc", "secrets.yaml", "k8s/base/secret.yaml"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x")
    (tmp_path / "mlops_assets/jobs.py").write_text("x")
    assert context_files(tmp_path) == {"mlops_assets/jobs.py"}


@each_image
def test_hadolint_finds_nothing(name: str) -> None:
    if not HADOLINT.exists():
        pytest.skip("hadolint is not here; `make check` sets it up")
    command = [str(HADOLINT), "--no-color", "--failure-threshold", "style", str(IMAGES / f"{name}.Dockerfile")]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
