"""Photos that were labelled before a class existed: they are not its negatives, and are worth another look."""

import polars as pl

from mlops_assets.labels.class_links import ClassLinks

PHOTOS_TO_RELABEL = pl.Schema(
    {
        "photo_id": pl.String(),
        "enclosure_id": pl.String(),
        "not_looked_for": pl.List(pl.Int32()),
        "shown_nearby": pl.List(pl.Int32()),
        "reason": pl.String(),
    }
)
"""One row a photo: active classes that were not looked for on it, and those of them that its enclosure shows."""


def not_looked_for(annotations: pl.DataFrame, classes: pl.DataFrame) -> pl.DataFrame:
    """Active classes that did not exist when a photo was labelled, and that it has no box of.

    Args:
        annotations: ANNOTATIONS.
        classes: EQUIPMENT_CLASSES.

    Returns:
        photo_id, class_id; a row each.
    """
    links = ClassLinks.of(classes)
    active = classes.filter(pl.col("status") == "active").select(
        "class_id", links.since(pl.col("class_id")).alias("since")
    )
    labelled = links.resolve(annotations).select("photo_id", "class_id").drop_nulls()
    versions = annotations.group_by("photo_id").agg(pl.col("class_map_version").max())
    return (
        versions.join_where(active, pl.col("class_map_version") <= pl.col("since"))
        .join(labelled, on=["photo_id", "class_id"], how="anti")
        .select("photo_id", "class_id")
        .sort("photo_id", "class_id")
    )


def photos_to_relabel(annotations: pl.DataFrame, photos: pl.DataFrame, classes: pl.DataFrame) -> pl.DataFrame:
    """Which labelled photos to offer to annotators again, those first whose enclosure shows what was not looked for.

    These are left out of training until somebody looks; on the others the class is taken as absent, and ignored in
    evaluation.

    Args:
        annotations: ANNOTATIONS.
        photos: photo_id, enclosure_id of the photos that can be offered.
        classes: EQUIPMENT_CLASSES.

    Returns:
        PHOTOS_TO_RELABEL: most classes that the enclosure shows first, then most classes, then by photo_id.
    """
    names = dict(classes.select("class_id", "class_name").iter_rows())
    homes = photos.select("photo_id", "enclosure_id").unique("photo_id", keep="first", maintain_order=True)
    missing = not_looked_for(annotations, classes).join(homes, on="photo_id")
    shown = ClassLinks.of(classes).resolve(annotations).join(homes, on="photo_id")
    nearby = missing.join(
        shown.select("enclosure_id", "class_id").unique(), on=["enclosure_id", "class_id"], how="semi"
    )
    key = ["photo_id", "enclosure_id"]
    ids = pl.col("class_id").sort()
    by_photo = (
        missing.group_by(key)
        .agg(ids.alias("not_looked_for"))
        .join(nearby.group_by(key).agg(ids.alias("shown_nearby")), on=key, how="left")
        .with_columns(pl.col("shown_nearby").fill_null([]))
        .sort(
            pl.col("shown_nearby").list.len(),
            pl.col("not_looked_for").list.len(),
            "photo_id",
            descending=[True, True, False],
        )
    )
    reasons = [
        _reason(enclosure_id, list(absent), list(shown_there), names)
        for enclosure_id, absent, shown_there in by_photo.select(
            "enclosure_id", "not_looked_for", "shown_nearby"
        ).iter_rows()
    ]
    return by_photo.with_columns(reason=pl.Series(reasons, dtype=pl.String)).match_to_schema(PHOTOS_TO_RELABEL)


def _reason(enclosure_id: str, absent: list[int], nearby: list[int], names: dict[int, str]) -> str:
    if nearby:
        return f"labelled before {_listed(nearby, names)} existed, which another photo of {enclosure_id} shows"
    return f"labelled before {_listed(absent, names)} existed"


def _listed(class_ids: list[int], names: dict[int, str]) -> str:
    listed = [names[class_id] for class_id in class_ids]
    return listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} and {listed[-1]}"
