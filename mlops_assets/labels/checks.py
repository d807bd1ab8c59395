"""What annotations must hold before a dataset is made of them."""

import polars as pl

from mlops_assets.boxes import with_edges
from mlops_assets.expectations import boxes_inside, not_null, true
from mlops_assets.table_checks import CheckInputs, TableCheck
from resources.expectations import Expectation, Suite


def _boxes(inputs: CheckInputs) -> pl.DataFrame:
    """Edges, and whether id, name and box of a class come together."""
    no_class = pl.col("class_id").is_null()
    return with_edges(inputs.table).with_columns(
        complete=(no_class == pl.col("box_x").is_null()) & (no_class == pl.col("class_name").is_null())
    )


CHECKS = (
    TableCheck(
        "annotations",
        Suite(
            "annotations",
            (
                *not_null("photo_id", "source", "annotated_at", "class_map_version"),
                *boxes_inside(),
                true("complete", "a box has a class with its name, and a class a box"),
                Expectation(
                    "expect_column_values_to_be_between",
                    {"column": "class_id", "min_value": 0},
                    "class ids count from 0",
                ),
            ),
            ("photo_id", "class_name"),
        ),
        "Boxes lie inside their photos and belong to a class.",
        frame=_boxes,
    ),
)
