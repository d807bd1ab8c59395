"""Labels on stored pixels: told by width and height in the export, and turned as EXIF turns the photo.

Only orientations 5 to 8 swap width and height. Where sizes cannot tell (no size in the export, square photos,
orientations 2 to 4) labels are taken as drawn on the upright photo, which is what browsers and labelling tools show.
"""

from collections.abc import Callable, Collection, Mapping

import polars as pl

_ALMOST = 0.01
"""Share by which the ratio of sides may differ: scaled copies are rounded to whole pixels."""


def is_sideways(label_size: tuple[str, str], photo_size: tuple[str, str]) -> pl.Expr:
    """Whether labels were drawn on stored pixels while the upright photo lies the other way.

    True if the label's aspect ratio is the inverse of the photo's (within 1 %) and not the photo's own, or, of photos
    that are nearly square, if its width is the photo's height and the other way round, to the pixel. Unknown sizes and
    square photos say nothing.

    Args:
        label_size: Columns of the width and height that the labels were drawn on.
        photo_size: Columns of the photo's, upright.
    """
    label_width, label_height = map(pl.col, label_size)
    width, height = map(pl.col, photo_size)
    ratio = (label_width / label_height) * (height / width)
    turned = (label_width / label_height) * (width / height)
    by_ratio = ((turned - 1).abs() < _ALMOST) & ((ratio - 1).abs() >= _ALMOST)
    to_the_pixel = (label_width == height) & (label_height == width) & (width != height)
    return (by_ratio | to_the_pixel).fill_null(False)


def turned_upright(boxes: pl.DataFrame) -> pl.DataFrame:
    """Boxes on stored pixels become boxes on the upright photo (Exif 2.32, tag Orientation).

    Args:
        boxes: Columns of a box and `orientation`, 1 to 8; null: they are upright already.
    """
    x, y, width, height = (pl.col(column) for column in ("box_x", "box_y", "box_w", "box_h"))
    orientation = pl.col("orientation").fill_null(1)

    def by_orientation(straight: pl.Expr, values: Mapping[int, pl.Expr]) -> pl.Expr:
        chosen = straight
        for number, value in values.items():
            chosen = pl.when(orientation == number).then(value).otherwise(chosen)
        return chosen

    return boxes.with_columns(
        box_x=by_orientation(x, {2: 1 - x, 3: 1 - x, 5: y, 6: 1 - y, 7: 1 - y, 8: y}),
        box_y=by_orientation(y, {3: 1 - y, 4: 1 - y, 5: x, 6: x, 7: 1 - x, 8: 1 - x}),
        box_w=pl.when(orientation >= 5).then(height).otherwise(width),
        box_h=pl.when(orientation >= 5).then(width).otherwise(height),
    )


def stored_orientations(
    photos: pl.DataFrame, read_original: Callable[[str, str], bytes]
) -> Callable[[Collection[str]], dict[str, int]]:
    """Looks orientations up in the originals, of which few are ever asked for.

    Args:
        photos: photo_id, format as in the ledger.
        read_original: Gives the bytes by photo_id and extension, or raises FileNotFoundError.
    """
    from mlops_assets.photos.pictures import EXTENSIONS, orientation_of
    from mlops_assets.photos.quarantine import QuarantineError

    def look_up(photo_ids: Collection[str]) -> dict[str, int]:
        wanted = photos.filter(pl.col("photo_id").is_in(list(photo_ids))).unique("photo_id", maintain_order=True)
        found: dict[str, int] = {}
        for photo_id, kind in wanted.select("photo_id", "format").drop_nulls().iter_rows():
            try:
                found[photo_id] = orientation_of(read_original(photo_id, EXTENSIONS[kind]))
            except (FileNotFoundError, QuarantineError):
                continue  # erased meanwhile, or not what it was: its labels are quarantined with the reason
        return found

    return look_up
