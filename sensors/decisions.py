"""What to ask for, decided from plain facts: no Dagster, no clock, no files.

A used run key is skipped for ever, also after a failure. So every request has a key made only of inputs that exist
before the run, plus the number of the attempt.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

MAX_ATTEMPTS = 3
"""Runs asked for with the same inputs before a person must look."""

Status = Literal["running", "succeeded", "failed"]


@dataclass(frozen=True)
class Attempt:
    """One earlier run for the same inputs."""

    number: int
    status: Status


@dataclass(frozen=True)
class Decision:
    """Ask for attempt `attempt` of `key`, or for nothing (attempt None), and why."""

    key: str
    attempt: int | None
    reason: str


def decide_attempt(key: str, attempts: Sequence[Attempt], max_attempts: int = MAX_ATTEMPTS) -> Decision:
    """Ask once; again after a failure, a bounded number of times; never beside a run or after a success."""
    if any(attempt.status == "succeeded" for attempt in attempts):
        return Decision(key, None, "already done")
    if any(attempt.status == "running" for attempt in attempts):
        return Decision(key, None, "already queued or running")
    used = max((attempt.number for attempt in attempts), default=0)
    if used >= max_attempts:
        return Decision(key, None, f"failed {used} times with the same inputs: look at the runs, then launch by hand")
    return Decision(key, used + 1, "first request" if used == 0 else f"attempt {used} failed")


@dataclass(frozen=True)
class DropCursor:
    """What the label sensor remembers: the digest seen last, so that a drop still being copied is left alone."""

    seen: str = ""

    @classmethod
    def parse(cls, text: str | None) -> "DropCursor":
        """Read a cursor; an empty or older one counts as nothing seen."""
        return cls(seen=text or "")


def decide_labels(digest: str, cursor: DropCursor, attempts: Sequence[Attempt]) -> tuple[Decision, DropCursor]:
    """Import the label drop once its content has stood still for one tick."""
    if not digest:
        return Decision("", None, "the label drop is empty"), cursor
    if digest != cursor.seen:
        return Decision(digest, None, "the label drop changed; waiting until it stands still"), DropCursor(digest)
    return decide_attempt(f"labels-{digest}", attempts), cursor


@dataclass(frozen=True)
class LandedDay:
    """A past day's landing, as a tick of the late photos' sensor finds it.

    Attributes:
        day: ISO date.
        digest: Of its listing.
        late: Uploads that its ledger does not hold.
        awaited: Whether the nightly schedule has still to take it in.
        busy: Whether a queued or running run takes it in.
    """

    day: str
    digest: str
    late: int
    awaited: bool
    busy: bool

    @property
    def key(self) -> str:
        """Of the request for it."""
        return f"late-{self.day}-{self.digest}"


def decide_late(landed: LandedDay, seen: str, attempts: Sequence[Attempt]) -> Decision:
    """Take a past day in again for what landed since, once its landing has stood still for one tick.

    Args:
        landed: The day.
        seen: Digest of its listing at the tick before.
        attempts: Earlier runs for the same listing.
    """
    if not landed.late:
        return Decision(landed.key, None, "all taken in")
    what = f"{landed.late} late upload{'s' if landed.late > 1 else ''}"
    if landed.awaited:
        return Decision(landed.key, None, f"{what}: the nightly run takes them in")
    if landed.digest != seen:
        return Decision(landed.key, None, f"{what}: waiting until the day's landing stands still")
    if landed.busy:
        return Decision(landed.key, None, f"{what}: the day is being taken in")
    decision = decide_attempt(landed.key, attempts)
    return Decision(landed.key, decision.attempt, f"{what}: {decision.reason}")


def retraining_key(boxes_of_missing: Mapping[int, int], growth_step: int) -> str:
    """Key of a retraining: the classes that the champion lacks and their boxes in steps of minimum growth."""
    steps = {class_id: boxes // growth_step for class_id, boxes in sorted(boxes_of_missing.items())}
    return "classes-" + hashlib.sha256(json.dumps(steps).encode()).hexdigest()[:16]


def missing_classes(active: Mapping[int, int], known: Collection[int]) -> dict[int, int]:
    """Active classes, with their boxes, that the champion does not know."""
    return {class_id: boxes for class_id, boxes in active.items() if class_id not in known}


def decide_retraining(key: str, attempts: Sequence[Attempt], *, busy: bool) -> Decision:
    """Retrain for classes that the champion does not know; never beside another retraining."""
    if busy:
        return Decision(key, None, "a retraining is queued or running")
    return decide_attempt(key, attempts)
