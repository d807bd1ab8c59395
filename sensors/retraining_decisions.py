"""When to retrain for classes that the champion does not know, decided from plain facts: no Dagster, clock or files.

What was trained on is read from the table of champions, not from the keys of requests: labels may be imported between
a request and its run, runs are started by hand, and an instance may be newer than the store.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sensors.decisions import Attempt, Decision, decide_attempt


@dataclass(frozen=True)
class Training:
    """A candidate that was trained and decided on.

    Attributes:
        version: Of the model.
        promoted: Whether it became the champion.
        boxes: Labelled boxes by class_id of the active classes that it was trained for; None if not recorded.
        run_id: Dagster's run that decided; "" if not recorded.
        decided_at: When.
        had_champion: Whether something served before.
        left: What a person did against it since, in words: rolled it back, refused it, set the alias to another.
    """

    version: str
    promoted: bool
    boxes: Mapping[int, int] | None
    run_id: str
    decided_at: dt.datetime | None
    had_champion: bool
    left: str | None = None

    @property
    def name(self) -> str:
        """For people."""
        run = f" of run {self.run_id[:8]}" if self.run_id else ""
        return f"version {self.version}{run}"


@dataclass(frozen=True)
class Classes:
    """Classes as labelled, and what the champion knows of them.

    Attributes:
        boxes: Labelled boxes by class_id of the active classes.
        names: Of those.
        known: Classes that the champion knows, merged ones under the class that they count for.
        champion: Version that serves; None if nothing does.
        trainings: All so far, in their order.
    """

    boxes: Mapping[int, int]
    names: Mapping[int, str]
    known: frozenset[int]
    champion: str | None
    trainings: Sequence[Training]

    @property
    def missing(self) -> dict[int, int]:
        """Active classes, with their boxes, that the champion does not know."""
        return missing_classes(self.boxes, self.known)

    def named(self, class_ids: Collection[int]) -> str:
        """Names of classes, for people."""
        return ", ".join(self.names[class_id] for class_id in sorted(class_ids))


def missing_classes(active: Mapping[int, int], known: Collection[int]) -> dict[int, int]:
    """Active classes, with their boxes, that are not known."""
    return {class_id: boxes for class_id, boxes in active.items() if class_id not in known}


def retraining_key(boxes_of_missing: Mapping[int, int], growth_step: int) -> str:
    """Key of a retraining: the classes that the champion lacks and their boxes in steps of minimum growth."""
    steps = {class_id: boxes // growth_step for class_id, boxes in sorted(boxes_of_missing.items())}
    return "classes-" + hashlib.sha256(json.dumps(steps).encode()).hexdigest()[:16]


def decide_retraining(
    classes: Classes,
    attempts: Sequence[Attempt],
    *,
    growth_step: int,
    cooldown: dt.timedelta,
    now: dt.datetime,
    busy: str | None,
) -> Decision:
    """Ask for one retraining for all classes that the champion lacks; never beside another, never on the same labels.

    Args:
        classes: As they are now.
        attempts: Earlier runs under `retraining_key`.
        growth_step: Boxes by which one of the missing classes must have grown since a training for the same classes.
        cooldown: From the last decision on a candidate to the next request; the first champion starts none, and without
            a champion none is waited for.
        now: With a time zone, in which times are told.
        busy: What trains just now, in words.
    """
    missing = classes.missing
    key = retraining_key(missing, growth_step)
    if not classes.boxes:
        return Decision(key, None, "no class is active yet")
    if not missing:
        return Decision(key, None, f"version {classes.champion}, the champion, knows all {len(classes.boxes)} classes")
    lacks = (
        f"the champion does not know {classes.named(missing)}"
        if classes.champion
        else (f"there is no champion yet for {classes.named(missing)}")
    )
    if busy:
        return Decision(key, None, f"{lacks}: a retraining is under way ({busy})")
    trained = trained_before(classes, growth_step)
    if trained is not None:
        return Decision(key, None, f"{lacks}: {_why_not_again(classes, trained, growth_step)}")
    until = cooldown_until(classes, cooldown)
    if until is not None and now < until:
        return Decision(key, None, f"{lacks}: cooldown until {_told(until, now)}, then a retraining for all of them")
    recorded = {training.run_id for training in classes.trainings if training.boxes is not None}
    spent = max((a.number for a in attempts if a.status == "succeeded" and a.run_id in recorded), default=0)
    done = next((a for a in attempts if a.status == "succeeded" and a.number > spent), None)
    if done is not None:
        return Decision(key, None, f"{lacks}: run {done.run_id[:8]} was for these labels: label more")
    decision = decide_attempt(key, attempts, spent=spent)
    return Decision(key, decision.attempt, f"{lacks}: {decision.reason}")


def trained_before(classes: Classes, growth_step: int) -> Training | None:
    """The last training for just the classes that are missing now, on labels of which none has grown enough since."""
    missing = classes.missing
    for training in reversed(classes.trainings):
        before = missing_classes(training.boxes, classes.known) if training.boxes is not None else None
        if before is None or before.keys() != missing.keys():
            continue
        if all(missing[class_id] < boxes + growth_step for class_id, boxes in before.items()):
            return training
    return None


def cooldown_until(classes: Classes, cooldown: dt.timedelta) -> dt.datetime | None:
    """When the next retraining may be asked for; None where none is waited for."""
    if classes.champion is None or not classes.trainings:
        return None
    last = classes.trainings[-1]
    is_first_champion = last.promoted and not last.had_champion
    return None if last.decided_at is None or is_first_champion else last.decided_at + cooldown


def new_boxes(classes: Classes) -> int | None:
    """Labelled boxes of active classes beyond those of the champion's dataset; None if that is not recorded."""
    before = next((t.boxes for t in reversed(classes.trainings) if t.version == classes.champion), None)
    if before is None:
        return None
    return sum(max(0, boxes - before.get(class_id, 0)) for class_id, boxes in classes.boxes.items())


def _why_not_again(classes: Classes, trained: Training, growth_step: int) -> str:
    before = trained.boxes or {}
    wanted = ", ".join(
        f"{classes.names[class_id]} has {boxes} of {before[class_id] + growth_step} boxes"
        for class_id, boxes in sorted(classes.missing.items())
    )
    why = f" ({trained.left})" if trained.left else ""
    if trained.promoted:
        serving = f"version {classes.champion} serves" if classes.champion else "nothing serves"
        return (
            f"{trained.name} learnt these labels and was promoted, but {serving} now{why}: "
            f"promote it by hand, or label more ({wanted})"
        )
    return f"the candidate, {trained.name}, was refused on these labels{why}: label more ({wanted})"


def _told(until: dt.datetime, now: dt.datetime) -> str:
    local = until.astimezone(now.tzinfo)
    return f"{local:%H:%M}" if local.date() == now.date() else f"{local:%Y-%m-%d %H:%M}"
