"""What a training dataset must hold before hours are spent on it."""

import polars as pl

from mlops_assets.boxes import with_edges
from mlops_assets.dataset.background import background_of
from mlops_assets.dataset.schema import SPLITS
from mlops_assets.dataset.shots import splits_by_shot
from mlops_assets.expectations import between, boxes_inside, not_null, one_of, true
from mlops_assets.photos.schema import CLEAN_PHOTOS
from mlops_assets.table_checks import CheckInputs, TableCheck
from resources.expectations import Expectation, Suite


def _enclosures(inputs: CheckInputs) -> pl.DataFrame:
    """One row an enclosure with the number of splits that it stands in, and whether it stands where it was put."""
    assigned = inputs.other("split_assignments").select("enclosure_id", pl.col("split").alias("assigned"))
    return (
        inputs.table.join(assigned, on="enclosure_id", how="left")
        .group_by("enclosure_id")
        .agg(
            pl.n_unique("split").alias("splits"),
            (pl.col("split") == pl.col("assigned")).fill_null(False).all().alias("as_assigned"),
        )
    )


def _known_classes(inputs: CheckInputs) -> pl.DataFrame:
    active = inputs.other("equipment_classes").filter(pl.col("status") == "active")["class_id"]
    return with_edges(inputs.table).with_columns(
        known=(pl.col("class_id").is_null() | pl.col("class_id").is_in(active.implode()))
    )


def _shots(inputs: CheckInputs) -> pl.DataFrame:
    cleaned = inputs.tables.read_days("clean_photos", CLEAN_PHOTOS, columns=["photo_id", "near_duplicate_of"])
    return splits_by_shot(inputs.table, cleaned)


def _background(inputs: CheckInputs) -> pl.DataFrame:
    """One row: what is known of the train photos without equipment, in words, and photos lacking."""
    rules, found = inputs.use_case.background, background_of(inputs.table)
    return pl.DataFrame({"background": [found.sentence(rules)], "photos_lacking": [found.missing(rules)]})


CHECKS = (
    TableCheck(
        "training_dataset",
        Suite(
            "no_leakage",
            (
                between("splits", 1, 1, "an enclosure stands in one split only"),
                true("as_assigned", "an enclosure stands in the split that it was assigned to for good"),
            ),
            ("enclosure_id",),
        ),
        "No enclosure on both sides of a split.",
        frame=_enclosures,
    ),
    TableCheck(
        "training_dataset",
        Suite(
            "no_near_duplicate_leakage",
            (between("splits", 1, 1, "a shot, with all its near-duplicates, stands in one split only"),),
            ("shot", "photos"),
        ),
        "No photo, copied, cropped or uploaded for another enclosure, on both sides of a split.",
        frame=_shots,
    ),
    TableCheck(
        "training_dataset",
        Suite(
            "dataset",
            (
                *not_null("photo_id", "enclosure_id", "split", "photo_sha256"),
                one_of("split", SPLITS),
                *boxes_inside(),
                true("known", "every box is of an active class"),
            ),
            ("photo_id", "class_id"),
        ),
        "Boxes of active classes, inside their photos.",
        frame=_known_classes,
    ),
    TableCheck(
        "training_dataset",
        Suite(
            "background",
            (
                Expectation(
                    "expect_column_values_to_be_between",
                    {"column": "photos_lacking", "min_value": 0, "max_value": 0},
                    "enough train photos show no equipment, so that the detector learns what is none; "
                    "label photos of cabinets without any as showing nothing",
                    severity="warn",
                ),
            ),
            ("background",),
        ),
        "Photos without equipment among the train photos, as many as the use case asks for; it only warns.",
        blocking=False,
        frame=_background,
    ),
)
