"""What loading the code location costs beside a trivial one: every code server, run and step process pays it.

Fresh interpreters of the CPU image's environment, taken in turns so that both sides see the same machine; medians are
compared. The trivial project imports what any project of this kind does: dagster, polars and pydantic-settings, on
Kubernetes dagster_k8s as well.
"""

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

ROUNDS = 9

_TRIVIAL = (
    "import dagster as dg, polars, pydantic_settings{more}\n"
    "@dg.asset\ndef one() -> int:\n    return 1\n"
    "defs = dg.Definitions([one]{executor})\n"
)
_STEP = (
    "from dagster._core.execution.api import create_execution_plan\n"
    "job = {module}.defs.get_repository_def().get_job('__ASSET_JOB')\n"
    "create_execution_plan(job)\n"
)
_WORK = "import mlops_assets.photos.intake, upath.implementations.local, dagster._core.storage.sqlite_storage\n"
"""What the step raw_photos imports when it begins to work."""


def run() -> dict[str, float]:
    """Measure and print; returns the ratios."""
    from rehearsal.images.environment import image_environment

    image = image_environment("cpu")
    with tempfile.TemporaryDirectory() as folder:
        trivial = Path(folder)
        (trivial / "trivial.py").write_text(_TRIVIAL.format(more="", executor=""), encoding="utf-8")
        k8s = _TRIVIAL.format(more=", dagster_k8s", executor=", executor=dagster_k8s.k8s_job_executor")
        (trivial / "trivial_k8s.py").write_text(k8s, encoding="utf-8")
        paths = os.pathsep.join([str(image.app), folder])
        sides = {
            "trivial": ("trivial", "local", False),
            "local": ("definitions", "local", False),
            "trivial k8s": ("trivial_k8s", "k8s", False),
            "k8s": ("definitions", "k8s", False),
            "trivial step": ("trivial_k8s", "k8s", True),
            "CPU step": ("definitions", "k8s", True),
        }
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        for round_ in range(ROUNDS + 1):
            for name, (module, profile, step) in sides.items():
                environment = image.environ(
                    PYTHONPATH=paths, MLOPS_PROFILE=profile, MLOPS_HOME=folder, HOME=folder, MLOPS_SCRATCH=folder
                )
                taken = _time([str(image.python), "-W", "ignore", "-c", _code(module, step)], environment)
                if round_:  # the first warms the disk cache
                    seconds[name].append(taken)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, values in seconds.items():
        print(f"{name:13} median {medians[name]:.2f} s, {min(values):.2f} to {max(values):.2f} s")
    return {
        "load_over_trivial": medians["local"] / medians["trivial"],
        "load_over_trivial_k8s": medians["k8s"] / medians["trivial k8s"],
        "step_start_over_trivial": medians["CPU step"] / medians["trivial step"],
    }


def _code(module: str, step: bool) -> str:
    """Load a module; for a step also plan its job and, in our project, import what the step works with."""
    work = _WORK if step and module == "definitions" else ""
    return f"import {module}\n" + (_STEP.format(module=module) + work if step else "")


def _time(command: list[str], environment: Mapping[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, env=environment, check=True)  # noqa: S603 our own code
    return time.perf_counter() - started
