"""What a person sees of a table or a picture on an asset's page in the Dagster UI."""

import base64
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl

if TYPE_CHECKING:
    from mlops_assets.photos.pixels import Image

PREVIEW_ROWS = 10


def preview(frame: pl.DataFrame, rows: int = PREVIEW_ROWS) -> dg.MetadataValue:
    """The first rows as a Markdown table."""
    with pl.Config(
        tbl_formatting="MARKDOWN",
        tbl_hide_column_data_types=True,
        tbl_hide_dataframe_shape=True,
        tbl_rows=rows,
        tbl_cols=-1,
        tbl_width_chars=4000,
        fmt_str_lengths=60,
        float_precision=3,
    ):
        return dg.MetadataValue.md(str(frame.head(rows)))


def counts(frame: pl.DataFrame, column: str) -> dg.MetadataValue:
    """How often each value of a column occurs, most often first, as a Markdown table."""
    return preview(frame[column].value_counts(sort=True, name="rows"), rows=50)


def picture(content: bytes, title: str, mime: str = "image/png") -> dg.MetadataValue:
    """A picture in the page, without a file that someone must serve."""
    return dg.MetadataValue.md(f"![{title}](data:{mime};base64,{base64.b64encode(content).decode()})")


def photo(image: "Image", title: str, long_side: int = 640) -> dg.MetadataValue:
    """A photo, scaled down so that the event log stays small."""
    import cv2

    from mlops_assets.photos.pixels import fit_long_side

    _, content = cv2.imencode(".jpg", fit_long_side(image, long_side), [cv2.IMWRITE_JPEG_QUALITY, 80])
    return picture(content.tobytes(), title, "image/jpeg")
