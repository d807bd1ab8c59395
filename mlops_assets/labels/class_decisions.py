"""What people decided about classes: the record of one decision, and which decisions are in force.

A decision is written once and never changed; `undo` is a decision of its own. What decisions come to is worked out in
`class_history`; where they are kept is `resources/class_decisions.py`.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import polars as pl

from mlops_assets.labels.schema import CLASS_DECISIONS
from mlops_assets.use_case import ClassDecisionEntry, UseCase

FROM_USE_CASE, FROM_COMMAND = "use case", "command"


class VocabularyError(ValueError):
    """Known or declared classes, or decisions about them, contradict each other; the message says what to do."""


@dataclass(frozen=True, slots=True)
class ClassDecision:
    """One decision about a class.

    Attributes:
        decision_id: Sorts by time; the same decision of the same time has the same.
        decision: rename, alias, merge, deprecate, accept or undo.
        of: The class as a person wrote it: one of its names, or its key such as c0007. For undo: a decision_id.
        to: New name (rename), further name (alias) or the class that `of` counts for (merge); else None.
        class_id: The class that `of` was when the decision was recorded; None: not recorded yet.
        to_class_id: The same of a merge's `to`.
        by: Who decided.
        at: When, UTC.
        why: In words.
        source: FROM_USE_CASE or FROM_COMMAND.
    """

    decision_id: str
    decision: str
    of: str
    to: str | None
    class_id: int | None
    to_class_id: int | None
    by: str
    at: dt.datetime
    why: str
    source: str

    @property
    def order(self) -> tuple[dt.datetime, str]:
        """Decisions follow one another in this order, whenever they were recorded."""
        return self.at, self.decision_id

    def sentence(self) -> str:
        """For messages: what, who, when and by which id it can be undone."""
        to = {"rename": " to {}", "alias": ": {}", "merge": " into {}"}.get(self.decision, "").format(self.to)
        return f"{self.decision} {self.of}{to} ({self.by}, {self.at:%Y-%m-%d %H:%M} UTC, {self.decision_id})"


def new_decision(
    decision: str, of: str, to: str | None, *, by: str, at: dt.datetime, why: str, source: str
) -> ClassDecision:
    """A decision that is not recorded yet; its id comes from what is decided and when, not from `by` and `why`."""
    at = at.replace(tzinfo=dt.UTC) if at.tzinfo is None else at.astimezone(dt.UTC)
    content = json.dumps([decision, of, to], ensure_ascii=False).encode()
    decision_id = f"{at:%Y%m%dT%H%M%S%f}Z-{hashlib.sha256(content).hexdigest()[:10]}"
    return ClassDecision(decision_id, decision, of, to, None, None, by, at, why, source)


def declared_decision(entry: ClassDecisionEntry) -> ClassDecision:
    """A decision as the use case file has it; a day alone counts as its beginning, UTC."""
    at = entry.at if isinstance(entry.at, dt.datetime) else dt.datetime.combine(entry.at, dt.time())
    return new_decision(entry.decision, entry.of, entry.to, by=entry.by, at=at, why=entry.why, source=FROM_USE_CASE)


def all_decisions(recorded: Mapping[str, Mapping[str, Any]], use_case: UseCase) -> list[ClassDecision]:
    """Every decision, of the store and of the use case file, in order.

    A decision that was recorded stays in force when it is taken out of the file: what is undone is undone by `undo`.

    Args:
        recorded: As `resources.class_decisions.ClassDecisionRecords.all` gives them.
        use_case: Its `class_decisions`.

    Raises:
        VocabularyError: A record cannot be understood.
    """
    by_id = {decision_id: _parsed(decision_id, content) for decision_id, content in recorded.items()}
    declared = (declared_decision(entry) for entry in use_case.class_decisions)
    for decision in declared:
        by_id.setdefault(decision.decision_id, decision)
    return sorted(by_id.values(), key=lambda decision: decision.order)


def in_force(decisions: Iterable[ClassDecision]) -> list[ClassDecision]:
    """The decisions that nobody undid, in order, without the undos themselves; an undo can be undone.

    Raises:
        VocabularyError: An undo names no decision, or one that came after it.
    """
    ordered = sorted(decisions, key=lambda decision: decision.order)
    by_id = {decision.decision_id: decision for decision in ordered}
    undone: set[str] = set()
    for decision in reversed(ordered):
        if decision.decision != "undo" or decision.decision_id in undone:
            continue
        target = by_id.get(decision.of)
        if target is None or target.order >= decision.order:
            raise VocabularyError(
                f"{decision.sentence()} undoes no earlier decision: name one by its id, as the command "
                "`classes history` lists them"
            )
        undone.add(decision.of)
    return [d for d in ordered if d.decision != "undo" and d.decision_id not in undone]


def is_recorded(decision: ClassDecision) -> bool:
    """Whether its classes were looked up, so that it can be written down."""
    return decision.class_id is not None or decision.decision == "undo"


def as_record(decision: ClassDecision) -> dict[str, Any]:
    """Ready for JSON, without the id."""
    content = asdict(decision)
    del content["decision_id"]
    return content | {"at": decision.at.isoformat()}


def decisions_table(decisions: Sequence[ClassDecision]) -> pl.DataFrame:
    """CLASS_DECISIONS, in order; `in_force` says whether a decision holds: not undone, and its class is known."""
    holding = {decision.decision_id for decision in in_force(decisions)}
    undos = _undos_in_force(decisions)
    rows = [
        asdict(decision) | {"in_force": is_recorded(decision) and decision.decision_id in holding | undos}
        for decision in sorted(decisions, key=lambda decision: decision.order)
    ]
    return pl.DataFrame(rows, schema=CLASS_DECISIONS)


def decisions_digest(recorded_ids: Collection[str], use_case: UseCase) -> str:
    """Name of everything that people decided about classes, "" for nothing; recording the file's changes nothing.

    Args:
        recorded_ids: decision_ids in the store.
        use_case: Its `classes`, `class_decisions` and `new_class` decide too.
    """
    declared = {declared_decision(entry).decision_id for entry in use_case.class_decisions}
    content = [sorted({*recorded_ids, *declared}), [entry.model_dump(mode="json") for entry in use_case.classes]]
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest() if any(content) else ""


def labels_digest(drop_digest: str, recorded_ids: Collection[str], use_case: UseCase) -> str:
    """Name of a label drop together with what people decided about classes, "" for an empty drop."""
    decided = decisions_digest(recorded_ids, use_case)
    return hashlib.sha256(f"{drop_digest} {decided}".encode()).hexdigest() if drop_digest and decided else drop_digest


def _undos_in_force(decisions: Sequence[ClassDecision]) -> set[str]:
    undos = [decision for decision in decisions if decision.decision == "undo"]
    undone: set[str] = set()
    for undo in sorted(undos, key=lambda decision: decision.order, reverse=True):
        if undo.decision_id not in undone:
            undone.add(undo.of)
    return {undo.decision_id for undo in undos} - undone


def _parsed(decision_id: str, content: Mapping[str, Any]) -> ClassDecision:
    names = {field.name for field in fields(ClassDecision)} - {"decision_id"}
    try:
        values = {name: content[name] for name in names}
        return ClassDecision(decision_id, **(values | {"at": dt.datetime.fromisoformat(values["at"])}))
    except (KeyError, TypeError, ValueError) as error:
        raise VocabularyError(
            f"the decision {decision_id} in the store's class_decisions/ cannot be understood ({error!r}): restore it"
        ) from error
