"""The box that every table uses: centre and size relative to the upright photo, 0 to 1."""

import polars as pl

BOX_COLUMNS = ("box_x", "box_y", "box_w", "box_h")

BOX_SCHEMA = {column: pl.Float64() for column in BOX_COLUMNS}
