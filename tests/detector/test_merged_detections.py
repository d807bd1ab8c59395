"""A model that knows two classes which people have merged since: counted, drawn and measured as one."""

import datetime as dt

import polars as pl
import pytest

from mlops_assets.catalog.catalog import equipment_catalog
from mlops_assets.catalog.inventory import visit_inventory
from mlops_assets.catalog.schema import DETECTIONS
from mlops_assets.dataset.schema import TRAINING_DATASET
from mlops_assets.detector.evaluation import evaluate
from mlops_assets.detector.merged_classes import resolve_classes, resolve_detections, resolve_thresholds
from mlops_assets.labels.class_links import NO_LINKS, ClassLinks
from mlops_assets.labels.schema import EQUIPMENT_CLASSES
from mlops_assets.use_case import InventoryRules

LINKS = ClassLinks({0: 2}, {2: 0})


def found(*rows: tuple[str, int | None, float, float]) -> pl.DataFrame:
    """photo_id, class, confidence, box_x of boxes 0.1 wide."""
    return pl.DataFrame(
        [
            {
                "photo_id": photo,
                "class_id": class_id,
                "confidence": confidence,
                "model_version": "7",
                **({} if class_id is None else {"box_x": x, "box_y": 0.5, "box_w": 0.1, "box_h": 0.1}),
            }
            for photo, class_id, confidence, x in rows
        ],
        schema=DETECTIONS,
    )


def test_one_device_found_as_both_counts_once_by_the_stronger_box() -> None:
    seen = found(
        ("p", 0, 0.6, 0.20),
        ("p", 2, 0.9, 0.21),  # the same device
        ("p", 0, 0.7, 0.80),
        ("p", 0, 0.5, 0.82),  # found as one class: suppression let it pass
        ("p", 1, 0.9, 0.20),
        ("q", 0, 0.4, 0.20),
        ("r", None, 0.0, 0.0),
    )
    resolved = resolve_detections(seen, LINKS)
    assert resolved.schema == DETECTIONS
    assert resolved.select("photo_id", "class_id", "confidence").rows() == [
        ("p", 2, 0.9),
        ("p", 2, 0.7),
        ("p", 2, 0.5),
        ("p", 1, 0.9),
        ("q", 2, 0.4),
        ("r", None, 0.0),
    ]
    assert resolve_detections(seen, NO_LINKS).equals(seen)


def test_the_catalogue_counts_and_names_a_merged_class_as_the_one_that_it_counts_for() -> None:
    photos = pl.DataFrame(
        {
            "photo_id": ["p"],
            "enclosure_id": ["E"],
            "visit_id": ["V"],
            "visited_on": [dt.date(2026, 10, 5)],
            "captured_at": [None],
            "usable": [True],
        },
        schema_overrides={"captured_at": pl.Datetime("us")},
    )
    seen = found(("p", 0, 0.6, 0.2), ("p", 0, 0.3, 0.6), ("p", 2, 0.9, 0.8), ("p", 2, 0.3, 0.4))
    inventory = visit_inventory(seen, photos, {0: 0.5, 2: 0.2}, InventoryRules(), LINKS)
    assert inventory.select("class_id", "quantity", "status").rows() == [(2, 3, "confirmed")]
    known = [
        {"class_id": 0, "class_name": "psu", "status": "merged", "merged_into": 2},
        {"class_id": 2, "class_name": "power supply", "status": "active"},
    ]
    catalog = equipment_catalog(inventory, pl.DataFrame(known, schema=EQUIPMENT_CLASSES))
    assert catalog.select("class_name", "quantity").rows() == [("power supply", 3)]


def test_a_model_of_both_is_measured_as_one_and_where_the_merged_was_looked_for() -> None:
    box = {"box_x": 0.5, "box_y": 0.5, "box_w": 0.1, "box_h": 0.1}
    rows = [
        {"photo_id": "shows", "enclosure_id": "E", "split": "test", "class_id": 2, "class_map_version": 3, **box},
        {"photo_id": "old", "enclosure_id": "E", "split": "test", "class_map_version": 2},
    ]
    truth = pl.DataFrame(rows, schema=TRAINING_DATASET)
    seen = found(("shows", 0, 0.9, 0.5), ("old", 0, 0.95, 0.5))
    scored = {"model_version": "7", "split": "test", "class_ids": [2], "thresholds": {2: 0.5}}
    apart = evaluate(truth, seen, **scored).row(0, named=True)
    assert (apart["ap50"], apart["recall"]) == (0.0, 0.0)
    merged = evaluate(truth, resolve_detections(seen, LINKS), **scored, links=LINKS).row(0, named=True)
    # psu was looked for on `old`, and there is none: what is found there is false.
    assert (merged["ap50"], merged["precision"], merged["recall"]) == (pytest.approx(0.5), 0.5, 1.0)
    unaware = evaluate(truth, resolve_detections(seen, LINKS), **scored).row(0, named=True)
    assert unaware["precision"] == 1.0


def test_classes_and_thresholds_of_a_model_that_knows_one_or_both() -> None:
    assert resolve_classes([0, 1, 2], LINKS) == [1, 2]
    assert resolve_classes([0, 1], LINKS) == [1, 2]
    assert resolve_thresholds({0: 0.3, 1: 0.4, 2: 0.5}, LINKS) == {1: 0.4, 2: 0.5}
    assert resolve_thresholds({0: 0.3, 1: 0.4}, LINKS) == {1: 0.4, 2: 0.3}
