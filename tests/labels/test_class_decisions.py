"""Decisions about classes on the tables of a store: what they come to, what contradicts, and that nothing is lost."""

import datetime as dt
from pathlib import Path

import polars as pl
import pytest
from pydantic import ValidationError

from mlops_assets.labels.class_decisions import (
    ClassDecision,
    VocabularyError,
    as_record,
    decisions_digest,
    decisions_table,
    is_recorded,
    labels_digest,
)
from mlops_assets.labels.class_desk import ClassDesk, desk_of
from mlops_assets.labels.schema import ANNOTATIONS, CLASS_DECISIONS, EQUIPMENT_CLASSES
from mlops_assets.labels.vocabulary import Vocabulary, equipment_classes, recorded_decisions
from mlops_assets.use_case import UseCase

MONDAY = dt.datetime(2026, 10, 5, 8, tzinfo=dt.UTC)
CASE = {
    "name": "case",
    "title": "Case",
    "start": "2026-10-01",
    "new_class": {"min_boxes": 3, "min_enclosures": 2},
}


class Store:
    """A store, its labels, and the two steps of the import."""

    def __init__(self, folder: Path, **case: object) -> None:
        self.desk: ClassDesk = desk_of(UseCase.model_validate({**CASE, **case}), str(folder))
        self.labels: list[tuple[str, str]] = []
        self.minutes = 0

    def label(self, **boxes: int) -> "Store":
        """So many boxes of each name, each in an enclosure of its own."""
        self.labels += [(f"{name}-{n}", name.replace("_", " ")) for name, count in boxes.items() for n in range(count)]
        return self

    def run_import(self) -> pl.DataFrame:
        known = self.desk.tables.read("equipment_classes", EQUIPMENT_CLASSES)
        before = self.desk.tables.read("annotations", ANNOTATIONS)
        written, declared = self.desk.decisions(), self.desk.use_case.classes
        vocabulary = Vocabulary.of(known, declared, before, written)
        rows = [
            {"photo_id": photo, "class_id": vocabulary.learn(name), "class_name": name, "annotated_at": MONDAY}
            for photo, name in self.labels
        ]
        labelled = pl.DataFrame(rows, schema=ANNOTATIONS)
        self.desk.tables.write("annotations", labelled, ANNOTATIONS)
        decisions = recorded_decisions(written, known, declared, labelled)
        for decision in filter(is_recorded, decisions):
            self.desk.records.add(decision.decision_id, as_record(decision))
        photos = labelled.select("photo_id", enclosure_id="photo_id")
        classes = equipment_classes(labelled, photos, known, declared, self.desk.use_case.new_class, decisions)
        self.desk.tables.write("equipment_classes", classes, EQUIPMENT_CLASSES)
        self.desk.tables.write("class_decisions", decisions_table(decisions), CLASS_DECISIONS)
        return classes

    def decide(self, verb: str, of: str, to: str | None = None) -> str:
        self.minutes += 1
        now = MONDAY + dt.timedelta(minutes=self.minutes)
        return self.desk.decide(verb, of, to, by="anna", why="two names", now=now).decision_id

    def rows(self, *columns: str) -> list[tuple]:
        return self.run_import().select("class_id", *columns).rows()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path).label(psu=4, fan=4, router=1)
    made.run_import()
    return made


def test_a_rename_keeps_id_boxes_and_the_old_name(store: Store) -> None:
    store.decide("rename", "psu", "Power supply")
    store.label(power_supply=2, psu=1)
    assert store.rows("class_name", "aliases", "status", "boxes", "first_name") == [
        (0, "Power supply", ["psu"], "active", 7, "psu"),
        (1, "fan", [], "active", 4, "fan"),
        (2, "router", [], "proposed", 1, "router"),
    ]


def test_an_alias_counts_from_the_first_label_and_gives_no_id(store: Store) -> None:
    store.decide("alias", "c0001", "ventilator")
    assert store.label(ventilator=2).rows("class_name", "aliases", "boxes")[1] == (1, "fan", ["ventilator"], 6)
    assert store.run_import().height == 3


def test_merged_labels_count_for_the_other_class_and_come_back_with_undo(store: Store) -> None:
    before = store.label(ventilator=2).run_import()
    decision = store.decide("merge", "ventilator", "fan")
    assert store.rows("status", "merged_into", "boxes", "known_since")[1::2] == [
        (1, "active", None, 6, 1),
        (3, "merged", 1, 0, 1),
    ]
    names = store.desk.tables.read("annotations", ANNOTATIONS).filter(class_id=1)["class_name"].unique()
    assert sorted(names) == ["fan", "ventilator"]  # as labelled
    store.decide("undo", decision)
    assert store.run_import().equals(before)


def test_a_class_merged_into_a_younger_one_was_looked_for_as_long(store: Store) -> None:
    store.label(power_supply=3).run_import()
    store.decide("merge", "psu", "power supply")
    assert store.rows("status", "boxes", "known_since")[3] == (3, "active", 7, 0)


def test_deprecated_classes_stay_so_and_are_active_again_when_it_is_undone(store: Store) -> None:
    decision = store.decide("deprecate", "fan")
    row = store.run_import().row(1, named=True)
    assert (row["status"], row["boxes"], row["reason"]) == ("deprecated", 4, "two names (anna, 2026-10-05)")
    store.labels = [label for label in store.labels if label[1] != "fan"]
    assert store.rows("status")[1] == (1, "deprecated")
    undo = store.decide("undo", decision)
    assert store.rows("status", "boxes")[1] == (1, "active", 0)  # it was active: it does not fall back
    store.decide("undo", undo[-6:])
    assert store.rows("status")[1] == (1, "deprecated")


def test_a_name_close_to_a_known_one_waits_however_many_boxes_it_has(store: Store) -> None:
    store.label(routers=9, rooter=9, router=2)
    rows = store.rows("class_name", "status", "close_to")
    assert rows[2:] == [(2, "router", "active", None), (3, "routers", "proposed", 2), (4, "rooter", "proposed", 2)]
    reason = store.run_import()["reason"][3]
    assert reason == "has 9 of 3 boxes, 9 of 2 enclosures; its name is close to router (c0002): accept or merge it"
    store.decide("accept", "rooter")
    store.decide("merge", "routers", "router")
    assert store.rows("status", "boxes")[2:] == [(2, "active", 12), (3, "merged", 0), (4, "active", 9)]


def test_of_two_new_names_the_more_frequent_is_the_known_one_and_what_waits_goes_on_waiting(tmp_path: Path) -> None:
    store = Store(tmp_path).label(rooter=1, router=2)
    assert store.rows("close_to") == [(0, 1), (1, None)]
    assert store.label(rooter=9).rows("status", "close_to") == [(0, "proposed", 1), (1, "proposed", None)]
    assert store.label(router=1).rows("status", "close_to") == [(0, "proposed", 1), (1, "active", None)]


def test_a_declared_class_does_not_wait(tmp_path: Path) -> None:
    store = Store(tmp_path, classes=[{"name": "rooter"}]).label(router=3, rooter=3)
    assert store.rows("class_name", "status") == [(0, "rooter", "active"), (1, "router", "proposed")]


def test_a_class_that_was_active_is_not_held_up_later(store: Store) -> None:
    store.label(uter=3).run_import()
    store.decide("rename", "router", "outer")
    assert store.rows("class_name", "status", "close_to")[3] == (3, "uter", "active", None)


@pytest.mark.parametrize(
    ("decision", "message"),
    [
        (("rename", "psu", "FAN"), r"gives the name 'FAN' to 'psu' \(c0000\), but it is the class c0001 of its own"),
        (("alias", "psu", "fan"), "merge c0001 into c0000"),
        (("merge", "psu", "psu"), "into itself"),
        (("merge", "psu", "nothing"), r"means a class that there is not; known are: psu \(c0000\), fan \(c0001\)"),
        (("deprecate", "c0099"), "means a class that there is not"),
        (("rename", "psu", "PSU"), None),
        (("rename", "psu", "psu"), "changes nothing"),
        (("alias", "psu", " - "), "gives no name"),
        (("undo", "20261005"), "0 decisions have an id with"),
    ],
)
def test_what_cannot_be_is_refused_and_not_written(
    store: Store, decision: tuple[str, ...], message: str | None
) -> None:
    if message is None:
        store.decide(*decision)
        return
    with pytest.raises(VocabularyError, match=message):
        store.decide(*decision)
    assert store.desk.records.ids() == []


def test_contradictions_name_both_places_and_the_remedy(store: Store) -> None:
    first = store.decide("merge", "psu", "fan")
    with pytest.raises(
        VocabularyError, match=rf"merge fan into psu .* into itself; merge psu into fan .*{first}.* undo"
    ):
        store.decide("merge", "fan", "psu")
    with pytest.raises(
        VocabularyError, match=rf"merge psu into router .* and merge psu into fan .*{first}\) merge 'psu'"
    ):
        store.decide("merge", "psu", "router")
    store.decide("alias", "router", "gateway")
    with pytest.raises(VocabularyError, match="give the name 'gateway' to different classes, 'router' and 'fan'"):
        store.decide("alias", "fan", "gateway")
    with pytest.raises(VocabularyError, match="with who decided it and why"):
        store.desk.decide("deprecate", "fan", by=" ", why="x", now=MONDAY)


def test_two_people_who_decide_at_the_same_moment_are_both_kept_and_told(store: Store) -> None:
    read = [store.desk.decisions()]  # before the other one was written
    store.decide("alias", "router", "gateway")

    class Late(ClassDesk):
        def decisions(self) -> list[ClassDecision]:
            return read.pop() if read else super().decisions()

    desk = Late(store.desk.use_case, store.desk.tables, store.desk.records)
    with pytest.raises(VocabularyError, match=r"give the name 'gateway' to different classes.*undo one of them"):
        desk.decide("alias", "fan", "gateway", by="bela", why="same", now=MONDAY)
    assert len(store.desk.records.ids()) == 2
    with pytest.raises(VocabularyError):
        store.run_import()
    store.decide("undo", next(i for i in store.desk.records.ids() if i.startswith("20261005T080000")))
    assert store.label(gateway=1).rows("boxes")[2] == (2, 2)


CASE_OF = UseCase.model_validate(CASE)


def test_labels_that_came_in_between_are_merged_rather_than_an_error(store: Store) -> None:
    store.label(ventilator=2)
    labelled = store.run_import()
    store.desk.tables.write("equipment_classes", labelled.head(3), EQUIPMENT_CLASSES)
    store.desk.tables.write("annotations", pl.DataFrame(schema=ANNOTATIONS), ANNOTATIONS)
    store.decide("alias", "fan", "ventilator")  # while the import is at work
    store.desk.tables.write("equipment_classes", labelled, EQUIPMENT_CLASSES)
    assert store.rows("status", "boxes")[1::2] == [(1, "active", 6), (3, "merged", 0)]


DECIDED = {"by": "anna", "at": "2026-10-06", "why": "one thing"}


def test_decisions_of_the_use_case_file_are_recorded_once_and_outlive_it(tmp_path: Path) -> None:
    entries = [
        {"decision": "rename", "of": "psu", "to": "power supply", **DECIDED},
        {"decision": "merge", "of": "ventilator", "to": "fan", **DECIDED},
    ]
    Store(tmp_path).label(psu=1, fan=1, ventilator=1).run_import()
    store = Store(tmp_path, class_decisions=entries).label(psu=1, fan=1, ventilator=1)
    assert store.rows("class_name", "boxes") == [(0, "power supply", 1), (1, "fan", 2), (2, "ventilator", 0)]
    kept = store.desk.tables.read("class_decisions", CLASS_DECISIONS)
    recorded = kept.select("decision", "class_id", "to_class_id", "by", "source", "in_force").sort("decision").rows()
    assert recorded == [("merge", 2, 1, "anna", "use case", True), ("rename", 0, None, "anna", "use case", True)]
    assert len(store.desk.records.ids()) == 2
    without = Store(tmp_path).label(psu=1, fan=1, ventilator=1)
    assert without.rows("class_name", "boxes") == store.rows("class_name", "boxes")
    without.decide("undo", kept.filter(decision="merge")["decision_id"][0])
    assert without.rows("boxes") == [(0, 1), (1, 1), (2, 1)]
    assert without.desk.pending() == []


def test_a_use_case_file_with_decisions_begins_a_new_store(tmp_path: Path) -> None:
    entries = [
        {"decision": "rename", "of": "psu", "to": "power supply", **DECIDED},
        {"decision": "alias", "of": "power supply", "to": "rectifier", **DECIDED},
        {"decision": "deprecate", "of": "modem", **DECIDED},
    ]
    store = Store(tmp_path, class_decisions=entries).label(psu=1, power_supply=1, rectifier=1)
    assert store.rows("class_name", "status", "boxes") == [
        (0, "power supply", "active", 3),
        (1, "power supply", "merged", 0),
        (2, "rectifier", "merged", 0),
    ]
    kept = store.desk.tables.read("class_decisions", CLASS_DECISIONS)
    assert dict(kept.select("of", "in_force").iter_rows()) == {"psu": True, "power supply": True, "modem": False}
    assert [decision.of for decision in store.desk.pending()] == []
    assert store.label(modem=1).rows("class_name", "status")[3] == (3, "modem", "deprecated")


def test_a_declared_alias_that_is_a_class_of_its_own_is_an_error(tmp_path: Path) -> None:
    Store(tmp_path).label(battery=1, accu=1).run_import()
    store = Store(tmp_path, classes=[{"name": "battery", "aliases": ["accu"]}]).label(battery=1, accu=1)
    with pytest.raises(
        VocabularyError, match=r"the use case's class 'battery' gives the name 'accu'.*merge c0001 into"
    ):
        store.run_import()
    Store(tmp_path).decide("merge", "accu", "battery")
    assert store.rows("boxes") == [(0, 2), (1, 0)]


def test_an_alias_declared_once_stays(tmp_path: Path) -> None:
    Store(tmp_path, classes=[{"name": "battery", "aliases": ["accu"]}]).label(battery=1).run_import()
    later = Store(tmp_path, classes=[{"name": "battery"}]).label(accu=2)
    assert later.rows("aliases", "boxes") == [(0, ["accu"], 2)]


def test_an_entry_says_what_it_needs() -> None:
    def case(**entry: str) -> UseCase:
        return UseCase.model_validate({**CASE, "class_decisions": [{**DECIDED, **entry}]})

    assert case(decision="deprecate", of="fan").class_decisions[0].to is None
    with pytest.raises(ValidationError, match="merge needs `to`"):
        case(decision="merge", of="fan")
    with pytest.raises(ValidationError, match="accept takes no `to`"):
        case(decision="accept", of="fan", to="psu")
    with pytest.raises(ValidationError, match="why"):
        UseCase.model_validate(
            {**CASE, "class_decisions": [{"decision": "accept", "of": "x", "by": "a", "at": MONDAY}]}
        )


def test_the_digest_changes_with_a_decision_and_not_by_recording_it(tmp_path: Path) -> None:
    entry = {"decision": "rename", "of": "psu", "to": "power supply", **DECIDED}
    plain, decided = CASE_OF, UseCase.model_validate({**CASE, "class_decisions": [entry]})
    assert labels_digest("drop", [], plain) == "drop"
    assert labels_digest("", ["a"], plain) == ""
    store = Store(tmp_path, class_decisions=[entry]).label(psu=1)
    before = decisions_digest(store.desk.records.ids(), decided)
    store.run_import()
    assert store.desk.records.ids()
    assert decisions_digest(store.desk.records.ids(), decided) == before != decisions_digest([], plain)
    assert len({labels_digest("drop", ids, plain) for ids in ([], ["a"], ["a", "b"])}) == 3


def test_a_record_that_cannot_be_read_names_its_file(store: Store) -> None:
    decision = store.decide("deprecate", "fan")
    path = Path(store.desk.tables.root) / "class_decisions" / f"{decision}.json"
    path.write_text('{"of": "fan"}')
    with pytest.raises(VocabularyError, match=rf"decision {decision} .* cannot be understood"):
        store.desk.decisions()
    path.write_text("{")
    with pytest.raises(ValueError, match=rf"{decision}.json is no JSON"):
        store.desk.decisions()
