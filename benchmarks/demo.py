"""Where the minutes of a finished `make demo` went, from Dagster's event log.

Every second belongs to one row: to the innermost thing that was going on, of several at once to the first of the list.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import dagster as dg

from resources.settings import PROJECT, load_settings

TRAINING = "training epochs"
RUN_START = "run process starts"
STEP_START = "step processes start"
CHECKS = "checks"
QUEUED = "in the queue"
BETWEEN = "between runs: sensors, conditions, waiting"
BEFORE = "before the first run: set-up, rendering, daemon"
_LAST = (CHECKS, STEP_START, RUN_START, QUEUED)
_CHECK_STEP = re.compile(r"_check(s|ed)?$|_great_expectations$")


@dataclass(frozen=True)
class Span:
    """Something that went on; seconds since 1970."""

    what: str
    start: float
    end: float


@dataclass(frozen=True)
class Row:
    """Seconds of one kind."""

    what: str
    seconds: float


def run() -> dict[str, float]:
    """Print the table of the last demo; returns its rows, seconds."""
    summary_path = PROJECT / "demo-output" / "summary.json"
    if not summary_path.is_file():
        raise FileNotFoundError(f"No {summary_path}: run `make demo` first")
    total = float(json.loads(summary_path.read_text(encoding="utf-8"))["seconds"])
    end = summary_path.stat().st_mtime
    folder = load_settings().home / "dagster"
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        rows = where_time_went(spans_of(instance, end - total), end - total, end)
    for row in rows:
        print(f"{row.seconds:7.1f} s  {row.seconds / total:4.0%}  {row.what}")
    print(f"{total:7.1f} s        in all")
    return {row.what: row.seconds for row in rows}


def spans_of(instance: dg.DagsterInstance, since: float) -> list[Span]:
    """What the runs created after `since` did, and when."""
    runs = instance.get_run_records(dg.RunsFilter(created_after=datetime.fromtimestamp(since).astimezone()))
    return [span for record in runs for span in _spans(_events(instance, record.dagster_run.run_id))]


@dataclass(frozen=True)
class _Event:
    kind: str
    step: str
    message: str
    time: float


def _events(instance: dg.DagsterInstance, run_id: str) -> list[_Event]:
    found = []
    for entry in instance.all_logs(run_id):
        event = entry.dagster_event
        kind = event.event_type_value if event else "LOG"
        found.append(_Event(kind, entry.step_key or "", entry.user_message or "", entry.timestamp))
    return sorted(found, key=lambda event: event.time)


def _spans(events: Sequence[_Event]) -> list[Span]:
    """The parts of one run; it leaves the queue when it is starting (Dagster 1.13 never logs that it was dequeued)."""
    at = {event.kind: event.time for event in reversed(events) if not event.step}
    first, last = events[0].time, events[-1].time
    launched = at.get("PIPELINE_STARTING", first)
    spans = [Span(QUEUED, at.get("PIPELINE_ENQUEUED", first), launched), Span(RUN_START, launched, last)]
    for step in dict.fromkeys(event.step for event in events if event.step):
        spans += _step_spans(step, [event for event in events if event.step == step])
    return spans


def _step_spans(step: str, events: Sequence[_Event]) -> list[Span]:
    begun = next((event.time for event in events if event.kind == "STEP_START"), events[-1].time)
    # Not from the step's first event: what it will materialise is announced when the run is made, before any queue.
    launched = next((event.time for event in events if event.kind == "STEP_WORKER_STARTING"), begun)
    name = CHECKS if _CHECK_STEP.search(step) else step.rsplit("__", maxsplit=1)[-1]
    spans = [Span(STEP_START, launched, begun), Span(name, begun, events[-1].time)]
    epochs = [event.time for event in events if event.kind == "LOG" and event.message.startswith("Epoch ")]
    if len(epochs) > 1:
        # The first epoch starts as long before its line as the second takes; imports come before that.
        spans.append(Span(TRAINING, 2 * epochs[0] - epochs[1], epochs[-1]))
    return spans


def where_time_went(spans: Iterable[Span], start: float, end: float) -> list[Row]:
    """Divide the time from `start` to `end` among what went on, largest first; the rows add up to all of it."""
    spans = list(spans)
    first = min((span.start for span in spans), default=end)
    cuts = sorted({start, end, *(t for span in spans for t in (span.start, span.end) if start < t < end)})
    seconds: dict[str, float] = {}
    for left, right in pairwise(cuts):
        active = {span.what for span in spans if span.start <= left and span.end >= right}
        what = _innermost(active) or (BEFORE if right <= first else BETWEEN)
        seconds[what] = seconds.get(what, 0.0) + right - left
    return [Row(what, seconds[what]) for what in sorted(seconds, key=lambda what: -seconds[what])]


def _innermost(active: set[str]) -> str | None:
    if TRAINING in active:
        return TRAINING
    bodies = sorted(active - set(_LAST))
    return bodies[0] if bodies else next((what for what in _LAST if what in active), None)
