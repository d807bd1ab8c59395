"""A Dagster project of two assets that costs next to nothing, on production's executor; faults are tried on it.

Each scenario is a job of its own name over the same two assets, so that a fault finds its pods by `dagster/job`.
"""

import sys
import time

import dagster as dg

from mlops_assets.compute import CPU_LIGHT
from mlops_assets.compute_overrides import parse_compute
from mlops_assets.k8s_executor import k8s_executor
from rehearsal.faults.scenarios import SCENARIOS, WORKING

HOLD_TAG = "faults/hold"
"""Seconds that the first asset takes at its first attempt in the first run of its group."""
IMAGE = "enclosure-catalog-cpu"
_RETRY = dg.RetryPolicy(max_retries=2, delay=1)


@dg.asset(retry_policy=_RETRY, op_tags=CPU_LIGHT)
def first(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """Holds on as its run's tag says."""
    print(WORKING, file=sys.stderr, flush=True)
    fresh = context.retry_number == 0 and not context.run.parent_run_id
    time.sleep(float(context.run.tags.get(HOLD_TAG, "0")) if fresh else 0.0)
    return dg.MaterializeResult(metadata={"attempt": context.retry_number + 1})


@dg.asset(deps=[first], retry_policy=_RETRY, op_tags=CPU_LIGHT)
def second() -> dg.MaterializeResult[None]:
    """Follows."""
    return dg.MaterializeResult()


def _executor() -> dg.ExecutorDefinition:
    nothing = parse_compute({}, "the fault table")
    return k8s_executor([first, second], {"cpu": IMAGE, "gpu": IMAGE}, nothing, "dagster-step")


defs = dg.Definitions(
    assets=[first, second],
    jobs=[dg.define_asset_job(each.name, selection=[first, second]) for each in SCENARIOS],
    executor=_executor(),
)
