"""The blocking checks of the training dataset tell leakage by enclosure and by near-duplicate."""

import datetime as dt

import polars as pl
import pytest
from small_dataset import photo_id, rows_of

from mlops_assets.dataset.checks import CHECKS
from mlops_assets.dataset.schema import SPLIT_ASSIGNMENTS
from mlops_assets.labels.schema import EQUIPMENT_CLASSES
from mlops_assets.photos.schema import CLEAN_PHOTOS
from mlops_assets.table_checks import CheckInputs
from mlops_assets.tables import SCHEMAS
from mlops_assets.use_case import UseCase
from resources.expectations import to_check_result, validate
from resources.photo_store import PhotoStore
from resources.tables import Tables

GOOD = rows_of(range(9), photo_sha256="a" * 64)
CASE = UseCase(name="cabinets", title="Cabinets", start=dt.date(2026, 10, 1))


@pytest.fixture
def judge(tmp_path):
    """Names of the blocking checks that fail on a dataset, near-duplicates given as {photo: earlier photo}."""
    tables = Tables(root=str(tmp_path))
    classes = [{"class_id": class_id, "class_name": "x", "status": "active"} for class_id in (2, 7)]
    tables.write("equipment_classes", pl.DataFrame(classes, schema=EQUIPMENT_CLASSES), EQUIPMENT_CLASSES)
    homes = GOOD.select("enclosure_id", "split", group="enclosure_id").unique().select(SPLIT_ASSIGNMENTS.names())
    tables.write("split_assignments", homes, SPLIT_ASSIGNMENTS)
    store = PhotoStore(landing=str(tmp_path), root=str(tmp_path))

    def failing(dataset, near=None):
        for day, numbers in (("2026-10-01", range(5)), ("2026-10-02", range(5, 10))):
            cleaned = [
                {
                    "photo_id": photo_id(number),
                    "near_duplicate_of": photo_id((near or {})[number]) if number in (near or {}) else None,
                }
                for number in numbers
            ]
            tables.write("clean_photos", pl.DataFrame(cleaned, schema=CLEAN_PHOTOS), CLEAN_PHOTOS, day)
        inputs = CheckInputs(dataset, tables, store, "", SCHEMAS, CASE)
        blocking = [check for check in CHECKS if check.blocking]
        return {check.suite.name for check in blocking if validate(check.frame(inputs), check.suite).failures}

    return failing


def test_every_check_of_the_dataset_blocks_but_that_of_the_background():
    assert {check.suite.name: check.blocking for check in CHECKS} == {
        "no_leakage": True,
        "no_near_duplicate_leakage": True,
        "dataset": True,
        "background": False,
    }


def test_a_dataset_without_leakage_passes(judge):
    assert judge(GOOD) == set()
    assert judge(GOOD, near={3: 0, 6: 3}) == set()  # all of train
    assert judge(GOOD, near={9: 0}) == set()  # not in the dataset


def test_near_duplicates_in_two_splits_are_told_whatever_connects_them(judge):
    assert judge(GOOD, near={7: 0}) == {"no_near_duplicate_leakage"}
    assert judge(GOOD, near={9: 0, 8: 9}) == {"no_near_duplicate_leakage"}


def test_an_enclosure_in_two_splits_and_a_photo_whose_bytes_are_not_kept_are_told(judge):
    moved = GOOD.with_columns(
        split=pl.when(pl.col("photo_id") == photo_id(0)).then(pl.lit("val")).otherwise(pl.col("split"))
    )
    assert judge(moved) == {"no_leakage"}
    assert judge(GOOD.with_columns(photo_sha256=pl.lit(None, pl.String))) == {"dataset"}


def test_too_few_photos_without_equipment_are_told_with_what_to_do_and_stop_nothing(tmp_path):
    tables, store = Tables(root=str(tmp_path)), PhotoStore(landing=str(tmp_path), root=str(tmp_path))
    (check,) = [check for check in CHECKS if check.suite.name == "background"]
    for numbers, passes in ((range(9), False), (range(30), True)):
        inputs = CheckInputs(rows_of(numbers), tables, store, "", SCHEMAS, CASE)
        result = to_check_result(validate(check.frame(inputs), check.suite))
        assert result.passed is passes
        if not passes:
            assert result.severity.name == "WARN"
            assert "0 of 3 train photos (0.0%) show no equipment, fewer than 5%: label 1 more photos" in str(
                result.metadata["expectations"].value
            )
