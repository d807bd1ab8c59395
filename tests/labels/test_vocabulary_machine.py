"""Histories of label drops and decisions: ids stay, boxes stay, and decisions come to the same however they came in."""

import datetime as dt

import polars as pl
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mlops_assets.labels.class_decisions import FROM_COMMAND, ClassDecision, VocabularyError, in_force, new_decision
from mlops_assets.labels.schema import ANNOTATIONS, EQUIPMENT_CLASSES
from mlops_assets.labels.vocabulary import Vocabulary, equipment_classes, recorded_decisions
from mlops_assets.use_case import KnownClass, NewClassRules

MONDAY = dt.datetime(2026, 10, 5, 8, tzinfo=dt.UTC)
DECLARED = (KnownClass(name="battery", aliases=("accu",)),)
RULES = NewClassRules(min_boxes=2, min_enclosures=1)
NAMES = ["battery", "accu", "fan", "Fan", "fans", "psu", "power supply", "router", "splitter"]
names = st.sampled_from(NAMES)


class Histories(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.drop: list[str] = []
        self.decisions: list[ClassDecision] = []
        self.annotations = pl.DataFrame(schema=ANNOTATIONS)
        self.classes = pl.DataFrame(schema=EQUIPMENT_CLASSES)
        self.clock = MONDAY
        self.was_active: set[int] = set()

    def vocabulary(self, decisions: list[ClassDecision] | None = None) -> Vocabulary:
        decisions = self.decisions if decisions is None else decisions
        return Vocabulary.of(self.classes, DECLARED, self.annotations, decisions)

    @rule(labels=st.lists(names, min_size=1, max_size=3))
    def label(self, labels: list[str]) -> None:
        self.drop += labels

    @rule(meanwhile=st.none() | st.tuples(st.sampled_from(["rename", "alias", "merge"]), names, names))
    def run_import(self, meanwhile: tuple[str, str, str] | None) -> None:
        """As the job does it; a decision may come in between its two steps."""
        vocabulary = self.vocabulary()
        for name in self.drop:
            vocabulary.learn(name)
        rows = [
            {"photo_id": f"p{n}", "class_id": vocabulary.find(name), "class_name": name, "annotated_at": MONDAY}
            for n, name in enumerate(self.drop)
        ]
        labelled = pl.DataFrame(rows, schema=ANNOTATIONS)
        if meanwhile:
            self.decide(*meanwhile)
        self.annotations = labelled
        self.count()
        counted = dict(self.classes.select("class_id", "boxes").iter_rows())
        now = self.vocabulary()
        for name in set(self.drop) if meanwhile is None else ():
            same = sum(now.find(other) == now.find(name) for other in self.drop)
            assert counted[now.find(name)] == same

    def count(self) -> None:
        photos = self.annotations.select("photo_id", enclosure_id=pl.lit("E"))
        self.decisions = recorded_decisions(self.decisions, self.classes, DECLARED, self.annotations)
        before = self.classes
        self.classes = equipment_classes(self.annotations, photos, before, DECLARED, RULES, self.decisions)
        firsts = self.classes.select("class_id", "first_name")
        assert firsts.head(before.height).equals(before.select("class_id", "first_name"))
        assert self.classes["class_id"].to_list() == list(range(self.classes.height))
        assert self.classes["boxes"].sum() == self.annotations.height
        assert self.classes.filter(pl.col("status") == "merged")["boxes"].sum() == 0

    @rule(decision=st.sampled_from(["rename", "alias", "merge"]), of=names, to=names)
    def decide(self, decision: str, of: str, to: str | None) -> None:
        self.clock += dt.timedelta(minutes=1)
        self.add(new_decision(decision, of, to, by="anna", at=self.clock, why="seen", source=FROM_COMMAND))

    @rule(decision=st.sampled_from(["deprecate", "accept"]), of=names)
    def settle(self, decision: str, of: str) -> None:
        self.decide(decision, of, None)

    @precondition(lambda self: self.decisions)
    @rule(data=st.data())
    def undo(self, data: st.DataObject) -> None:
        target = data.draw(st.sampled_from(self.decisions))
        self.clock += dt.timedelta(minutes=1)
        undo = new_decision(
            "undo", target.decision_id, None, by="bela", at=self.clock, why="wrong", source=FROM_COMMAND
        )
        self.add(undo)

    def add(self, decision: ClassDecision) -> None:
        """As the command does: what contradicts the others is not written."""
        try:
            after = self.vocabulary([*self.decisions, decision])
        except VocabularyError:
            return
        self.decisions.append(after.recorded(decision))

    @invariant()
    def order_of_arrival_makes_no_difference(self) -> None:
        shuffled = [*self.decisions[1::2], *reversed(self.decisions[::2])]
        assert self.vocabulary(shuffled).table().equals(self.vocabulary().table())
        assert self.vocabulary(shuffled).state() == self.vocabulary().state()

    @invariant()
    def a_name_means_one_class_that_is_not_merged(self) -> None:
        vocabulary = self.vocabulary()
        for decision in in_force(self.decisions):
            if decision.decision in ("rename", "alias"):
                assert vocabulary.find(decision.to) == vocabulary.history.root(decision.class_id)
        for class_id, name in vocabulary.history.names.items():
            assert vocabulary.find(name) == vocabulary.history.root(class_id)
        ends = {vocabulary.find(name) for name in NAMES} - {None}
        assert not ends & vocabulary.history.merged.keys()

    @invariant()
    def without_decisions_every_class_is_as_it_began(self) -> None:
        bare = self.vocabulary([])
        assert bare.history.names == bare.history.first_names
        assert not bare.history.merged


TestHistories = Histories.TestCase
TestHistories.settings = settings(deadline=None, max_examples=20, stateful_step_count=15)
