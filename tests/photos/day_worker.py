"""Materialises raw_photos and clean_photos of one day in a process of its own, which a test may kill at any moment.

Run as `python tests/photos/day_worker.py <home> <day>`; prints `begun` when the work begins.
"""

import sys
from pathlib import Path

import dagster as dg

from definitions import build_defs
from mlops_assets.use_case import load_use_case
from resources.settings import PROJECT, Settings


def main() -> None:
    home, day = Path(sys.argv[1]), sys.argv[2]
    case = load_use_case(PROJECT / "use_cases" / "enclosures.yaml")
    keys = {dg.AssetKey([case.name, name]) for name in ("raw_photos", "clean_photos")}
    job = build_defs(Settings(home=home), case).resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        print("begun", flush=True)  # noqa: T201 for the test
        job.get_subset(asset_selection=keys, asset_check_selection=set()).execute_in_process(
            instance=instance, partition_key=day
        )


if __name__ == "__main__":
    main()
