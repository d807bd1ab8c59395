"""What loading the code location costs beside a trivial one: every code server, run and step process pays it.

Fresh interpreters, taken in turns so that both sides see the same machine; medians are compared.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
ROUNDS = 9

_TRIVIAL = "import dagster as dg\n@dg.asset\ndef one() -> int:\n    return 1\ndefs = dg.Definitions([one])\n"
_PLAN = (
    "from dagster._core.execution.api import create_execution_plan\n"
    "job = {module}.defs.get_repository_def().get_job('__ASSET_JOB')\n"
    "create_execution_plan(job)\n"
)


def run() -> dict[str, float]:
    """Measure and print; returns the ratios."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "trivial.py").write_text(_TRIVIAL, encoding="utf-8")
        sides = {
            "trivial": _command(folder, "trivial"),
            "local": _command(folder, "definitions"),
            "k8s": _command(folder, "definitions", profile="k8s"),
            "trivial step": _command(folder, "trivial", plan=True),
            "local step": _command(folder, "definitions", plan=True),
        }
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        for round_ in range(ROUNDS + 1):
            for name, (code, environment) in sides.items():
                taken = _time(code, environment)
                if round_:  # the first warms the disk cache
                    seconds[name].append(taken)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, values in seconds.items():
        print(f"{name:13} median {medians[name]:.2f} s, {min(values):.2f} to {max(values):.2f} s")
    return {
        "load_over_trivial": medians["local"] / medians["trivial"],
        "load_over_trivial_k8s": medians["k8s"] / medians["trivial"],
        "step_start_over_trivial": medians["local step"] / medians["trivial step"],
    }


def _command(folder: str, module: str, *, profile: str = "local", plan: bool = False) -> tuple[str, dict[str, str]]:
    code = f"import {module}\n" + (_PLAN.format(module=module) if plan else "")
    path = os.pathsep.join([str(PROJECT), folder])
    return code, {**os.environ, "PYTHONPATH": path, "MLOPS_PROFILE": profile, "MLOPS_HOME": folder}


def _time(code: str, environment: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=environment, check=True)  # noqa: S603 our own code
    return time.perf_counter() - started
