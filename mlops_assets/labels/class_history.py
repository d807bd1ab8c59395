"""What decisions about classes come to: replayed on top of the names that ids were given to.

Nothing here depends on the order in which labels, files and commands came in, only on ids, names and the times of the
decisions. Which name gets which id belongs in `vocabulary`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mlops_assets.class_keys import class_id_of, class_key
from mlops_assets.labels.class_decisions import (
    FROM_COMMAND,
    ClassDecision,
    VocabularyError,
    in_force,
    is_recorded,
)
from mlops_assets.labels.class_names import fold_name

_UNDO = "undo one of them: python -m mlops_assets.labels classes undo <id>"


@dataclass(frozen=True, slots=True)
class _Claim:
    """That a name means a class; `by` says where it stands, for messages."""

    name: str
    class_id: int
    by: str
    decision: ClassDecision | None = None


@dataclass(slots=True)
class ClassHistory:
    """Classes with the decisions about them that are in force.

    Attributes:
        first_names: Name that each id was given to.
        names: Display name by id.
        aliases: Further names by id, as written; without those of classes merged into it.
        merged: The class that one was merged into directly, and where that stands.
        deprecated: Decision by id.
        accepted: Decision by id.
        waiting: Decisions of the use case file that mean a class which there is not yet.
        meant: Class ids that each decision means (`of`, and `to` of a merge), by decision_id.
    """

    first_names: dict[int, str] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    aliases: dict[int, list[str]] = field(default_factory=dict)
    merged: dict[int, tuple[int, str]] = field(default_factory=dict)
    deprecated: dict[int, ClassDecision] = field(default_factory=dict)
    accepted: dict[int, ClassDecision] = field(default_factory=dict)
    waiting: list[ClassDecision] = field(default_factory=list)
    meant: dict[str, tuple[int, int | None]] = field(default_factory=dict)
    _owners: dict[str, int] = field(default_factory=dict)
    _claims: dict[str, list[_Claim]] = field(default_factory=dict)
    _also_merged: list[tuple[int, int, str]] = field(default_factory=list)

    def give_id(self, class_id: int, name: str) -> None:
        """Give an id to a name, for good.

        Raises:
            VocabularyError: The id is another name's.
        """
        if class_id in self.first_names:
            raise VocabularyError(f"class id {class_id} is there twice: {self.first_names[class_id]!r} and {name!r}")
        self.first_names[class_id] = self.names[class_id] = name
        self.aliases[class_id] = []
        self._owners.setdefault(fold_name(name), class_id)

    def claim(self, class_id: int, name: str, by: str) -> None:
        """Say that a further name means a class; `replay` finds out whether that contradicts anything."""
        self._claims.setdefault(fold_name(name), []).append(_Claim(name, class_id, by))
        if fold_name(name) not in map(fold_name, (self.first_names[class_id], *self.aliases[class_id])):
            self.aliases[class_id].append(name)

    def root(self, class_id: int) -> int:
        """The class that one counts for in the end: itself, if it was not merged."""
        while class_id in self.merged:
            class_id = self.merged[class_id][0]
        return class_id

    def own(self, name: str) -> int | None:
        """The class that a name is one of, merged or not."""
        folded = fold_name(name)
        if folded in self._owners:
            return self._owners[folded]
        claims = self._claims.get(folded)
        return claims[0].class_id if claims else None

    def replay(self, decisions: Iterable[ClassDecision]) -> None:
        """Apply the decisions that are in force.

        Two names that a decision says are one, of which both have an id already, are merged, since labels may have come
        between a decision and the import that knew of it; somebody who decides just now must say so. A decision of the
        use case file about a class that nobody labelled yet waits for it, so that the file can begin a new store.

        Raises:
            VocabularyError: Decisions contradict each other, or mean a class that there is not.
        """
        holding = self._find_classes(in_force(decisions))
        for decision in holding:
            class_id, to_class_id = self.meant[decision.decision_id]
            if decision.decision == "merge" and to_class_id is not None:
                self._merge(class_id, to_class_id, decision.sentence())
            elif decision.decision == "deprecate":
                self.deprecated[class_id] = decision
            elif decision.decision == "accept":
                self.accepted[class_id] = decision
        self._settle_claims()
        for decision in holding:
            self._show(decision)

    def _find_classes(self, decisions: Sequence[ClassDecision]) -> list[ClassDecision]:
        """Look up which class each decision means; names that decisions give come into use as they are found."""
        waiting, found = list(decisions), [True]
        while any(found):
            found = [self._find_class(decision) for decision in waiting]
            waiting = [decision for decision, is_found in zip(waiting, found, strict=True) if not is_found]
        for decision in waiting:
            if is_recorded(decision) or decision.source == FROM_COMMAND:
                self._complain_of_unknown(decision)
        self.waiting = waiting
        return [decision for decision in decisions if decision.decision_id in self.meant]

    def _find_class(self, decision: ClassDecision) -> bool:
        is_merge = decision.decision == "merge"
        class_id = self._refer(decision.of) if decision.class_id is None else decision.class_id
        to_class_id = decision.to_class_id
        if is_merge and to_class_id is None:
            to_class_id = self._refer(decision.to or "")
        if class_id not in self.first_names or (is_merge and to_class_id not in self.first_names):
            return False
        self.meant[decision.decision_id] = class_id, to_class_id
        if decision.decision in ("rename", "alias"):
            name = decision.to or ""
            if not fold_name(name):
                raise VocabularyError(f"{decision.sentence()} gives no name: write one with a letter or digit")
            claim = _Claim(name, class_id, decision.sentence(), decision)
            self._claims.setdefault(fold_name(name), []).append(claim)
        return True

    def _refer(self, text: str) -> int | None:
        class_id = class_id_of(text)
        return class_id if class_id is not None and class_id in self.first_names else self.own(text)

    def _complain_of_unknown(self, decision: ClassDecision) -> None:
        known = ", ".join(f"{name} ({class_key(class_id)})" for class_id, name in sorted(self.names.items()))
        raise VocabularyError(
            f"{decision.sentence()} means a class that there is not; known are: {known or 'none yet'}. Correct the "
            "name, name the class under `classes` in the use case, or undo what gave it that name last"
        )

    def _merge(self, class_id: int, target: int, where: str) -> None:
        if self.root(target) == class_id:
            other = f"; {self.merged[target][1]} says the opposite: {_UNDO}" if target in self.merged else ""
            raise VocabularyError(f"{where} merges {self.names[class_id]!r} into itself{other}")
        if class_id not in self.merged:
            self.merged[class_id] = target, where
        else:
            self._also_merged.append((class_id, target, where))

    def _settle_claims(self) -> None:
        for folded, claims in self._claims.items():
            if (owner := self._owners.get(folded)) is None:
                continue
            for claim in claims:
                if self.root(owner) != self.root(claim.class_id):
                    self._settle(owner, claim)
        for class_id, target, where in self._also_merged:
            if self.root(class_id) != self.root(target):
                raise VocabularyError(
                    f"{where} and {self.merged[class_id][1]} merge {self.names[class_id]!r} into different classes: "
                    f"{_UNDO}"
                )
        for claims in self._claims.values():
            other = next((c for c in claims if self.root(c.class_id) != self.root(claims[0].class_id)), None)
            if other is not None:
                first = claims[0]
                raise VocabularyError(
                    f"{first.by} and {other.by} give the name {other.name!r} to different classes, "
                    f"{self.names[first.class_id]!r} and {self.names[other.class_id]!r}: {_remedy(first, other)}"
                )

    def _settle(self, owner: int, claim: _Claim) -> None:
        """A name that is a class of its own, with an id, is said to mean another class."""
        decision = claim.decision
        if decision is not None and (is_recorded(decision) or decision.source != FROM_COMMAND):
            self._merge(owner, claim.class_id, claim.by)
            return
        own, other = class_key(owner), class_key(claim.class_id)
        raise VocabularyError(
            f"{claim.by} gives the name {claim.name!r} to {self.names[claim.class_id]!r} ({other}), but it is the "
            f"class {own} of its own: merge {own} into {other} (or the other way round, then rename), or take another "
            "name"
        )

    def _show(self, decision: ClassDecision) -> None:
        """Take over the names that a rename or alias gives."""
        if decision.decision not in ("rename", "alias"):
            return
        class_id, _ = self.meant[decision.decision_id]
        name, aliases = decision.to or "", self.aliases[class_id]
        if decision.decision == "rename":
            aliases.append(self.names[class_id])
            self.names[class_id] = name
        else:
            aliases.append(name)
        by_form = {fold_name(alias): alias for alias in reversed(aliases)}  # as it was written first
        by_form.pop(fold_name(self.names[class_id]), None)
        self.aliases[class_id] = [alias for alias in dict.fromkeys(aliases) if by_form.get(fold_name(alias)) == alias]


def _remedy(first: _Claim, other: _Claim) -> str:
    if first.decision is None and other.decision is None:
        return "take it from one of them"
    return _UNDO + (", or change the use case file" if first.decision is None or other.decision is None else "")


def members(history: ClassHistory) -> Mapping[int, list[int]]:
    """Ids of the classes that count for each class that was not merged, itself among them, sorted."""
    found: dict[int, list[int]] = {}
    for class_id in sorted(history.first_names):
        found.setdefault(history.root(class_id), []).append(class_id)
    return found
