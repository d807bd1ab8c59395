"""One step of the path from labels to a dataset version, for `labels`: `python -m benchmarks.labels_step HOME ASSET`.

Materialises the asset, or with `checks` runs its checks, by the real definitions in a process of its own, as production
does. Prints what it cost as JSON.
"""

import importlib
import json
import resource
import sys
import time
from pathlib import Path

import dagster as dg

from benchmarks.peak_memory import peak_mebibytes
from definitions import build_defs
from mlops_assets.use_case import UseCase
from resources.settings import Settings

PRELOADED = ("great_expectations", "mlops_assets.labels.importing", "mlops_assets.dataset.making", "upath")
"""What a production step finds imported when it begins."""

CASE = UseCase.model_validate({"name": "bench", "title": "Bench", "start": "2026-01-01"})


def main() -> None:
    """Run the step; an error of it is this process's."""
    home, asset, part = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    definitions = build_defs(Settings(home=home, threads=2), CASE)
    key = dg.AssetKey([CASE.name, asset])
    checks = {each for each in definitions.resolve_asset_graph().asset_check_keys if each.asset_key == key}
    job = definitions.resolve_implicit_global_asset_job_def().get_subset(
        asset_selection={key} if part == "asset" else set(),
        asset_check_selection=set() if part == "asset" else checks,
    )
    for module in PRELOADED:
        importlib.import_module(module)
    with dg.DagsterInstance.ephemeral() as instance:
        begun = time.perf_counter()
        result = job.execute_in_process(instance=instance)
        seconds = time.perf_counter() - begun
    failed = [each.check_name for each in result.get_asset_check_evaluations() if not each.passed]
    if failed:
        raise RuntimeError(f"Checks of {asset} failed: {', '.join(failed)}")
    used = resource.getrusage(resource.RUSAGE_SELF)
    cost = {
        "seconds": seconds,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_gib": peak_mebibytes() / 1024,
    }
    print(json.dumps(cost))


if __name__ == "__main__":
    main()
