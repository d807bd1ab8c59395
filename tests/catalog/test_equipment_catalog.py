import datetime as dt
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.catalog.catalog import UnknownClassError, equipment_catalog, equipment_changes
from mlops_assets.catalog.schema import EQUIPMENT_CATALOG, EQUIPMENT_CHANGES, VISIT_INVENTORY

CLASSES = pl.DataFrame(
    {"class_id": [0, 1], "class_name": ["router", "fibre splitter"]}, schema_overrides={"class_id": pl.Int32}
)


def item(visit: int, class_id: int, quantity: int, status: str, photo_id: str = "p") -> dict[str, Any]:
    return {
        "enclosure_id": "E",
        "visit_id": f"v{visit}",
        "visited_on": dt.date(2026, 10, 5) + dt.timedelta(days=visit),
        "class_id": class_id,
        "quantity": quantity,
        "status": status,
        "confidence": 0.9,
        "photo_id": photo_id,
        **dict.fromkeys(("box_x", "box_y", "box_w", "box_h"), 0.5),
        "model_version": "3",
    }


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=VISIT_INVENTORY)


STORY = frame(
    item(0, 0, 2, "confirmed"),
    item(1, 0, 2, "unconfirmed"),
    item(1, 1, 1, "confirmed"),
    item(2, 0, 3, "confirmed", "q"),
    item(2, 1, 0, "removed"),
    item(4, 1, 1, "confirmed", "r"),
)


def test_the_catalogue_is_the_latest_state_with_first_and_last_sighting() -> None:
    catalog = equipment_catalog(STORY, CLASSES)
    assert catalog.schema == EQUIPMENT_CATALOG
    assert catalog.select("class_name", "quantity", "status", "photo_id").rows() == [
        ("router", 3, "confirmed", "q"),
        ("fibre splitter", 1, "confirmed", "r"),
    ]
    assert catalog["first_seen"].to_list() == [dt.date(2026, 10, 5), dt.date(2026, 10, 6)]
    assert catalog["last_seen"].to_list() == [dt.date(2026, 10, 7), dt.date(2026, 10, 9)]


def test_what_was_removed_stays_listed_with_its_last_sighting() -> None:
    row = equipment_catalog(STORY[:5], CLASSES).row(1, named=True)
    assert (row["status"], row["quantity"], row["last_seen"]) == ("removed", 0, dt.date(2026, 10, 6))


def test_a_class_without_a_name_is_an_error_that_names_it() -> None:
    with pytest.raises(UnknownClassError, match=r"class ids \[1\]"):
        equipment_catalog(STORY, CLASSES[:1])


def test_changes_are_told_against_the_last_settled_state() -> None:
    changes = equipment_changes(STORY)
    assert changes.schema == EQUIPMENT_CHANGES
    assert changes.select("visit_id", "class_id", "change", "from", "to").rows() == [
        ("v1", 1, "appeared", 0, 1),
        ("v2", 0, "quantity", 2, 3),
        ("v2", 1, "disappeared", 1, 0),
        ("v4", 1, "appeared", 0, 1),
    ]


def test_the_first_visit_is_the_baseline_and_unconfirmed_items_change_nothing() -> None:
    assert equipment_changes(STORY[:2]).is_empty()


def test_an_empty_inventory_gives_an_empty_catalogue() -> None:
    assert equipment_catalog(frame(), CLASSES).schema == EQUIPMENT_CATALOG
    assert equipment_changes(frame()).schema == EQUIPMENT_CHANGES


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 3)), max_size=12))
def test_the_changes_of_an_item_add_up_to_its_latest_quantity(steps: list[tuple[int, int]]) -> None:
    rows = [item(n, c, q, "confirmed" if q else "removed") for n, (c, q) in enumerate(steps, start=1)]
    inventory = frame(item(0, 0, 1, "confirmed"), item(0, 1, 1, "confirmed"), *rows)
    changes = equipment_changes(inventory)
    for class_id, quantity in equipment_catalog(inventory, CLASSES).select("class_id", "quantity").iter_rows():
        own = changes.filter(pl.col("class_id") == class_id)
        assert 1 + (own["to"] - own["from"]).sum() == quantity
        assert (own["from"] != own["to"]).all()
