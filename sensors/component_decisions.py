"""Which runs make again what older code made, decided from plain facts: no Dagster, no clock, no files.

Compared are versions, not changes of versions: whatever happened between two looks, or while a run was going on, what
was made by other code than today's is found at the next look.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sensors.decisions import Attempt, decide_attempt

WHOLE = ""
"""The partition of a table that has none."""


@dataclass(frozen=True)
class Made:
    """The latest materialisation of an asset's partition: its number in the event log, and its code version."""

    number: int
    code_version: str | None


@dataclass(frozen=True)
class Group:
    """Assets that one job makes again, in the order in which they are made.

    Args:
        job: Name of the job.
        assets: Names; what an earlier one feeds is made again with it.
        daily: Whether a run is for one day.
    """

    job: str
    assets: tuple[str, ...]
    daily: bool


@dataclass(frozen=True)
class ComponentRun:
    """A run to ask for: what it makes again, for which day, and why."""

    job: str
    partition: str
    assets: tuple[str, ...]
    key: str
    attempt: int
    reason: str


@dataclass(frozen=True)
class Outcome:
    """What to ask for now; `waiting`: something is still to be asked for, queued or running. `given_up`: keys."""

    runs: list[ComponentRun]
    waiting: bool
    given_up: list[str]


def stale(group: Group, current: Mapping[str, str], made: Mapping[str, Mapping[str, Made]]) -> dict[str, list[str]]:
    """Assets of a group to make again, by partition in order: made by other code, or fed by such and made before.

    Args:
        group: What one job makes.
        current: Code version of today by asset.
        made: Latest materialisation by asset and partition.
    """
    partitions = sorted({partition for asset in group.assets for partition in made.get(asset, {})})
    found: dict[str, list[str]] = {}
    for partition in partitions:
        exists = [asset for asset in group.assets if partition in made.get(asset, {})]
        first = next((a for a in exists if made[a][partition].code_version != current[a]), None)
        if first is not None:
            found[partition] = exists[exists.index(first) :]
    return found


def request_key(
    group: Group,
    partition: str,
    assets: Sequence[str],
    current: Mapping[str, str],
    made: Mapping[str, Mapping[str, Made]],
) -> str:
    """Made of what there was before the run: what is replaced, by its number, and the code that replaces it."""
    facts = [[asset, current[asset], made[asset][partition].number] for asset in assets]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
    return "-".join(["component", group.job, *([partition] if partition else []), digest])


def decide_group(
    group: Group,
    current: Mapping[str, str],
    made: Mapping[str, Mapping[str, Made]],
    attempts: Mapping[str, Sequence[Attempt]],
    *,
    busy: Collection[str],
    limit: int,
) -> Outcome:
    """The runs of one job.

    Args:
        group: What the job makes.
        current: Code version of today by asset.
        made: Latest materialisation by asset and partition.
        attempts: Earlier runs by request key.
        busy: Partitions that some run is making just now, for whatever reason.
        limit: How many runs to ask for at most.
    """
    runs: list[ComponentRun] = []
    waiting, given_up = False, []
    for partition, assets in stale(group, current, made).items():
        key = request_key(group, partition, assets, current, made)
        decision = decide_attempt(key, attempts.get(key, ()))
        if partition in busy or any(attempt.status == "running" for attempt in attempts.get(key, ())):
            waiting = True
        elif decision.attempt is None:
            given_up.append(key)
        else:
            waiting = True
            reason = f"made by other code: {assets[0]} is now {current[assets[0]]}"
            runs.append(ComponentRun(group.job, partition, tuple(assets), key, decision.attempt, reason))
    return Outcome(runs[:limit], waiting, given_up)
