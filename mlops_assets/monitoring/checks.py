"""What the review queue must hold before people label by it."""

import polars as pl

from mlops_assets.expectations import between, not_null, one_of, true, unique
from mlops_assets.monitoring.schema import REVIEW_KINDS
from mlops_assets.table_checks import CheckInputs, TableCheck
from resources.expectations import Suite


def _queue(inputs: CheckInputs) -> pl.DataFrame:
    """Whether ranks count from 1, and whether every photo is one that was accepted and not erased."""
    boxes = pl.col("suggested_boxes")
    inside = boxes.list.eval(
        pl.element().struct.field("box_x").is_between(0, 1) & pl.element().struct.field("box_y").is_between(0, 1)
    ).list.all()
    erased = inputs.photo_store.tombstones().ids()
    return inputs.table.with_columns(
        in_order=pl.col("rank") == pl.int_range(1, pl.len() + 1),
        not_erased=~pl.col("photo_id").is_in(list(erased)),
        inside=boxes.list.len().eq(0) | inside,
    ).drop("suggested_boxes")


CHECKS = (
    TableCheck(
        "review_queue",
        Suite(
            "queue",
            (
                unique("photo_id"),
                *not_null("photo_id", "rank", "reason", "score", "kind", "enclosure_id", "queued_on"),
                one_of("kind", REVIEW_KINDS),
                between("score", 0, 1, "a score is a share"),
                true("in_order", "ranks count from 1"),
                true("not_erased", "no photo was erased"),
                true("inside", "suggested boxes lie inside their photos"),
            ),
            ("photo_id", "kind"),
        ),
        "Every photo once, with a reason.",
        frame=_queue,
    ),
)
