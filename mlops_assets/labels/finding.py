"""Which photo each labelled picture is, and its boxes on the upright photo: labels that are parsed become labellings.

How a name finds its photo is in `matching`, how boxes on stored pixels are turned in `orientation`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from mlops_assets.boxes import BOX_COLUMNS, with_edges
from mlops_assets.labels.drop import DropFile
from mlops_assets.labels.items import OUTSIDE_TOLERANCE
from mlops_assets.labels.matching import match_photos
from mlops_assets.labels.orientation import is_sideways, turned_upright
from mlops_assets.labels.parsed import Parsed
from mlops_assets.labels.schema import LABEL_QUARANTINE
from mlops_assets.labels.shapes import outside_reason

Orientations = Callable[[Collection[str]], Mapping[str, int]]
"""Gives the EXIF orientation of photos by photo_id; those that cannot be looked up are not in it."""

LABELLINGS = pl.Schema(
    {
        "photo": pl.UInt32(),
        "photo_id": pl.String(),
        "source": pl.String(),
        "annotator": pl.String(),
        "annotated_at": pl.Datetime("us", "UTC"),
        "entry": pl.String(),
        "position": pl.UInt32(),
        "names_key": pl.String(),
    }
)
"""One row a labelled photo that was found, in the order in which they count: by file of the drop, then in the file.

annotated_at is the file's modification time where the file says nothing; position that of the file in the drop.
"""


@dataclass(frozen=True)
class Found:
    """Labellings, and what could not become one.

    Attributes:
        labellings: LABELLINGS.
        boxes: photo, class_name, box, drawn_as; on the upright photo, in the order of the files.
        problems: LABEL_QUARANTINE.
        of_erased: Labellings of erased photos, which are not among the others.
        erased_files: Sources of the label files that name an erased photo.
        turned: Labellings whose boxes were turned from stored to upright pixels.
    """

    labellings: pl.DataFrame
    boxes: pl.DataFrame
    problems: pl.DataFrame
    of_erased: int
    erased_files: pl.Series
    turned: int


def find_photos(
    files: Sequence[DropFile],
    parsed: Parsed,
    photos: pl.DataFrame,
    erased_names: Mapping[str, str],
    orientations: Orientations | None = None,
    tolerance: float = OUTSIDE_TOLERANCE,
) -> Found:
    """Find the photo of each labelled picture.

    Args:
        files: All files of the drop, in its order.
        parsed: What the label files hold.
        photos: photo_id, landing_uri, width, height (upright pixels) of accepted photos and duplicates.
        erased_names: photo_id of erased photos by `matching.hashed_names`.
        orientations: Looks up how photos are stored that were labelled sideways; None: nobody can.
        tolerance: Share of the photo by which a box that comes in pixels may reach outside.
    """
    references = pl.concat([parsed.photos["reference"], parsed.problems["reference"]]).drop_nulls().unique()
    matched = match_photos(references, photos, erased_names)
    erased = pl.DataFrame({"photo_id": sorted(set(erased_names.values()))}, schema={"photo_id": pl.String()})
    entries = _entries(files, parsed)
    pictures = (
        parsed.photos.rename({"source": "label_source"})
        .join(entries, on="file_id")
        .join(matched, on="reference", how="left")
        .sort("position", "photo")
    )
    problems = parsed.problems.join(matched.select("reference", "photo_id"), on="reference", how="left")
    of_erased = pictures.join(erased, on="photo_id", how="semi")
    problems_of_erased = pl.concat(
        [problems.join(erased, on="photo_id", how="semi"), problems.filter(_names_one(erased["photo_id"]))]
    )
    erased_ids = pl.concat([of_erased["file_id"], problems_of_erased["file_id"]]).unique()
    found = pictures.join(erased, on="photo_id", how="anti")
    found, turns = _with_turns(found, photos, orientations)
    sized, problems_of_pixels, found = _relative(parsed.boxes, found, photos, tolerance)
    quarantined = found.filter(pl.col("reason").is_not_null()).rename({"label_source": "source"}, strict=False)
    found = found.filter(pl.col("reason").is_null())
    kept = problems.join(erased, on="photo_id", how="anti").filter(~_names_one(erased["photo_id"]))
    return Found(
        found.with_columns(
            pl.col("label_source").alias("source"), pl.coalesce("annotated_at", "modified_at").alias("annotated_at")
        ).select(LABELLINGS.names()),
        _upright(sized, turns).select("photo", "class_name", *BOX_COLUMNS, "drawn_as"),
        pl.concat(frame.select(LABEL_QUARANTINE.names()) for frame in (kept, quarantined, problems_of_pixels)),
        of_erased.height,
        entries.join(pl.DataFrame({"file_id": erased_ids}), on="file_id", how="semi")["file_source"],
        turns.height,
    )


def _entries(files: Sequence[DropFile], parsed: Parsed) -> pl.DataFrame:
    """file_id, file_source, entry, position, modified_at, names_key of the files that were parsed."""
    positions = pl.DataFrame(
        {"source": [file.source for file in files], "position": range(len(files))},
        schema={"source": pl.String(), "position": pl.UInt32()},
    )
    return parsed.files.join(positions, on="source").select(
        "file_id",
        pl.col("source").alias("file_source"),
        pl.col("source").str.split_exact("/", 1).struct.field("field_0").alias("entry"),
        "position",
        "modified_at",
        "names_key",
    )


def _names_one(photo_ids: pl.Series) -> pl.Expr:
    if photo_ids.is_empty():
        return pl.lit(False)
    text = pl.concat_str("source", "item", "reason", separator=" ", ignore_nulls=True)
    return text.str.contains_any(photo_ids.to_list())


def _with_turns(
    found: pl.DataFrame, photos: pl.DataFrame, orientations: Orientations | None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Pictures that were labelled sideways with a reason where their photo's orientation does not explain it.

    Returns:
        The pictures, and (photo, orientation) of those whose boxes are to be turned.
    """
    sideways = (
        found.filter(pl.col("reason").is_null(), pl.col("width").is_not_null())
        .join(_sizes(photos), on="photo_id")
        .filter(is_sideways(("width", "height"), ("across", "down")))
        .select("photo", "photo_id")
    )
    wanted = sideways["photo_id"].unique().to_list()
    stored = orientations(wanted) if orientations is not None and wanted else {}
    known = pl.DataFrame(
        {"photo_id": list(stored), "orientation": list(stored.values())},
        schema={"photo_id": pl.String(), "orientation": pl.UInt8()},
    )
    turns = sideways.join(known.filter(pl.col("orientation").is_between(5, 8)), on="photo_id")
    unexplained = sideways.join(turns, on="photo", how="anti").select("photo", sideways=pl.lit(True))
    reason = pl.format("{} was labelled sideways: the upright photo has width and height swapped", "reference")
    is_unexplained = pl.col("sideways").fill_null(False)
    found = found.join(unexplained, on="photo", how="left", maintain_order="left").with_columns(
        reason=pl.when(is_unexplained).then(reason).otherwise("reason"),
        remedy=pl.when(is_unexplained)
        .then(pl.lit("label the upright photo, with its EXIF orientation applied"))
        .otherwise("remedy"),
    )
    return found, turns.select("photo", "orientation")


def _sizes(photos: pl.DataFrame) -> pl.DataFrame:
    """photo_id, across, down: pixels of the upright photo, as far as they are known."""
    sizes = photos.select("photo_id", pl.col("width").alias("across"), pl.col("height").alias("down"))
    return sizes.drop_nulls().unique("photo_id", keep="first", maintain_order=True)


def _relative(
    boxes: pl.DataFrame, found: pl.DataFrame, photos: pl.DataFrame, tolerance: float
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Boxes that came in pixels become relative to the photo that they turned out to be of.

    Returns:
        All boxes but the bad ones, a problem for each picture with bad ones, and the pictures that have boxes left.
    """
    pictures = found.filter(pl.col("in_pixels") & pl.col("reason").is_null())
    if pictures.is_empty():
        return boxes, LABEL_QUARANTINE.to_frame(), found
    sized = pictures.join(_sizes(photos), on="photo_id", how="left", maintain_order="left")
    sized = sized.select("photo", "label_source", "item", "across", "down")
    drawn = with_edges(
        boxes.join(sized, on="photo", maintain_order="left").with_columns(
            box_x=pl.col("box_x") / pl.col("across"),
            box_w=pl.col("box_w") / pl.col("across"),
            box_y=pl.col("box_y") / pl.col("down"),
            box_h=pl.col("box_h") / pl.col("down"),
        )
    )
    edges = pl.min_horizontal("left", "top") >= -tolerance, pl.max_horizontal("right", "bottom") <= 1 + tolerance
    clipped = (
        drawn.filter(*edges)
        .with_columns(pl.col("left", "top", "right", "bottom").clip(0, 1))
        .filter(pl.col("left") < pl.col("right"), pl.col("top") < pl.col("bottom"))
        .with_columns(
            box_x=(pl.col("left") + pl.col("right")) / 2,
            box_w=pl.col("right") - pl.col("left"),
            box_y=(pl.col("top") + pl.col("bottom")) / 2,
            box_h=pl.col("bottom") - pl.col("top"),
        )
    )
    kept = pl.concat([boxes.join(sized, on="photo", how="anti", maintain_order="left"), clipped.select(boxes.columns)])
    counted = (
        drawn.group_by("photo", "label_source", "item", "across")
        .len("drawn")
        .join(clipped.group_by("photo").len("good"), on="photo", how="left")
        .with_columns(pl.col("good").fill_null(0))
    )
    bad = counted.filter(pl.col("good") < pl.col("drawn"))
    outside, remedy = outside_reason(tolerance)
    problems = bad.select(
        pl.col("label_source").alias("source"),
        "item",
        pl.when(pl.col("across").is_null())
        .then(pl.lit("boxes in pixels of a photo whose size is not known"))
        .otherwise(
            pl.format("of {} boxes {} cannot be used: {}", "drawn", pl.col("drawn") - pl.col("good"), pl.lit(outside))
        )
        .alias("reason"),
        remedy=pl.lit(remedy),
    )
    left = found.join(bad.filter(pl.col("good") == 0), on="photo", how="anti", maintain_order="left")
    return kept, problems, left


def _upright(boxes: pl.DataFrame, turns: pl.DataFrame) -> pl.DataFrame:
    if turns.is_empty():
        return boxes
    return turned_upright(boxes.join(turns, on="photo", how="left", maintain_order="left"))
