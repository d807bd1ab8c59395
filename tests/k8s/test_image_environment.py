"""The CPU image's environment, made by its Dockerfile's own steps: what is in it, and that all but training runs there.

Training's step runs in what stands in for the GPU image, see `rehearsal/images/environment.py`.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from definitions import build_defs
from demo.render.run import render_demo
from mlops_assets.tables import SCHEMAS
from mlops_assets.use_case import UseCase
from rehearsal.images.build import ImageBuildError
from rehearsal.images.environment import IMAGES, ImageEnvironment, image_environment, megabytes, pins
from resources.settings import PROJECT, Settings
from resources.tables import Tables

pytestmark = pytest.mark.production

LIMIT_MB = 1500
BASE_MB = 140
"""What the base image adds, unpacked: about 125 MB. Not measured here, since it needs a registry."""

IN_THE_BASE = {
    *("libc", "libm", "libmvec", "libdl", "libpthread", "librt", "libresolv", "libgcc_s", "libstdc++", "libz"),
    *("linux-vdso", "ld-linux-x86-64"),
}
"""System libraries of Debian's slim image: the C and C++ run time, and zlib, which dpkg and Python need."""

CASE = {
    "name": "small",
    "title": "Small",
    "start": "2026-10-05",
    "new_class": {"min_boxes": 2, "min_enclosures": 2},
    "training": {"image_size": 160, "epochs": 10, "batch": 4, "close_mosaic": 0, "mosaic": 0.0},
    "inventory": {"default_threshold": 0.05},
    # Shows that the path works, not that the detector is good: no floor, any fall allowed.
    "promotion": {"floor_ap50": 0.0, "tolerance": 1.0, "max_class_fall": 1.0, "bootstrap_samples": 100},
}


@pytest.fixture(scope="module")
def cpu() -> ImageEnvironment:
    try:
        return image_environment("cpu")
    except ImageBuildError as error:
        if "not on this machine" in str(error):
            pytest.skip(str(error))
        raise


def pod(folder: Path, **settings: str) -> dict[str, str]:
    """A pod's variables: its writable places, and a Dagster home."""
    places = {"HOME": "", "TMPDIR": "tmp", "DAGSTER_HOME": "dagster", "MLOPS_HOME": "home", "MLOPS_SCRATCH": "scratch"}
    for place in places.values():
        (folder / place).mkdir(parents=True, exist_ok=True)
    caches = {"MPLCONFIGDIR": str(folder / "matplotlib"), "YOLO_CONFIG_DIR": str(folder / "ultralytics")}
    return {name: str(folder / place) for name, place in places.items()} | caches | settings


def run(image: ImageEnvironment, *arguments: str | Path, variables: dict[str, str]) -> str:
    done = subprocess.run(
        [image.python, *arguments],
        cwd=image.app,
        env=image.environ(**variables),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


def contents(image: ImageEnvironment) -> dict[str, tuple[int, int]]:
    """Size and time of every file of an image."""
    files = [path for folder in image.folders for path in folder.rglob("*") if not path.is_symlink()]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in files if path.is_file()}


def test_it_is_small_enough(cpu: ImageEnvironment) -> None:
    size = megabytes(cpu)
    sys.stdout.write(f"cpu image without its base: {size:.0f} MB\n")
    assert 500 < size < LIMIT_MB - BASE_MB


def test_it_holds_the_pinned_packages_and_no_other(cpu: ImageEnvironment, tmp_path: Path) -> None:
    code = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
    installed = json.loads(run(cpu, "-c", code, variables=pod(tmp_path)))
    lock = {pin.name: str(pin.specifier).removeprefix("==") for pin in pins(IMAGES / "requirements-cpu.lock")}
    assert {name.lower().replace("_", "-").replace(".", "-"): version for name, version in installed.items()} == {
        name.replace(".", "-"): version for name, version in lock.items()
    }
    failing = (
        "import importlib.util as u, sys; sys.exit(any(u.find_spec(n) for n in ('torch', 'ultralytics', 'triton')))"
    )
    run(cpu, "-c", failing, variables=pod(tmp_path))


def test_it_needs_no_library_that_the_base_lacks(cpu: ImageEnvironment) -> None:
    files = [path for path in cpu.bin.parent.rglob("*.so*") if path.is_file()]
    listed = subprocess.run(["ldd", *files], capture_output=True, text=True, check=False).stdout.splitlines()
    own = {path.name for path in files}
    needed = {
        line.split()[0].rpartition("/")[2] for line in listed if line.startswith("\t") and "statically" not in line
    }
    assert len(files) > 100
    assert {name for name in needed - own if name.split(".so")[0] not in IN_THE_BASE} == set()


@pytest.mark.parametrize("profile", ["local", "k8s"])
def test_the_definitions_load_there(cpu: ImageEnvironment, profile: str, tmp_path: Path) -> None:
    code = "import definitions as d; print(d.__file__, len(d.defs.resolve_asset_graph().get_all_asset_keys()))"
    file, assets = run(cpu, "-c", code, variables=pod(tmp_path, MLOPS_PROFILE=profile)).split()
    assert Path(file) == cpu.app / "definitions.py"
    assert int(assets) >= 14


def test_code_versions_were_computed_when_the_image_was_built(cpu: ImageEnvironment, tmp_path: Path) -> None:
    code = (
        "import mlops_assets.code_versions as c; c._compute = None\n"  # computing one would fail
        "import definitions; print(len(c._known_versions()))"
    )
    assert int(run(cpu, "-c", code, variables=pod(tmp_path))) >= 10


def test_the_code_server_starts_and_its_health_check_says_so(cpu: ImageEnvironment, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    changed = {"0.0.0.0": "127.0.0.1", "4000": port}  # noqa: S104 the image's own address, replaced here
    command, health = ([changed.get(word, word) for word in line] for line in (cpu.command, cpu.health))
    variables = cpu.environ(**pod(tmp_path))
    log = tmp_path / "server.log"

    def healthy() -> bool:
        return subprocess.run(health, cwd=cpu.app, env=variables, capture_output=True, check=False).returncode == 0

    assert not healthy()
    with log.open("w") as output:
        server = subprocess.Popen(command, cwd=cpu.app, env=variables, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 120
        while not healthy():
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
    finally:
        server.terminate()
        server.wait(30)


def test_every_step_but_training_runs_there(cpu: ImageEnvironment, tmp_path: Path) -> None:
    gpu = image_environment("gpu")
    before = contents(cpu)
    render_demo(tmp_path / "rendered", seed=3, enclosures=8)
    case = tmp_path / "small.yaml"
    case.write_text(yaml.safe_dump(CASE))
    variables = pod(tmp_path, MLOPS_PROFILE="local", MLOPS_THREADS="1")  # so that busy machines do not wait
    places = Settings(home=Path(variables["MLOPS_HOME"])).places("small")
    shutil.copytree(tmp_path / "rendered" / "landing", places.landing)
    shutil.copytree(tmp_path / "rendered" / "labels" / "base", Path(places.labels) / "base")

    reports = {}
    for part, image in {"before": cpu, "training": gpu, "after": cpu}.items():
        report = tmp_path / f"{part}.json"
        path = os.pathsep.join([str(image.app), str(PROJECT / "tests")])
        script = Path(__file__).with_name("image_steps.py")
        run(image, script, case, part, report, variables=variables | {"PYTHONPATH": path})
        reports[part] = json.loads(report.read_text())
        sys.stdout.write(f"{part}: {reports[part]}\n")

    assert [reports[part]["torch"] for part in reports] == [False, True, False]
    steps = everything()
    assert {name for report in reports.values() for name in report["assets"]} == steps["assets"]
    assert reports["training"]["assets"] == ["detector_weights"]
    assert {name for report in reports.values() for name in report["checks"]} == steps["checks"]
    assert Tables(root=places.store).read("equipment_catalog", SCHEMAS["equipment_catalog"]).height > 0
    assert list(Path(places.pages).glob("**/*.html"))
    assert contents(cpu) == before, "the image's folders were written to, which a read-only root does not allow"


def everything() -> dict[str, set[str]]:
    """Every asset and check of the code location, by name."""
    definitions = build_defs(Settings(), UseCase.model_validate(CASE))
    graph: Any = definitions.resolve_asset_graph()
    return {
        "assets": {key.path[-1] for key in graph.executable_asset_keys},
        "checks": {key.name for key in graph.asset_check_keys},
    }
