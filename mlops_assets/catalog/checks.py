"""What detections and the catalogue must hold before people read them."""

import polars as pl

from mlops_assets.boxes import with_edges
from mlops_assets.expectations import between, boxes_inside, not_null, one_of, true, unique
from mlops_assets.table_checks import CheckInputs, TableCheck
from resources.expectations import Expectation, Suite


def _class_known(inputs: CheckInputs) -> pl.Expr:
    classes = inputs.other("equipment_classes")["class_id"]
    return pl.col("class_id").is_null() | pl.col("class_id").is_in(classes.implode())


def _detections(inputs: CheckInputs) -> pl.DataFrame:
    photos = inputs.other("clean_photos", same_day=True)["photo_id"]
    return with_edges(inputs.table).with_columns(
        known_class=_class_known(inputs), known_photo=pl.col("photo_id").is_in(photos.implode())
    )


def _catalog(inputs: CheckInputs) -> pl.DataFrame:
    return with_edges(inputs.table).with_columns(
        known_class=_class_known(inputs),
        quantity_fits=(pl.col("quantity") > 0) == (pl.col("status") != "removed"),
        order=pl.col("first_seen") <= pl.col("last_seen"),
    )


CHECKS = (
    TableCheck(
        "detections",
        Suite(
            "detections",
            (
                *not_null("photo_id", "model_version"),
                between("confidence", 0, 1, "confidence is a share"),
                *boxes_inside(),
                true("known_class", "every detection is of a known class"),
                true("known_photo", "every row is a cleaned photo of the day"),
            ),
            ("photo_id", "class_id"),
        ),
        "Boxes inside the day's photos, of known classes.",
        daily=True,
        frame=_detections,
    ),
    TableCheck(
        "equipment_catalog",
        Suite(
            "catalog",
            (
                unique("enclosure_id", "class_id"),
                *not_null("enclosure_id", "class_id", "class_name", "quantity", "status", "photo_id", "model_version"),
                one_of("status", ("confirmed", "unconfirmed", "removed")),
                *boxes_inside(),
                Expectation(
                    "expect_column_values_to_be_between",
                    {"column": "quantity", "min_value": 0},
                    "quantities are counts",
                ),
                true("known_class", "every row is of a known class"),
                true("quantity_fits", "what is there has a quantity, what was removed has none"),
                true("order", "first seen is not after last seen"),
            ),
            ("enclosure_id", "class_name"),
        ),
        "One row an enclosure and class, with its evidence.",
        frame=_catalog,
    ),
)
