"""Where a person looks at classes and decides about them: the command `python -m mlops_assets.labels classes`.

A decision is checked against all others before it is written, and again after it, since somebody else may have decided
meanwhile. It takes effect with the next import of labels, which the sensor `new_labels` asks for.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from mlops_assets.class_keys import class_key
from mlops_assets.labels.class_decisions import (
    FROM_COMMAND,
    ClassDecision,
    VocabularyError,
    all_decisions,
    as_record,
    decisions_table,
    in_force,
    new_decision,
)
from mlops_assets.labels.schema import ANNOTATIONS, CLASS_DECISIONS, EQUIPMENT_CLASSES
from mlops_assets.labels.vocabulary import Vocabulary
from mlops_assets.use_case import UseCase

if TYPE_CHECKING:  # a script without Dagster gives what has the same methods
    from resources.class_decisions import ClassDecisionRecords
    from resources.tables import Tables


@dataclass(frozen=True)
class ClassDesk:
    """The classes of one use case in one store."""

    use_case: UseCase
    tables: "Tables"
    records: "ClassDecisionRecords"

    def decide(
        self, decision: str, of: str, to: str | None = None, *, by: str, why: str, now: dt.datetime
    ) -> ClassDecision:
        """Check and write a decision; see `ClassDecision` for the arguments, `of` an id's unique part for undo.

        Raises:
            VocabularyError: It contradicts another one or changes nothing, or means a class that there is not; then
                nothing is written. Or somebody decided otherwise at the same moment; then both are written, and the
                message says how to undo one.
        """
        earlier = self.decisions()
        if decision == "undo":
            target = _the_one(of, earlier)
            of, now = target.decision_id, max(now, target.at + dt.timedelta(microseconds=1))
        if not by.strip() or not why.strip():
            raise VocabularyError("a decision is recorded with who decided it and why: give --by and --why")
        new = new_decision(decision, of, to, by=by, at=now, why=why, source=FROM_COMMAND)
        after = self._vocabulary([*earlier, new])
        if _changes_nothing(earlier, new, self._vocabulary_or_none(earlier), after):
            raise VocabularyError(f"{new.sentence()} changes nothing: it is so already")
        new = after.recorded(new)
        self.records.add(new.decision_id, as_record(new))
        self._vocabulary(self.decisions())
        return new

    def decisions(self) -> list[ClassDecision]:
        """All decisions, of the store and of the use case file, in order."""
        return all_decisions(self.records.all(), self.use_case)

    def classes(self) -> pl.DataFrame:
        """key, class_name, status, boxes, enclosures, aliases and reason of each class, as of the last import."""
        classes = self.tables.read("equipment_classes", EQUIPMENT_CLASSES)
        keys = pl.Series([class_key(class_id) for class_id in classes["class_id"]], dtype=pl.String)
        return classes.select(
            keys.alias("class"),
            "class_name",
            "status",
            "boxes",
            "enclosures",
            pl.col("aliases").list.join(", ").alias("aliases"),
            "reason",
        )

    def history(self) -> pl.DataFrame:
        """CLASS_DECISIONS as they stand now."""
        return decisions_table(self.decisions())

    def pending(self) -> list[ClassDecision]:
        """Decisions that the last import did not know of."""
        applied = set(self.tables.read("class_decisions", CLASS_DECISIONS)["decision_id"])
        return [decision for decision in self.decisions() if decision.decision_id not in applied]

    def _vocabulary(self, decisions: Sequence[ClassDecision]) -> Vocabulary:
        known = self.tables.read("equipment_classes", EQUIPMENT_CLASSES)
        return Vocabulary.of(known, self.use_case.classes, self.tables.read("annotations", ANNOTATIONS), decisions)

    def _vocabulary_or_none(self, decisions: Sequence[ClassDecision]) -> Vocabulary | None:
        """None where the decisions contradict each other, which the new one may mend."""
        try:
            return self._vocabulary(decisions)
        except VocabularyError:
            return None


def _the_one(part: str, decisions: Sequence[ClassDecision]) -> ClassDecision:
    found = [decision for decision in decisions if part and part in decision.decision_id]
    if len(found) != 1:
        raise VocabularyError(
            f"{len(found)} decisions have an id with {part!r}: `classes history` lists them; give an id, or the part "
            "after its dash"
        )
    return found[0]


def _changes_nothing(
    earlier: Sequence[ClassDecision], new: ClassDecision, before: Vocabulary | None, after: Vocabulary
) -> bool:
    if new.decision == "undo":
        return in_force([*earlier, new]) == in_force(earlier)
    return before is not None and before.state() == after.state()


def as_text(frame: pl.DataFrame) -> str:
    """A table for a terminal, every row and column in full."""
    cells = [frame.columns, *([_cell(value) for value in row] for row in frame.iter_rows())]
    widths = [max(len(row[column]) for row in cells) for column in range(frame.width)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells)
    return "\n".join(lines)


def _cell(value: object) -> str:
    if isinstance(value, dt.datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return "" if value is None else str(value)


def desk_of(use_case: UseCase, store: str) -> ClassDesk:
    """The desk of one use case.

    Args:
        use_case: As its file says.
        store: Address of its store.
    """
    from resources.class_decisions import ClassDecisionRecords
    from resources.tables import Tables

    return ClassDesk(use_case, Tables(root=store), ClassDecisionRecords(root=store))
