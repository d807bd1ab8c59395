"""Class ids: which name has which id (append only, never reused), and the state of each class.

What people decided about classes is replayed by `class_history`; when names are alike is in `class_names`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count

import polars as pl

from mlops_assets.labels.class_decisions import ClassDecision, VocabularyError, in_force
from mlops_assets.labels.class_history import ClassHistory
from mlops_assets.labels.class_names import fold_name
from mlops_assets.labels.class_states import class_states
from mlops_assets.labels.schema import EQUIPMENT_CLASSES
from mlops_assets.use_case import KnownClass, NewClassRules

KNOWN_CLASSES = pl.Schema({"class_id": pl.Int32(), "class_name": pl.String(), "aliases": pl.List(pl.String())})
"""The part of EQUIPMENT_CLASSES that decides ids, with `first_name` where a class was renamed."""


class Vocabulary:
    """Growing map from names to ids; ids are 0, 1, 2 … in the order in which names come.

    Attributes:
        history: The classes with what was decided about them.
        declared: Ids of the classes that the use case names.
    """

    def __init__(self) -> None:
        self.history = ClassHistory()
        self.declared: frozenset[int] = frozenset()

    @classmethod
    def of(
        cls,
        known: pl.DataFrame,
        declared: Sequence[KnownClass],
        annotations: pl.DataFrame | None = None,
        decisions: Sequence[ClassDecision] = (),
    ) -> "Vocabulary":
        """Known classes keep their ids, and so do those that only annotations hold yet.

        Declared classes that are new get the next free ids after the known ones, in their order. A declared class that
        is known under its name or an alias adds its other names as aliases of that id. Aliases that were declared once
        stay. Then the decisions are replayed.

        Args:
            known: KNOWN_CLASSES or more columns; may be empty.
            declared: The use case's `classes`.
            annotations: ANNOTATIONS, which may be ahead of the class table.
            decisions: Of the store and the use case.

        Raises:
            VocabularyError: An id twice, or declared classes and decisions that contradict each other or what is known.
        """
        _check_declared(declared)
        vocabulary = cls()
        history = vocabulary.history
        naming = [decision for decision in decisions if decision.decision in ("rename", "alias")]
        given = {fold_name(decision.to or "") for decision in naming}
        rows = _first_names(known)
        for class_id, name, _ in rows:
            history.give_id(class_id, name)
        free = vocabulary.size
        for class_id, name in _labelled_ahead(rows, annotations, given):
            history.give_id(class_id, name)
        # Names go before aliases: a class's own name never resolves to another class.
        earlier = {
            alias: class_id
            for class_id, _, aliases in rows
            for alias in aliases
            if fold_name(alias) not in given and history.own(alias) is None
        }
        vocabulary._declare(declared, in_force(decisions), earlier, free)
        for alias, class_id in earlier.items():
            if history.own(alias) is None:
                history.claim(class_id, alias, "the class table")
        history.replay(decisions)
        return vocabulary

    @property
    def size(self) -> int:
        """Number of ids given so far: the next id, and the class_map_version of what is labelled now."""
        return max(self.history.first_names, default=-1) + 1

    def find(self, name: str) -> int | None:
        """Id of the class that a name's labels count for, or None."""
        class_id = self.history.own(name)
        return None if class_id is None else self.history.root(class_id)

    def learn(self, name: str) -> int:
        """As `find`; a new name gets the next id."""
        class_id = self.find(name)
        if class_id is None:
            class_id = self.size
            self.history.give_id(class_id, name)
        return class_id

    def recorded(self, decision: ClassDecision) -> ClassDecision:
        """A decision with the classes that it means; one that was undone keeps what it had."""
        class_id, to_class_id = self.history.meant.get(decision.decision_id, (decision.class_id, decision.to_class_id))
        return replace(decision, class_id=class_id, to_class_id=to_class_id)

    def state(self) -> tuple[object, ...]:
        """What decisions made of the classes, to see whether one changes anything."""
        history = self.history
        roots = {class_id: history.root(class_id) for class_id in history.names}
        return history.names, history.aliases, roots, set(history.deprecated), set(history.accepted)

    def table(self) -> pl.DataFrame:
        """KNOWN_CLASSES, sorted by id."""
        ids = sorted(self.history.names)
        columns = {
            "class_id": ids,
            "class_name": [self.history.names[class_id] for class_id in ids],
            "aliases": [self.history.aliases[class_id] for class_id in ids],
        }
        return pl.DataFrame(columns, schema=KNOWN_CLASSES)

    def _declare(
        self,
        declared: Sequence[KnownClass],
        decisions: Sequence[ClassDecision],
        earlier: Mapping[str, int],
        free: int,
    ) -> None:
        """Find or make the classes that the use case names.

        Args:
            declared: The use case's `classes`.
            decisions: Those in force.
            earlier: Aliases that were declared before.
            free: First id that new ones may get.
        """
        history = self.history
        by_form = {fold_name(alias): class_id for alias, class_id in earlier.items()}
        by_form |= self._named_by(decisions)
        ids: list[int] = []
        for entry in declared:
            names = (entry.name, *entry.aliases)
            own = [history.own(name) for name in names]
            found = [*own, *(by_form.get(fold_name(name)) for name in names)]
            class_id = next((found_id for found_id in found if found_id is not None), None)
            if class_id is None:
                # The annotations' ids were given after these declared ones had theirs: gaps are where those belong.
                class_id = next(number for number in count(free) if number not in history.names)
                history.give_id(class_id, entry.name)
            for name in names:
                if history.own(name) != class_id:
                    history.claim(class_id, name, f"the use case's class {entry.name!r}")
            ids.append(class_id)
        self.declared = frozenset(ids)

    def _named_by(self, decisions: Sequence[ClassDecision]) -> dict[str, int]:
        """Classes by the names that decisions give them, as far as these mean classes that have an id already."""
        found: dict[str, int] = {}
        for decision in decisions:
            class_id = self.history.own(decision.of) if decision.class_id is None else decision.class_id
            if decision.decision in ("rename", "alias") and decision.to and class_id in self.history.names:
                found.setdefault(fold_name(decision.to), class_id)
        return found


def recorded_decisions(
    decisions: Sequence[ClassDecision],
    known: pl.DataFrame,
    declared: Sequence[KnownClass],
    annotations: pl.DataFrame | None = None,
) -> list[ClassDecision]:
    """Decisions with the classes that they mean, to be kept; arguments and errors as of `Vocabulary.of`."""
    vocabulary = Vocabulary.of(known, declared, annotations, decisions)
    return [vocabulary.recorded(decision) for decision in decisions]


def assign_ids(names_in_order: Iterable[str], known: pl.DataFrame, declared: Sequence[KnownClass]) -> pl.DataFrame:
    """Give every name an id: known classes keep theirs, then declared, then new names in their order.

    Returns:
        KNOWN_CLASSES with a row an id.
    """
    vocabulary = Vocabulary.of(known, declared)
    for name in names_in_order:
        vocabulary.learn(name)
    return vocabulary.table()


def equipment_classes(
    annotations: pl.DataFrame,
    photos: pl.DataFrame,
    previous: pl.DataFrame,
    declared: Sequence[KnownClass],
    rules: NewClassRules,
    decisions: Sequence[ClassDecision] = (),
) -> pl.DataFrame:
    """Every class ever seen with its counts and status.

    A class is proposed until it has `min_boxes` in `min_enclosures`, then active, and never falls back by itself. One
    whose name is as like a known class's as `near_name` waits until somebody accepts or merges it. Declared classes do
    not wait: somebody wrote them down. Decisions make a class deprecated or merged, whose labels count for the other;
    every previous row is kept, with its id.

    Args:
        annotations: ANNOTATIONS.
        photos: photo_id, enclosure_id; the first row of a photo_id counts.
        previous: EQUIPMENT_CLASSES as last written; may be empty.
        declared: The use case's `classes`.
        rules: When a class becomes active.
        decisions: Of the store and the use case.

    Returns:
        EQUIPMENT_CLASSES, sorted by class_id.

    Raises:
        VocabularyError: See `Vocabulary.of`.
    """
    vocabulary = Vocabulary.of(previous, declared, annotations, decisions)
    return class_states(vocabulary.history, vocabulary.declared, annotations, photos, previous, rules).select(
        EQUIPMENT_CLASSES.names()
    )


def _first_names(known: pl.DataFrame) -> list[tuple[int, str, Sequence[str]]]:
    """Id, name that it was given to and aliases of each known class, by id."""
    first = pl.coalesce("first_name", "class_name") if "first_name" in known.columns else pl.col("class_name")
    rows = known.select("class_id", first.alias("first_name"), pl.col("aliases").fill_null([])).sort("class_id")
    return list(rows.iter_rows())


def _labelled_ahead(
    known: Sequence[tuple[int, str, Sequence[str]]], annotations: pl.DataFrame | None, given: set[str]
) -> list[tuple[int, str]]:
    """Ids that annotations hold and the class table does not yet, under the name that was labelled first.

    Names that a decision gives come last: the id was another name's before.
    """
    if annotations is None:
        return []
    ids = {class_id for class_id, *_ in known}
    columns = annotations.select("class_id", "class_name", "annotated_at", "photo_id").drop_nulls("class_id")
    ahead = columns.filter(~pl.col("class_id").is_in(list(ids)))
    named_since = pl.Series([fold_name(name) in given for name in ahead["class_name"]], dtype=pl.Boolean)
    first = ahead.sort(named_since, "annotated_at", "photo_id", "class_name").unique("class_id", keep="first")
    return list(first.sort("class_id").select("class_id", "class_name").iter_rows())


def _check_declared(declared: Sequence[KnownClass]) -> None:
    owners: dict[str, str] = {}
    for entry in declared:
        for name in {fold_name(text) for text in (entry.name, *entry.aliases)}:
            if name in owners:
                raise VocabularyError(
                    f"the use case's classes {owners[name]!r} and {entry.name!r} share the name {name!r}; "
                    "take it from one of them"
                )
            owners[name] = entry.name
