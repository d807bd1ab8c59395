"""What a tick of a sensor costs where much has piled up: a label drop of many files, an instance of many runs."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg

from mlops_assets.jobs import INGEST_DAY, RETRAIN_DETECTOR, USE_CASE_TAG
from mlops_assets.labels.drop_state import drop_digest
from sensors.requests import ASSET_JOB, ATTEMPT_TAG, KEY_TAG, earlier_attempts, in_progress

FILES = 100_000
FOLDERS = 10
RUNS = 10_000
QUEUED = 1_000
TICK_SECONDS = 60.0
"""Dagster ends a tick after so long."""


def run() -> dict[str, float]:
    """Print the seconds of each, and give their shares of the 60 s that a tick may take."""
    with tempfile.TemporaryDirectory() as folder:
        _drop(Path(folder))
        listing = _seconds(f"listing a drop of {FILES:,} files", lambda: drop_digest(folder))
    with dg.DagsterInstance.ephemeral() as instance:
        _runs(instance)
        lookup = _seconds(f"attempts of a key among {RUNS:,} runs", lambda: earlier_attempts(instance, "case", "k-7"))
        busy = _seconds(
            f"what is in progress among {RUNS:,} runs, of which {QUEUED:,} wait",
            lambda: in_progress(instance, "case", RETRAIN_DETECTOR),
        )
    return {
        "listing_over_limit": listing / TICK_SECONDS,
        "attempts_over_limit": lookup / TICK_SECONDS,
        "in_progress_over_limit": busy / TICK_SECONDS,
    }


def _drop(folder: Path) -> None:
    for number in range(FOLDERS):
        labels = folder / f"batch-{number}" / "labels"
        labels.mkdir(parents=True)
        for file in range(FILES // FOLDERS):
            (labels / f"{file:06d}.txt").write_text("0 0.5 0.5 0.1 0.1\n")


def _runs(instance: dg.DagsterInstance) -> None:
    """Two attempts a key; of those that wait, half are a backfill's days and half assets that a condition asked for."""
    chosen = frozenset({dg.AssetKey(["case", "detections"])})
    for number in range(RUNS):
        waits = number >= RUNS - QUEUED
        by_condition = waits and number % 2 == 1
        tags = {USE_CASE_TAG: "case", KEY_TAG: f"case:k-{number % (RUNS // 2)}", ATTEMPT_TAG: "1"}
        instance.add_run(
            dg.DagsterRun(
                ASSET_JOB if by_condition else INGEST_DAY,
                status=dg.DagsterRunStatus.NOT_STARTED if waits else dg.DagsterRunStatus.SUCCESS,
                tags=tags,
                asset_selection=chosen if by_condition else None,
            )
        )


def _seconds(what: str, measured: Callable[[], object]) -> float:
    begun = time.perf_counter()
    measured()
    seconds = time.perf_counter() - begun
    print(f"{what}: {seconds:.3f} s")
    return seconds
