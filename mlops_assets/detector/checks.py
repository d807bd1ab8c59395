"""What a person should look at before a candidate serves; none of it decides."""

import polars as pl

from mlops_assets.detector.old_classes import old_class_change
from mlops_assets.table_checks import CheckInputs, TableCheck
from resources.expectations import Expectation, Suite


def _old_classes(inputs: CheckInputs) -> pl.DataFrame:
    """One row: what happened to the old classes, and whether that is let pass; none where there is nothing to tell."""
    candidate = inputs.other("detector_weights").item(0, "model_version")
    change = old_class_change(inputs.table, candidate)
    names = dict(inputs.other("equipment_classes").select("class_id", "class_name").iter_rows())
    if change.macro is None:
        return pl.DataFrame(schema={"old_classes": pl.String(), "macro_change": pl.Float64(), "held": pl.Boolean()})
    held = change.macro >= -inputs.use_case.promotion.old_class_fall
    row = {"old_classes": change.sentence(names), "macro_change": change.macro, "held": held}
    return pl.DataFrame([row])


CHECKS = (
    TableCheck(
        "detector_evaluation",
        Suite(
            "old_classes",
            (
                Expectation(
                    "expect_column_values_to_be_in_set",
                    {"column": "held", "value_set": [True]},
                    "the classes that the champion knows are found about as well as before; see what changed in the "
                    "asset's metadata, and label more of the ones that fell",
                    severity="warn",
                ),
            ),
            ("old_classes", "macro_change"),
        ),
        "Macro AP50 of the classes that the champion knows, on the same test photos; it only warns.",
        blocking=False,
        frame=_old_classes,
    ),
)
