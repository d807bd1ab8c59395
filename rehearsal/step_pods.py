"""Every pod of a step: what it asked for, when it began to work, and how it ended; as a table and as a file."""

import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import dagster as dg

from rehearsal.cluster.records import PodRecord

STEP_WORKER = "step_worker"
_STARTS = {dg.DagsterEventType.STEP_START, dg.DagsterEventType.STEP_RESTARTED}


@dataclass(frozen=True)
class StepPod:
    """One pod of a step.

    Attributes:
        step: Asset, or check.
        job: Dagster's job.
        run_id: Dagster's run.
        attempt: From 1.
        image: As asked for.
        node: Where it ran.
        cpu_request: As Kubernetes quantities, like the three after it.
        cpu_limit: Likewise.
        memory_request: Likewise.
        memory_limit: Likewise.
        gpus: Asked for.
        seconds_to_work: From the container's start to Dagster's first event of the step; None: it never came to that.
        seconds: From the container's start to its end.
        peak_mebibytes: Memory, the most that was seen.
        outcome: The pod's phase and reason.
    """

    step: str
    job: str
    run_id: str
    attempt: int
    image: str
    node: str
    cpu_request: str
    cpu_limit: str
    memory_request: str
    memory_limit: str
    gpus: int
    seconds_to_work: float | None
    seconds: float
    peak_mebibytes: int
    outcome: str

    @property
    def asks_for(self) -> tuple[str, str, str, str, str, int]:
        """What pods of one kind have in common."""
        image = self.image.rsplit("/", 1)[-1]
        return image, self.cpu_request, self.cpu_limit, self.memory_request, self.memory_limit, self.gpus


def step_pods(records: Iterable[PodRecord], instance: dg.DagsterInstance) -> list[StepPod]:
    """The step pods among all pods, in the order in which they were made."""
    wanted = [record for record in records if record.component == STEP_WORKER]
    begun = {run_id: _begun(instance, run_id) for run_id in {record.run_id for record in wanted}}
    return [_step_pod(record, begun[record.run_id].get(record.op, [])) for record in wanted]


def write_steps(steps: Sequence[StepPod], path: Path) -> None:
    """All of them as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(step) for step in steps], indent=1), encoding="utf-8")


def print_steps(steps: Sequence[StepPod], path: Path) -> None:
    """A line for each step and what it asks for; `path` has each pod."""
    print("\n" + steps_table(steps))
    print(f"{len(steps)} step pods; {path} has a line for each")


def steps_table(steps: Sequence[StepPod]) -> str:
    """Steps grouped by name and by what they ask for, training first, then by all their seconds."""
    head = ("step", "image", "CPU", "memory", "GPU", "pods", "to work, s", "in all, s", "peak MiB", "outcome")
    groups: dict[tuple[str, tuple[str, str, str, str, str, int]], list[StepPod]] = defaultdict(list)
    for step in steps:
        groups[step.step, step.asks_for].append(step)
    ordered = sorted(groups.values(), key=lambda group: (-group[0].gpus, -sum(step.seconds for step in group)))
    rows = [head, *(_row(group) for group in ordered)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _row(group: Sequence[StepPod]) -> tuple[str, ...]:
    image, cpu_request, cpu_limit, memory_request, memory_limit, gpus = group[0].asks_for
    to_work = [step.seconds_to_work for step in group if step.seconds_to_work is not None]
    outcomes = sorted({step.outcome for step in group})
    return (
        group[0].step,
        image,
        f"{cpu_request}/{cpu_limit}",
        f"{memory_request}/{memory_limit}",
        str(gpus),
        str(len(group)),
        f"{statistics.median(to_work):.1f}" if to_work else "-",
        f"{statistics.median(step.seconds for step in group):.1f}",
        str(max(step.peak_mebibytes for step in group)),
        ", ".join(outcomes),
    )


def _step_pod(record: PodRecord, begun: Sequence[float]) -> StepPod:
    at = begun[record.attempt - 1] if len(begun) >= record.attempt else None
    return StepPod(
        step=record.asset,
        job=record.dagster_job,
        run_id=record.run_id,
        attempt=record.attempt,
        image=record.image,
        node=record.node,
        cpu_request=record.requests.get("cpu", "none"),
        cpu_limit=record.limits.get("cpu", "none"),
        memory_request=record.requests.get("memory", "none"),
        memory_limit=record.limits.get("memory", "none"),
        gpus=record.gpus,
        seconds_to_work=round(at - record.started, 2) if at and record.started else None,
        seconds=round(record.seconds, 2),
        peak_mebibytes=record.peak_memory >> 20,
        outcome=" ".join(filter(None, [record.phase, record.reason])),
    )


def _begun(instance: dg.DagsterInstance, run_id: str) -> dict[str, list[float]]:
    """When each step of a run began, attempt by attempt, seconds since 1970."""
    found: dict[str, list[float]] = defaultdict(list)
    for entry in instance.all_logs(run_id, of_type=_STARTS):
        if entry.step_key:
            found[entry.step_key].append(entry.timestamp)
    return found
