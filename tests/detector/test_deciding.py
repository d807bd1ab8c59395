"""Orders of people and judgements by the rules, on a registry in memory; the real one is in test_champion_detector."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import pytest

from mlops_assets.detector.champion import latest_champion
from mlops_assets.detector.deciding import Desk, Order, OrderError, Outcome, Verdict
from mlops_assets.detector.decision_rows import with_decisions
from mlops_assets.detector.decisions import (
    JUDGED,
    MOVED_OUTSIDE,
    PROMOTED_BY_HAND,
    REFUSED_BY_HAND,
    ROLLED_BACK,
    champion_history,
    failed_criteria,
    previous_champion,
    word_against,
)
from mlops_assets.detector.promotion import Decision
from mlops_assets.detector.schema import CHAMPION_DETECTOR

PASSED = Decision(True, ["(a) passed: well"], [])
REFUSED = Decision(False, ["(a) failed: worse", "(e) passed: same"], [])
UNMEASURED = Decision(False, ["(e) failed: parity 0.2", "(f) failed: 3 test enclosures were trained on"], [])


@dataclass
class Version:
    version: str
    tags: dict[str, str]
    files: Mapping[str, str] = field(default_factory=lambda: {"onnx/model.onnx": "aa"})


class Registry:
    def __init__(self) -> None:
        self.known: dict[str, Version] = {}
        self.alias: str | None = None

    def version(self, version: str) -> Version:
        return self.known[version]

    def versions(self) -> list[Version]:
        return list(self.known.values())

    def champion(self) -> Version | None:
        return self.known[self.alias] if self.alias else None

    def set_champion(self, version: str) -> None:
        self.alias = version

    def set_tags(self, version: str, tags: Mapping[str, Any]) -> None:
        self.known[version].tags.update(tags)


class House:
    """Decisions one after the other, as champion_detector makes them."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.history = pl.DataFrame(schema=CHAMPION_DETECTOR)
        self.broken: dict[str, str] = {}
        self.runs = 0

    def train(self) -> str:
        version = str(len(self.registry.known) + 1)
        self.registry.known[version] = Version(version, {"class_map": '{"0": "fan"}', "thresholds": '{"0": 0.4}'})
        return version

    def desk(self, rules: Decision, run: str) -> Desk:
        return Desk(
            registry=self.registry,
            history=self.history,
            newest=str(len(self.registry.known)),
            judge=lambda: rules,
            faults=lambda version: [self.broken[version.version]] if version.version in self.broken else [],
            run_id=run,
        )

    def carry_out(self, order: Order | None = None, rules: Decision = PASSED) -> list[Outcome]:
        self.runs += 1
        run = f"run-{self.runs}"
        outcomes = self.desk(rules, run).carry_out(order or Order())
        self.record(outcomes, run)
        return outcomes

    def record(self, outcomes: list[Outcome], run: str) -> None:
        newest = str(len(self.registry.known))
        self.history = with_decisions(
            self.history, outcomes, self.registry, candidate=newest, class_boxes="{}", snapshot="s", run_id=run
        )

    def train_and_judge(self, *rules: Decision) -> None:
        for decision in rules:
            self.train()
            self.carry_out(rules=decision)

    @property
    def serving(self) -> str | None:
        champion = latest_champion(self)
        assert (champion.version if champion else None) == self.registry.alias
        return self.registry.alias

    def read(self, name: str, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
        return self.history


def order(verdict: str, version: str | None = None, *despite: str) -> Order:
    return Order(Verdict[verdict], version, "the fans are missed", "Ada", frozenset(despite))


@pytest.fixture
def house() -> House:
    return House()


def test_the_rules_decide_where_nobody_orders(house: House) -> None:
    house.train_and_judge(PASSED, REFUSED, PASSED)
    assert house.serving == "3"
    assert house.history["promoted"].to_list() == [True, False, True]
    assert set(house.history["kind"]) == {JUDGED}


@pytest.mark.parametrize("verdict", ["promote", "refuse", "roll_back"])
@pytest.mark.parametrize("missing", ["reason", "by"])
def test_by_hand_nothing_is_done_without_a_reason_and_a_name(house: House, verdict: str, missing: str) -> None:
    house.train_and_judge(PASSED, PASSED, REFUSED)
    said = {"reason": "why", "by": "Ada", missing: "  "}
    with pytest.raises(OrderError, match="Say why and who"):
        house.carry_out(Order(Verdict[verdict], None, **said))
    assert (house.serving, house.history.height) == ("2", 3)


def test_a_refused_candidate_is_promoted_by_hand_and_the_record_says_by_whom_why_and_against_what(house: House) -> None:
    house.train_and_judge(PASSED, REFUSED)
    house.carry_out(order("promote"), rules=REFUSED)
    assert house.serving == "2"
    last = house.history.row(-1, named=True)
    assert (last["kind"], last["decided_by"], last["why"]) == (PROMOTED_BY_HAND, "Ada", "the fans are missed")
    assert last["reasons"] == [
        *REFUSED.reasons,
        "overridden by Ada because the fans are missed: version 2 was promoted, although it failed (a)",
    ]


def test_a_passing_candidate_is_refused_by_hand_and_no_rerun_promotes_it(house: House) -> None:
    house.train_and_judge(PASSED)
    house.train()
    house.carry_out(order("refuse"), rules=PASSED)
    assert house.serving == "1"
    assert house.history.item(-1, "kind") == REFUSED_BY_HAND
    house.carry_out(rules=PASSED)
    assert house.serving == "1"
    (reason,) = house.history.item(-1, "reasons")
    assert reason.startswith("(by hand) failed: version 2 was refused by Ada because the fans are missed")
    house.carry_out(order("promote"), rules=PASSED)
    assert house.serving == "2"


def test_an_older_candidate_is_promoted_on_what_was_said_when_it_was_judged(house: House) -> None:
    house.train_and_judge(PASSED, REFUSED, PASSED)
    house.carry_out(order("promote", "2"), rules=PASSED)
    assert house.serving == "2"
    assert house.history.item(-1, "reasons")[:2].to_list() == REFUSED.reasons
    assert house.history.item(-1, "test_snapshot") is None, "it was not measured on today's test set"


def test_parity_and_leakage_are_overridden_only_by_their_letters(house: House) -> None:
    house.train_and_judge(PASSED, UNMEASURED)
    for despite, named in (((), r"\(e\), \(f\)"), (("e",), r"\(f\)"), (("a", "f"), r"\(e\)")):
        with pytest.raises(OrderError, match=f"Version 2 failed {named}, which is overridden only if"):
            house.carry_out(order("promote", None, *despite), rules=UNMEASURED)
    assert (house.serving, house.history.height) == ("1", 2)
    house.carry_out(order("promote", None, "e", "f"), rules=UNMEASURED)
    assert house.serving == "2"


def test_what_cannot_serve_is_promoted_by_nobody(house: House) -> None:
    house.train_and_judge(PASSED, REFUSED)
    house.broken["2"] = "its export cannot be opened"
    with pytest.raises(OrderError, match="Version 2 cannot serve: its export cannot be opened"):
        house.carry_out(order("promote"), rules=REFUSED)
    assert house.serving == "1"


def test_what_was_never_judged_or_serves_already_is_not_ordered_about(house: House) -> None:
    house.train_and_judge(PASSED)
    with pytest.raises(OrderError, match="serves already"):
        house.carry_out(order("promote"))
    with pytest.raises(OrderError, match="roll back instead"):
        house.carry_out(order("refuse"))
    house.train()
    house.train()
    with pytest.raises(OrderError, match="Version 2 was never judged"):
        house.carry_out(order("promote", "2"))
    with pytest.raises(OrderError, match="Only version 3"):
        house.carry_out(Order(version="2"))


def test_a_word_or_a_damaged_file_does_not_stand_for_what_was_measured(house: House) -> None:
    house.train_and_judge(PASSED, UNMEASURED)
    house.carry_out(order("refuse", "2"), rules=UNMEASURED)
    house.carry_out()  # a rerun, which says that Ada's word stands
    house.train_and_judge(Decision(False, ["(files) failed: the export is gone"], []), PASSED)
    with pytest.raises(OrderError, match=r"failed \(e\), \(f\), which is overridden only if"):
        house.carry_out(order("promote", "2"))
    with pytest.raises(OrderError, match="3 was never judged"):
        house.carry_out(order("promote", "3"))


def test_a_lost_alias_empties_no_catalogue_and_is_set_again_by_hand_or_by_a_rollback(house: House) -> None:
    house.train_and_judge(PASSED, PASSED, REFUSED)
    house.registry.alias = None
    for asked in (Order(), order("refuse")):
        with pytest.raises(OrderError, match="version 2 is recorded as serving, and would be gone"):
            house.carry_out(asked)
    assert house.history.item(-1, "champion_version") == "2"
    house.carry_out(order("roll_back", "2"))
    assert house.serving == "2"
    house.registry.alias = None
    house.carry_out(order("roll_back"))
    assert house.serving == "1"
    house.registry.alias = None
    house.carry_out(order("promote", "3"))
    assert house.serving == "3"


def test_an_older_version_promoted_over_the_newest_stays_whatever_a_rerun_says(house: House) -> None:
    house.train_and_judge(PASSED, PASSED)
    house.carry_out(order("promote", "1"))
    house.carry_out()
    assert house.serving == "1"
    assert failed_criteria(house.history.item(-1, "reasons").to_list()) == ["by hand"]


def test_a_rollback_needs_no_candidate(house: House) -> None:
    house.train_and_judge(PASSED, PASSED)
    house.train()
    desk = house.desk(PASSED, "run-x")
    del house.registry.known["3"]
    (outcome,) = desk.carry_out(order("roll_back"))
    assert (outcome.version, house.registry.alias) == ("1", "1")


def test_rollbacks_go_further_back_and_not_forward_again(house: House) -> None:
    house.train_and_judge(PASSED, PASSED, REFUSED, PASSED)
    for expected in ("2", "1"):
        house.carry_out(order("roll_back"))
        assert house.serving == expected
        assert house.history.item(-1, "kind") == ROLLED_BACK
    with pytest.raises(OrderError, match="There was no champion before version 1"):
        house.carry_out(order("roll_back"))
    assert house.serving == "1"
    house.train_and_judge(PASSED)
    assert house.serving == "5"
    house.carry_out(order("roll_back"))
    assert house.serving == "1"
    assert house.history.item(-1, "reasons").to_list() == [
        "rolled back from version 5 to 1 by Ada because the fans are missed"
    ]
    assert house.registry.known["1"].tags["reasons"] == '["(a) passed: well"]', "what it was told as a candidate stays"


def test_a_rollback_to_a_named_version_wants_one_that_served_and_is_whole(house: House) -> None:
    house.train_and_judge(PASSED, PASSED, REFUSED, PASSED)
    with pytest.raises(OrderError, match="Version 3 never served: promote it by hand"):
        house.carry_out(order("roll_back", "3"))
    with pytest.raises(OrderError, match="Version 4 serves already"):
        house.carry_out(order("roll_back", "4"))
    house.broken["1"] = "gone"
    with pytest.raises(OrderError, match="Version 1 cannot serve: gone"):
        house.carry_out(order("roll_back", "1"))
    del house.broken["1"]
    house.carry_out(order("roll_back", "1"))
    assert house.serving == "1"


def test_without_a_champion_there_is_nothing_to_roll_back_from(house: House) -> None:
    house.train_and_judge(REFUSED)
    with pytest.raises(OrderError, match="Nothing serves"):
        house.carry_out(order("roll_back"))


def test_what_was_rolled_back_is_not_promoted_again_by_a_rerun(house: House) -> None:
    house.train_and_judge(PASSED, PASSED)
    house.carry_out(order("roll_back"))
    house.carry_out(rules=PASSED)
    assert house.serving == "1"
    assert failed_criteria(house.history.item(-1, "reasons")) == ["by hand"]
    assert "rolled back from version 2 to 1 by Ada" in house.history.item(-1, "reasons")[0]


def test_a_move_of_the_alias_is_recorded_once_and_said_to_be_from_outside(house: House) -> None:
    house.train_and_judge(PASSED, PASSED)
    house.registry.alias = "1"
    (outcome,) = house.carry_out(order("follow_alias"))
    assert (outcome.kind, outcome.version) == (MOVED_OUTSIDE, "1")
    assert outcome.reasons == ["the alias was moved outside Dagster: from version 2 to version 1"]
    assert house.serving == "1"
    assert house.carry_out(order("follow_alias")) == []
    assert house.history.height == 3
    with pytest.raises(OrderError, match="There was no champion before version 1"):
        house.carry_out(order("roll_back"))


def test_a_move_nobody_recorded_is_told_apart_from_the_decision_that_finds_it(house: House) -> None:
    house.train_and_judge(PASSED, PASSED)
    house.registry.alias = "1"
    house.train_and_judge(REFUSED)
    assert house.history["kind"].to_list() == [JUDGED, JUDGED, MOVED_OUTSIDE, JUDGED]
    assert house.history["champion_version"].to_list() == ["1", "2", "1", "1"]


def test_an_alias_on_a_version_that_cannot_serve_is_not_followed_and_the_remedy_is_said(house: House) -> None:
    house.train_and_judge(PASSED)
    house.train()
    del house.registry.known["2"].tags["thresholds"]
    house.registry.alias = "2"
    with pytest.raises(OrderError, match="Version 2 cannot serve: it has no thresholds; set the alias to 1 again"):
        house.carry_out(order("follow_alias"))
    house.registry.alias = None
    with pytest.raises(OrderError, match="nothing to follow; 1 stays"):
        house.carry_out(order("follow_alias"))


@pytest.mark.parametrize("verdict", ["judge", "promote", "roll_back"])
def test_a_step_killed_before_its_table_was_written_is_repeated_with_the_same_record(
    house: House, verdict: str
) -> None:
    house.train_and_judge(PASSED, PASSED)
    house.train()
    ordered = Order() if verdict == "judge" else order(verdict)
    first = house.desk(PASSED, "killed").carry_out(ordered)
    second = house.desk(REFUSED, "killed").carry_out(ordered)
    assert first == second
    house.record(second, "killed")
    assert house.serving == first[0].version
    assert house.history.height == 3


def test_a_run_that_ended_before_it_was_recorded_is_named_when_the_alias_is_followed(house: House) -> None:
    house.train_and_judge(PASSED)
    house.train()
    house.desk(PASSED, "run-lost").carry_out(Order())
    (outcome,) = house.carry_out(order("follow_alias"))
    assert outcome.reasons == [
        "the alias was moved by run run-lost, which ended before it was recorded: from version 1 to version 2"
    ]


def test_the_history_says_who_served_from_when_to_when_and_why(house: House) -> None:
    house.train_and_judge(PASSED, REFUSED, PASSED)
    house.carry_out(order("roll_back"))
    house.carry_out(order("promote", "2"))
    tags = {"3": {"dataset_fingerprint": "abc", "test_map50": "0.8123"}}
    history = champion_history(house.history, tags)
    assert history["version"].to_list() == ["2", "1", "3", "1"]
    assert history["forced"].to_list() == [True, True, False, False]
    assert history["served_until"].to_list() == [None, *history["served_from"][:-1]]
    third = history.row(2, named=True)
    assert (third["because"], third["dataset_fingerprint"], third["test_map50"]) == (
        "version 3 passed every criterion",
        "abc",
        0.8123,
    )
    assert third["ended_because"] == "rolled back from version 3 to 1 by Ada because the fans are missed"
    assert history.item(0, "because").startswith("overridden by Ada because the fans are missed")
    assert history.item(3, "run_id") == "run-1"


def test_rows_of_before_kinds_were_recorded_count_as_judged() -> None:
    old = pl.DataFrame(
        [{"model_version": v, "promoted": True, "reasons": [], "champion_version": v} for v in ("1", "2")],
        schema=CHAMPION_DETECTOR,
    )
    assert previous_champion(old) == "1"
    assert word_against(old, "1") is None
    assert champion_history(old, {})["version"].to_list() == ["2", "1"]
    assert previous_champion(old.head(0)) is None
