"""The table of where the demo's minutes went."""

from pathlib import Path

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.demo import (
    BEFORE,
    BETWEEN,
    CHECKS,
    QUEUED,
    RUN_START,
    STEP_START,
    TRAINING,
    Span,
    _Event,
    _spans,
    spans_of,
    where_time_went,
)

NAMES = st.sampled_from([TRAINING, RUN_START, STEP_START, CHECKS, "raw_photos", "detections"])
TIMES = st.floats(-50, 150).map(lambda value: round(value, 3))
SPANS = st.builds(lambda what, a, b: Span(what, min(a, b), max(a, b)), NAMES, TIMES, TIMES)


@given(st.lists(SPANS, max_size=12))
def test_the_rows_add_up_to_the_whole_time(spans: list[Span]) -> None:
    rows = where_time_went(spans, 0.0, 100.0)
    assert sum(row.seconds for row in rows) == pytest.approx(100.0)
    assert all(row.seconds >= 0 for row in rows)
    assert len({row.what for row in rows}) == len(rows)


def test_a_second_belongs_to_the_innermost_thing() -> None:
    spans = [
        Span(RUN_START, 10, 60),
        Span(STEP_START, 12, 15),
        Span("detector_weights", 15, 50),
        Span(TRAINING, 20, 40),
        Span(CHECKS, 45, 55),
    ]
    seconds = {row.what: row.seconds for row in where_time_went(spans, 0, 70)}
    assert seconds == {
        BEFORE: 10,
        RUN_START: 2 + 5,
        STEP_START: 3,
        "detector_weights": 5 + 10,
        TRAINING: 20,
        CHECKS: 5,
        BETWEEN: 10,
    }


def test_the_event_log_of_a_run_is_read(tmp_path: Path) -> None:
    @dg.asset
    def numbers(context: dg.AssetExecutionContext) -> int:
        for epoch in (1, 2, 3):
            context.log.info(f"Epoch {epoch} of 3: done")
        return 1

    @dg.asset_check(asset=numbers)
    def numbers_checked() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        job = dg.Definitions([numbers], asset_checks=[numbers_checked]).resolve_implicit_global_asset_job_def()
        assert job.execute_in_process(instance=instance).success
        spans = spans_of(instance, since=0.0)
    assert {span.what for span in spans} >= {"numbers", CHECKS, RUN_START, TRAINING}
    assert all(span.end >= span.start > 0 for span in spans)


def test_a_step_starts_when_it_is_launched_and_a_run_when_it_leaves_the_queue() -> None:
    events = [
        _Event("ASSET_MATERIALIZATION_PLANNED", "photos", "", 0),
        _Event("PIPELINE_ENQUEUED", "", "", 1),
        _Event("PIPELINE_STARTING", "", "", 11),
        _Event("STEP_WORKER_STARTING", "photos", "", 14),
        _Event("STEP_START", "photos", "", 19),
        _Event("STEP_SUCCESS", "photos", "", 20),
        _Event("PIPELINE_SUCCESS", "", "", 21),
    ]
    seconds = {row.what: row.seconds for row in where_time_went(_spans(events), 1, 21)}
    assert seconds == {QUEUED: 10, RUN_START: 3 + 1, STEP_START: 5, "photos": 1}
