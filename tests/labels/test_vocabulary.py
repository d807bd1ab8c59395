import datetime as dt

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.labels.class_decisions import VocabularyError
from mlops_assets.labels.class_names import fold_name
from mlops_assets.labels.schema import ANNOTATIONS, EQUIPMENT_CLASSES
from mlops_assets.labels.vocabulary import KNOWN_CLASSES, assign_ids, equipment_classes
from mlops_assets.use_case import KnownClass, NewClassRules

NONE_KNOWN = pl.DataFrame(schema=KNOWN_CLASSES)
NO_CLASSES = pl.DataFrame(schema=EQUIPMENT_CLASSES)
MONDAY = dt.datetime(2026, 10, 5, 8, tzinfo=dt.UTC)

names = st.lists(st.text("abAB _-éE\u0301ß", min_size=1, max_size=6).filter(fold_name), max_size=12)


@settings(deadline=None)
@given(names, names, names)
def test_ids_are_append_only_and_unique_by_folded_name(first, second, declared):
    entries = tuple(KnownClass(name=name) for name in {fold_name(n): n for n in declared}.values())
    before = assign_ids(first, NONE_KNOWN, entries)
    after = assign_ids(second, before, entries)
    assert after[: before.height].equals(before)
    assert after["class_id"].to_list() == list(range(after.height))
    assert len({fold_name(name) for name in after["class_name"]}) == after.height
    assert {fold_name(n) for n in [*first, *second, *declared]} == {fold_name(n) for n in after["class_name"]}


def test_declared_classes_come_first_and_aliases_resolve():
    declared = (KnownClass(name="battery", aliases=("accu",)), KnownClass(name="fan_unit"))
    table = assign_ids(["Fan Unit", "ACCU", "router"], NONE_KNOWN, declared)
    assert table["class_name"].to_list() == ["battery", "fan_unit", "router"]


def test_a_declared_rename_keeps_the_id():
    known = assign_ids(["psu", "fan"], NONE_KNOWN, ())
    table = assign_ids(["power supply"], known, (KnownClass(name="power supply", aliases=("psu",)),))
    assert table["class_name"].to_list() == ["psu", "fan"]
    assert table["aliases"].to_list() == [["power supply"], []]


def test_declared_classes_that_share_a_name_are_an_error():
    with pytest.raises(VocabularyError, match="share the name 'accu'"):
        assign_ids([], NONE_KNOWN, (KnownClass(name="battery", aliases=("accu",)), KnownClass(name="Accu")))


def annotations(rows):
    return pl.DataFrame(
        [(photo, class_id, name, 0.5, 0.5, 0.1, 0.1, None, "s", MONDAY, 2, "box") for photo, class_id, name in rows],
        schema=ANNOTATIONS,
        orient="row",
    )


PHOTOS = pl.DataFrame({"photo_id": ["p0", "p1", "p2"], "enclosure_id": ["E0", "E1", "E2"]})
RULES = NewClassRules(min_boxes=3, min_enclosures=2)


def test_a_class_becomes_active_with_enough_boxes_in_enough_enclosures():
    rows = [("p0", 0, "a"), ("p0", 0, "a"), ("p1", 0, "a"), ("p0", 1, "b"), ("p0", 1, "b"), ("p0", 1, "b")]
    classes = equipment_classes(annotations(rows), PHOTOS, NO_CLASSES, (), RULES)
    assert classes.schema == EQUIPMENT_CLASSES
    assert classes.select("class_id", "status", "boxes", "enclosures").rows() == [
        (0, "active", 3, 2),
        (1, "proposed", 3, 1),
    ]
    assert classes["first_labelled"].to_list() == [MONDAY, MONDAY]


def test_an_active_class_never_falls_back_and_no_row_is_lost():
    rows = [("p0", 0, "a"), ("p1", 0, "a"), ("p2", 0, "a")]
    before = equipment_classes(annotations(rows), PHOTOS, NO_CLASSES, (KnownClass(name="z"),), RULES)
    after = equipment_classes(annotations([("p0", 2, "b")]), PHOTOS, before, (KnownClass(name="z"),), RULES)
    assert after.select("class_id", "class_name", "status", "boxes").rows() == [
        (0, "a", "active", 0),
        (1, "z", "proposed", 0),
        (2, "b", "proposed", 1),
    ]
    assert after["first_labelled"].to_list() == [MONDAY, None, MONDAY]


def test_annotations_ahead_of_the_class_table_agree_with_classes_declared_meanwhile():
    declared = (KnownClass(name="fan"), KnownClass(name="meter"))
    labelled = annotations([("p0", 2, "battery")])  # as imported with `declared`
    classes = equipment_classes(labelled, PHOTOS, NO_CLASSES, (*declared, KnownClass(name="fuse")), RULES)
    assert classes.select("class_id", "class_name").rows() == [(0, "fan"), (1, "meter"), (2, "battery"), (3, "fuse")]
