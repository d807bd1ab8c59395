"""Runs part of the graph in the Python that executes it, one asset with its checks at a time, as pods would.

    python image_steps.py <case.yaml> <before|training|after> <report.json>

The case's folders come from MLOPS_HOME, Dagster's from DAGSTER_HOME. `training` is the GPU image's part,
`before` and `after` the rest. The report says which steps ran, and whether torch could have been found.
"""

import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
import yaml
from path_support import WholePath, failed_checks, why

from definitions import build_defs
from mlops_assets.use_case import UseCase
from resources.settings import load_settings

TRAINING = "detector_weights"


def parts(definitions: dg.Definitions, use_case: str) -> dict[str, list[str]]:
    """Names of assets by part, each after what it reads."""
    graph = definitions.resolve_asset_graph()
    order = [key.path[-1] for level in graph.toposorted_asset_keys_by_level for key in sorted(level)]
    upstream = dg.AssetSelection.assets(dg.AssetKey([use_case, TRAINING])).upstream().resolve(graph)
    before = {key.path[-1] for key in upstream} - {TRAINING}
    # What the days' photos give without a champion belongs before; the champion's own work comes after.
    return {
        "before": [name for name in order if name in before],
        "training": [TRAINING],
        "after": [name for name in order if name not in before and name != TRAINING],
    }


def run_part(path: WholePath, names: Sequence[str]) -> dict[str, object]:
    """Materialise assets one by one, day by day where they have days."""
    graph = build_defs(path.settings, path.use_case).resolve_asset_graph()
    days = sorted(folder.name for folder in Path(path.places.landing).iterdir())
    assets, checks = [], set()
    for name in names:
        partitioned = graph.get(dg.AssetKey([path.use_case.name, name])).is_partitioned
        for day in days if partitioned else [None]:
            result = path.materialize(name, day=day)
            if not result.success:
                raise RuntimeError(f"{name} failed: {why(result)}")
            if failed := failed_checks(result):
                raise RuntimeError(f"Checks of {name} failed: {failed}")
            checks |= {evaluation.check_name for evaluation in result.get_asset_check_evaluations()}
        assets.append(name)
    return {"assets": assets, "checks": sorted(checks)}


def main(case: str, part: str, report: str) -> None:
    """Run one part and write what ran."""
    use_case = UseCase.model_validate(yaml.safe_load(Path(case).read_text(encoding="utf-8")))
    with dg.DagsterInstance.get() as instance:
        path = WholePath(load_settings(), use_case, instance)
        names = parts(build_defs(path.settings, use_case), use_case.name)[part]
        done = run_part(path, names)
    torch = importlib.util.find_spec("torch") is not None
    Path(report).write_text(json.dumps({**done, "torch": torch, "python": sys.executable}), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
