"""What to ask for, decided from plain facts: no Dagster, no clock, no files.

A used run key is skipped for ever, also after a failure. So every request has a key made only of inputs that exist
before the run, plus the number of the attempt.
"""

from collections.abc import Sequence
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
    run_id: str = ""


@dataclass(frozen=True)
class Decision:
    """Ask for attempt `attempt` of `key`, or for nothing (attempt None), and why."""

    key: str
    attempt: int | None
    reason: str


def decide_attempt(
    key: str, attempts: Sequence[Attempt], max_attempts: int = MAX_ATTEMPTS, *, spent: int = 0
) -> Decision:
    """Ask once; again after a failure, a bounded number of times; never beside a run or after a success.

    Args:
        key: Of the inputs.
        attempts: Earlier runs under that key.
        max_attempts: Runs asked for before a person must look.
        spent: Number of the last attempt that does not count, since it came to work on other inputs than the key's.
    """
    counted = [attempt for attempt in attempts if attempt.number > spent]
    if any(attempt.status == "succeeded" for attempt in counted):
        return Decision(key, None, "already done")
    if any(attempt.status == "running" for attempt in attempts):
        return Decision(key, None, "already queued or running")
    used = max((attempt.number for attempt in counted), default=spent)
    failed = used - spent
    if failed >= max_attempts:
        return Decision(key, None, f"failed {failed} times with the same inputs: look at the runs, then launch by hand")
    return Decision(key, used + 1, "first request" if failed == 0 else f"attempt {used} failed")


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
