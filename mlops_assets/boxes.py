"""The box that every table uses: centre and size relative to the upright photo, 0 to 1."""

import polars as pl

BOX_COLUMNS = ("box_x", "box_y", "box_w", "box_h")

BOX_SCHEMA = {column: pl.Float64() for column in BOX_COLUMNS}


def with_edges(frame: pl.DataFrame) -> pl.DataFrame:
    """Add left, top, right and bottom, relative to the upright photo; null where there is no box."""
    return frame.with_columns(
        left=pl.col("box_x") - pl.col("box_w") / 2,
        top=pl.col("box_y") - pl.col("box_h") / 2,
        right=pl.col("box_x") + pl.col("box_w") / 2,
        bottom=pl.col("box_y") + pl.col("box_h") / 2,
    )
