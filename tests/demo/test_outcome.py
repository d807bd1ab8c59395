"""What the chapters say came out, from tables as the assets write them."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from demo.outcome import catalogue_written, labels_learnt
from demo.state import State
from mlops_assets.tables import SCHEMAS
from mlops_assets.use_case import UseCase
from resources.settings import Settings

CASE = UseCase.model_validate({"name": "case", "title": "Case", "start": "2026-10-01"})


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with dg.instance_for_test() as instance:
        yield State(instance, Settings(home=tmp_path), CASE)


def write(state: State, name: str, *rows: dict[str, Any]) -> None:
    schema = SCHEMAS[name]
    full = [dict.fromkeys(schema) | row for row in rows]
    state.tables.write(name, pl.DataFrame(full, schema=schema), schema)


def item(enclosure: str, quantity: int, status: str) -> dict[str, Any]:
    return {"enclosure_id": enclosure, "quantity": quantity, "status": status, "last_seen": dt.date(2026, 10, 5)}


def test_the_catalogue_counts_what_is_there_and_not_what_was_removed(state: State) -> None:
    write(
        state,
        "equipment_catalog",
        item("A", 3, "confirmed"),
        item("A", 1, "unconfirmed"),
        item("B", 2, "confirmed"),
        item("C", 0, "removed"),
    )
    assert catalogue_written(state) == "The catalogue lists 6 devices in 2 enclosures"


def test_labels_boxes_classes_and_the_decision_are_told(state: State) -> None:
    write(
        state,
        "annotations",
        {"photo_id": "p", "class_id": 0},
        {"photo_id": "p", "class_id": 1},
        {"photo_id": "empty"},
    )
    write(state, "equipment_classes", {"class_id": 0, "status": "active"}, {"class_id": 1, "status": "proposed"})
    assert labels_learnt(state) == "2 boxes on 2 photos, 1 active classes. No detector was trained yet."
    write(state, "champion_detector", {"model_version": "1", "promoted": True, "reasons": [], "champion_version": "1"})
    write(
        state,
        "detector_evaluation",
        {"model_version": "1", "split": "test", "ap50": 0.951},
        {"model_version": "1", "split": "val", "ap50": 0.5},
        {"model_version": "1", "split": "test", "class_id": 0, "ap50": 0.4},
    )
    assert labels_learnt(state).endswith("Version 1 is the champion. Its mAP50 on enclosures that it never saw: 0.951")


def test_a_refusal_is_told_with_its_reason(state: State) -> None:
    failed = "(d) failed: AP50 of new classes: fan 0.20 (floor 0.50)"
    write(
        state,
        "champion_detector",
        {"model_version": "2", "promoted": False, "reasons": ["(e) passed", failed], "champion_version": "1"},
    )
    assert state.last_decision() == f"Version 2 was refused ({failed}); champion: 1"
