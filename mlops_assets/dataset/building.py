"""Which labelled photos and boxes make up the training dataset, and which are left out for what reason.

Nothing is read or written here; `export` writes the files that a trainer wants.
"""

import polars as pl

from mlops_assets.boxes import BOX_COLUMNS
from mlops_assets.dataset.background import surplus
from mlops_assets.dataset.schema import TRAINING_DATASET
from mlops_assets.dataset.shots import standing_twice
from mlops_assets.labels.class_links import ClassLinks
from mlops_assets.use_case import BACKGROUND_RULES, BackgroundRules

PROPOSED_CLASS = "shows a class that is not active yet"
CLASS_NOT_LOOKED_FOR = "labelled before a class existed that its enclosure shows"
BACKGROUND_SURPLUS = "more photos without equipment than training wants"
SAME_SHOT_AS = "the same shot stands in {}"

SELECTION = pl.Schema(
    {
        "photo_id": pl.String(),
        "enclosure_id": pl.String(),
        "split": pl.String(),
        "class_map_version": pl.Int32(),
        "left_out": pl.String(),
    }
)
"""One row a labelled usable photo; left_out null: in the dataset, else why not."""


class UntrainableDatasetError(ValueError):
    """The dataset lacks what training cannot do without; the message names it."""


class UnassignedEnclosureError(ValueError):
    """Labelled enclosures have no split; the message tells how many and what to do."""


def select_photos(
    annotations: pl.DataFrame,
    photos: pl.DataFrame,
    classes: pl.DataFrame,
    splits: pl.DataFrame,
    background: BackgroundRules = BACKGROUND_RULES,
) -> pl.DataFrame:
    """Say of each labelled usable photo whether it is in the dataset.

    Test photos always are; their class_map_version lets evaluation ignore what was not looked for. Of train and val
    are left out:

    - photos with a box of a proposed class: it may be an active class under another name, which training would teach
      as background. Boxes of deprecated classes are just dropped: nobody wants them found. Those of a merged class
      are boxes of the class that it counts for.
    - photos labelled before an active class existed, and those merged into it, if another photo of the enclosure
      shows that class: it may be here too, unlabelled. In other enclosures the class is taken as absent.
    - photos whose shot (near-duplicates) stands in test, or for train photos in val, as well: their enclosures were
      placed apart before the photos connected them, and stay where they are.
    - train photos without a box beyond the largest share of `background`; see `background.surplus`.

    Args:
        annotations: ANNOTATIONS.
        photos: photo_id, enclosure_id, shot (see `shots.with_shots`) of accepted, usable photos.
        classes: EQUIPMENT_CLASSES.
        splits: SPLIT_ASSIGNMENTS.
        background: Of the use case.

    Returns:
        SELECTION, sorted by photo_id.

    Raises:
        UnassignedEnclosureError: A labelled enclosure has no split.
    """
    links = ClassLinks.of(classes)
    boxes = _labelled(links.resolve(annotations), photos, splits)
    active = classes.filter(pl.col("status") == "active").select("class_id")
    hidden = classes.filter(pl.col("status") == "proposed").select("class_id")
    shown = boxes.join(active, on="class_id", how="semi")
    first_seen = shown.select("enclosure_id", "class_id").unique()
    labelled = boxes.select("photo_id", "enclosure_id", "split", "class_map_version").unique()
    unseen = labelled.join(first_seen, on="enclosure_id").filter(
        pl.col("class_map_version") <= links.since(pl.col("class_id"))
    )
    unseen = unseen.join(shown.select("photo_id", "class_id"), on=["photo_id", "class_id"], how="anti")
    is_test = pl.col("split") == "test"
    selected = labelled.with_columns(
        pl.when(is_test)
        .then(None)
        .when(_is_among(boxes.join(hidden, on="class_id", how="semi")))
        .then(pl.lit(PROPOSED_CLASS))
        .when(_is_among(unseen))
        .then(pl.lit(CLASS_NOT_LOOKED_FOR))
        .alias("left_out")
    ).sort("photo_id")
    selected = _each_shot_once(selected, photos)
    in_train = selected.filter(pl.col("split") == "train", pl.col("left_out").is_null())
    empty = in_train.join(shown, on="photo_id", how="anti")
    above = surplus(empty["photo_id"], in_train.height - empty.height, background)
    too_many = pl.when(pl.col("photo_id").is_in(above)).then(pl.lit(BACKGROUND_SURPLUS))
    return selected.with_columns(pl.coalesce("left_out", too_many).alias("left_out")).match_to_schema(SELECTION)


def build_dataset(
    annotations: pl.DataFrame,
    photos: pl.DataFrame,
    classes: pl.DataFrame,
    splits: pl.DataFrame,
    background: BackgroundRules = BACKGROUND_RULES,
) -> pl.DataFrame:
    """Boxes of active classes on the photos that `select_photos` takes; arguments and errors are the same.

    Returns:
        TRAINING_DATASET, sorted, photo_sha256 null (see `with_photo_hashes`); a photo without such a box has one row
        whose class and box are null.
    """
    return boxes_of(select_photos(annotations, photos, classes, splits, background), annotations, classes)


def boxes_of(selection: pl.DataFrame, annotations: pl.DataFrame, classes: pl.DataFrame) -> pl.DataFrame:
    """The second half of `build_dataset`, from what `select_photos` gave."""
    selected = selection.filter(pl.col("left_out").is_null())
    active = classes.filter(pl.col("status") == "active").select("class_id")
    shown = (
        ClassLinks.of(classes)
        .resolve(annotations)
        .join(active, on="class_id", how="semi")
        .select("photo_id", "class_id", *BOX_COLUMNS)
    )
    return (
        selected.join(shown, on="photo_id", how="left")
        .with_columns(photo_sha256=pl.lit(None, pl.String))
        .select(TRAINING_DATASET.names())
        .sort("split", "photo_id", "class_id", *BOX_COLUMNS)
        .match_to_schema(TRAINING_DATASET)
    )


def with_photo_hashes(dataset: pl.DataFrame, kept: pl.DataFrame) -> pl.DataFrame:
    """Fill photo_sha256 of TRAINING_DATASET from photo_id, photo_sha256; rows stay in their order."""
    hashes = kept.select("photo_id", "photo_sha256").unique("photo_id", keep="last")
    filled = dataset.drop("photo_sha256").join(hashes, on="photo_id", how="left", maintain_order="left")
    return filled.match_to_schema(TRAINING_DATASET)


def check_trainable(dataset: pl.DataFrame, classes: pl.DataFrame) -> None:
    """Make sure that each active class can be learned.

    Args:
        dataset: TRAINING_DATASET.
        classes: EQUIPMENT_CLASSES.

    Raises:
        UntrainableDatasetError: No active class, one without a train box, or no validation photo.
    """
    active = classes.filter(pl.col("status") == "active")
    if active.is_empty():
        raise UntrainableDatasetError("No class is active yet: label more boxes in more enclosures")
    train = dataset.filter(pl.col("split") == "train")
    missing = active.join(train, on="class_id", how="anti").sort("class_id")
    if missing.height:
        names = ", ".join(f"{name} ({class_id})" for class_id, name in missing.select("class_id", "class_name").rows())
        raise UntrainableDatasetError(
            f"No train box of {names}: label it in enclosures that have no split yet, or deprecate it"
        )
    if dataset.filter(pl.col("split") == "val").is_empty():
        raise UntrainableDatasetError("No validation photo: label photos of further enclosures")


def provisional_classes(dataset: pl.DataFrame, classes: pl.DataFrame) -> list[int]:
    """Ids of active classes without a test box, whose quality cannot be judged yet."""
    test = dataset.filter(pl.col("split") == "test")
    active = classes.filter(pl.col("status") == "active")
    return active.join(test, on="class_id", how="anti").sort("class_id")["class_id"].to_list()


def _labelled(annotations: pl.DataFrame, photos: pl.DataFrame, splits: pl.DataFrame) -> pl.DataFrame:
    boxes = annotations.join(_homes(photos, "enclosure_id"), on="photo_id").join(
        splits.select("enclosure_id", "split"), on="enclosure_id", how="left"
    )
    without = boxes.filter(pl.col("split").is_null())["enclosure_id"].unique().sort().to_list()
    if without:
        raise UnassignedEnclosureError(
            f"{len(without)} labelled enclosures have no split, {without[0]} first: materialise split_assignments"
        )
    return boxes


def _each_shot_once(selected: pl.DataFrame, photos: pl.DataFrame) -> pl.DataFrame:
    standing = selected.filter(pl.col("left_out").is_null()).join(_homes(photos, "shot"), on="photo_id")
    twice = standing_twice(standing).select("photo_id", again=pl.format(SAME_SHOT_AS, "stays_in"))
    return (
        selected.join(twice, on="photo_id", how="left", maintain_order="left")
        .with_columns(pl.coalesce("left_out", "again").alias("left_out"))
        .drop("again")
    )


def _homes(photos: pl.DataFrame, column: str) -> pl.DataFrame:
    return photos.select("photo_id", column).unique("photo_id", keep="first", maintain_order=True)


def _is_among(rows: pl.DataFrame) -> pl.Expr:
    return pl.col("photo_id").is_in(rows["photo_id"].unique().to_list())
