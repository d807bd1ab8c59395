"""Who becomes champion: the rules on the newest candidate, or a person's order, with all that must hold before.

The rules are in `promotion.py`, what earlier decisions mean in `decisions.py`. What was decided is written to the
registry first, then the alias is moved, last (by the caller) the table is written: a killed step can be tried again.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any, Protocol

import polars as pl

from mlops_assets.detector import decisions as told
from mlops_assets.detector.candidate import ModelVersion
from mlops_assets.detector.promotion import Decision

RUN_TAG = "decided_in_run"
"""On a version: the Dagster run that decided on it last."""

_OUTCOME_TAG = "decision"

ONLY_IN_WORDS = ("e", "f")
"""Criteria that a person overrides only by naming them: what fails them was not measured on what would serve, or not
fairly."""


class Verdict(Enum):
    """What champion_detector is asked to do; Dagster's launchpad shows the names of the members."""

    judge = "judge"
    promote = "promote"
    refuse = "refuse"
    roll_back = "roll_back"
    follow_alias = "follow_alias"


class OrderError(ValueError):
    """What was ordered cannot be done; the message says why and what can. Nothing was changed."""


@dataclass(frozen=True)
class Order:
    """What a person, or the sensor champion_changed, asks for.

    Attributes:
        verdict: What to do.
        version: Of the model; None: the newest candidate, or for a rollback the champion before.
        reason: Why; a person must say.
        by: Who says so.
        despite: Letters of failed criteria among `ONLY_IN_WORDS` that a promotion is to override.
    """

    verdict: Verdict = Verdict.judge
    version: str | None = None
    reason: str = ""
    by: str = ""
    despite: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Outcome:
    """One decision, as a row of CHAMPION_DETECTOR wants it; by and why are a person's."""

    version: str
    promoted: bool
    reasons: list[str]
    kind: str = told.JUDGED
    by: str | None = None
    why: str | None = None
    provisional: list[int] = field(default_factory=list)


class Registry(Protocol):
    """What is needed of the model registry."""

    def version(self, version: str) -> ModelVersion:
        """One version; an error if there is none."""

    def versions(self) -> Sequence[ModelVersion]:
        """All of them; the newest candidate may have been deleted."""

    def champion(self) -> ModelVersion | None:
        """What the alias names."""

    def set_champion(self, version: str) -> None:
        """Move the alias."""

    def set_tags(self, version: str, tags: Mapping[str, Any]) -> None:
        """Keep something with a version."""


@dataclass(frozen=True)
class Desk:
    """Where decisions are made.

    Attributes:
        registry: Of the use case's model.
        history: CHAMPION_DETECTOR so far.
        newest: The newest candidate.
        judge: What the rules say of it.
        faults: What keeps a version from serving, see `soundness.faults`.
        run_id: Dagster's.
    """

    registry: Registry
    history: pl.DataFrame
    newest: str
    judge: Callable[[], Decision]
    faults: Callable[[ModelVersion], list[str]]
    run_id: str

    def carry_out(self, order: Order) -> list[Outcome]:
        """Decide and move the alias; before what was ordered stands a move of the alias that nobody recorded, if any.

        Raises:
            OrderError: It cannot be done.
        """
        done = self._done_before()
        moved = [] if done and done.version == self._serving() else self._unrecorded_move()
        if done is not None:
            self._move(done)
            return [*moved, done]
        if order.verdict is Verdict.follow_alias:
            if self._serving() is None:
                raise OrderError(f"The alias names no version, so there is nothing to follow; {self._recorded} stays")
            return moved
        if self._serving() is None and self._recorded and order.verdict in (Verdict.judge, Verdict.refuse):
            raise OrderError(
                f"The alias names no version, but version {self._recorded} is recorded as serving, and would be gone "
                f"from the catalogue: set the alias again, roll back, or promote a version by hand"
            )
        outcome = self._decide(order)
        self.registry.set_tags(outcome.version, _tags(outcome, self.run_id))
        self._move(outcome)
        return [*moved, outcome]

    @property
    def _recorded(self) -> str | None:
        return self.history.item(-1, "champion_version") if self.history.height else None

    def _move(self, outcome: Outcome) -> None:
        serving = self.registry.champion()
        if outcome.promoted and (serving is None or serving.version != outcome.version):
            self.registry.set_champion(outcome.version)

    def _done_before(self) -> Outcome | None:
        """What an earlier attempt of this run decided, if it was killed before its table was written."""
        looked_at = {self.newest, self._serving()}
        for tags in (info.tags for info in self.registry.versions() if info.version in looked_at):
            if tags.get(RUN_TAG) == self.run_id:
                return Outcome(**json.loads(tags[_OUTCOME_TAG]))
        return None

    def _decide(self, order: Order) -> Outcome:
        if order.verdict is Verdict.judge:
            return self._judge(order)
        if not order.reason.strip() or not order.by.strip():
            raise OrderError(f"Say why and who: {order.verdict.value} wants `reason` and `by`")
        if order.verdict is Verdict.roll_back:
            return self._roll_back(order)
        return self._by_hand(order)

    def _judge(self, order: Order) -> Outcome:
        if order.version not in (None, self.newest):
            raise OrderError(
                f"Only version {self.newest}, the newest candidate, is measured on today's test set; "
                f"version {order.version} can be promoted or refused by hand"
            )
        word = told.word_against(self.history, self.newest)
        if word is not None and self.newest != self._serving():
            stays = "a person's word stands until a person promotes it"
            return Outcome(self.newest, False, [f"(by hand) failed: {word}; {stays}"])
        decision = self.judge()
        return Outcome(self.newest, decision.promoted, decision.reasons, provisional=decision.provisional)

    def _by_hand(self, order: Order) -> Outcome:
        version = order.version or self.newest
        promote = order.verdict is Verdict.promote
        if version == self._serving():
            raise OrderError(f"Version {version} serves{' already' if promote else ': roll back instead'}")
        reasons, provisional = self._reasons_for(version)
        failed = told.failed_criteria(reasons)
        if promote:
            self._must_be_sound(version)
            unnamed = [letter for letter in failed if letter in ONLY_IN_WORDS and letter not in order.despite]
            if unnamed:
                raise OrderError(
                    f"Version {version} failed {_letters(unnamed)}, which is overridden only if `despite` names it: "
                    + "; ".join(reason for reason in reasons if reason[1:2] in unnamed)
                )
        against = f"although it failed {_letters(failed)}" if failed else "and it failed nothing"
        against = against if promote or failed else "although it failed nothing"
        verb = "promoted" if promote else "refused"
        sentence = f"overridden by {order.by} because {order.reason}: version {version} was {verb}, {against}"
        kind = told.PROMOTED_BY_HAND if promote else told.REFUSED_BY_HAND
        return Outcome(version, promote, [*reasons, sentence], kind, order.by, order.reason, provisional)

    def _reasons_for(self, version: str) -> tuple[list[str], list[int]]:
        """What the rules say of the newest candidate, or said of an older one."""
        if version == self.newest:
            decision = self.judge()
            return decision.reasons, decision.provisional
        self.registry.version(version)
        judged = told.last_judgement(self.history, version)
        if judged is None:
            raise OrderError(f"Version {version} was never judged: nobody knows how good it is")
        return judged, []

    def _roll_back(self, order: Order) -> Outcome:
        serving = self._serving() or self._recorded
        target = order.version or told.previous_champion(self.history)
        if serving is None:
            raise OrderError("Nothing serves, so there is nothing to roll back from")
        if target is None:
            raise OrderError(f"There was no champion before version {serving}: name a version, or promote one by hand")
        if target == self._serving():
            raise OrderError(f"Version {target} serves already")
        if not told.has_served(self.history, target):
            raise OrderError(f"Version {target} never served: promote it by hand instead, which records that it is new")
        self._must_be_sound(target)
        sentence = f"rolled back from version {serving} to {target} by {order.by} because {order.reason}"
        return Outcome(target, True, [sentence], told.ROLLED_BACK, order.by, order.reason)

    def _unrecorded_move(self) -> list[Outcome]:
        """Whether the alias names another version than the last decision left."""
        serving = self.registry.champion()
        if serving is None or serving.version == self._recorded:
            return []
        self._must_be_sound(serving.version, f"; set the alias to {self._recorded} again" if self._recorded else "")
        run = serving.tags.get(RUN_TAG)
        before = f"version {self._recorded}" if self._recorded else "none"
        unrecorded = run is not None and run not in self.history["run_id"]
        if unrecorded and json.loads(serving.tags[_OUTCOME_TAG])["promoted"]:
            how = f"by run {run}, which ended before it was recorded"
        else:
            how = "outside Dagster"
        sentence = f"the alias was moved {how}: from {before} to version {serving.version}"
        return [Outcome(serving.version, True, [sentence], told.MOVED_OUTSIDE)]

    def _must_be_sound(self, version: str, remedy: str = "") -> None:
        info = self.registry.version(version)
        found = [f"it has no {tag}" for tag in ("class_map", "thresholds") if tag not in info.tags]
        found = found or self.faults(info)
        if found:
            raise OrderError(f"Version {version} cannot serve: {'; '.join(found)}{remedy}")

    def _serving(self) -> str | None:
        serving = self.registry.champion()
        return serving.version if serving else None


def _tags(outcome: Outcome, run_id: str) -> dict[str, str]:
    """What MLflow keeps: the outcome for the next attempt of a killed step; for people, what a candidate was told."""
    kept = {_OUTCOME_TAG: json.dumps(asdict(outcome), ensure_ascii=False), RUN_TAG: run_id}
    if outcome.kind in told.MOVES:
        return kept
    reasons = json.dumps(outcome.reasons, ensure_ascii=False)
    return {**kept, "promoted": str(outcome.promoted).lower(), "reasons": reasons}


def _letters(criteria: list[str]) -> str:
    return ", ".join(f"({criterion})" for criterion in criteria)
