"""Reasons to look at a labelled photo again: classes that came later, annotators who differ, likely mistakes."""

import polars as pl

from mlops_assets.boxes import BOX_COLUMNS
from mlops_assets.labels.relabelling import photos_to_relabel
from mlops_assets.monitoring.schema import REVIEW_HISTORY
from mlops_assets.monitoring.signals import SIGNALS, as_signals

IN_ENCLOSURE, ELSEWHERE = 1.0, 0.5
"""How pressing it is to label a photo again for a class that came later: the photo is left out of training where its
enclosure is known to show the class, and counts as one without it elsewhere (`dataset.building.select_photos`)."""


def relabel(annotations: pl.DataFrame, classes: pl.DataFrame, homes: pl.DataFrame) -> pl.DataFrame:
    """Photos that were labelled before an active class existed, which they do not show as labelled.

    Args:
        annotations: ANNOTATIONS.
        classes: EQUIPMENT_CLASSES.
        homes: photo_id, enclosure_id of the labelled photos.
    """
    is_nearby = pl.col("shown_nearby").list.len() > 0
    return (
        photos_to_relabel(annotations, homes, classes)
        .select(
            "photo_id",
            pl.when(is_nearby).then(IN_ENCLOSURE).otherwise(ELSEWHERE).alias("score"),
            pl.col("reason").alias("words"),
        )
        .pipe(as_signals, "relabel")
    )


def label_conflict(conflicts: pl.DataFrame) -> pl.DataFrame:
    """Photos on which annotators differ.

    Args:
        conflicts: photo_id, agreement (0 to 1) and conflict in words, null where they agree.
    """
    return (
        conflicts.drop_nulls("conflict")
        .with_columns(score=1 - pl.col("agreement").fill_null(0).clip(0, 1), words="conflict")
        .sort("photo_id", "score", "words", descending=[False, True, False])
        .unique("photo_id", keep="first", maintain_order=True)
        .pipe(as_signals, "label_conflict")
    )


def label_error(errors: pl.DataFrame, min_suspicion: float) -> pl.DataFrame:
    """Photos with a likely mistake in their labels, the likeliest in words.

    Args:
        errors: LABEL_ERRORS.
        min_suspicion: 1 - quality from which a mistake is worth a look.
    """
    row = {
        "overlooked": pl.format(
            "nothing is labelled where a {} is found ({})", "predicted_class_name", pl.col("confidence").round(2)
        ),
        "swapped": pl.format(
            "labelled {}, but looks like {} ({})", "class_name", "predicted_class_name", pl.col("confidence").round(2)
        ),
        "badly_located": pl.format(
            "the box of a {} sits badly: it overlaps {} with what is found ({})",
            "class_name",
            pl.col("iou").round(2),
            pl.col("confidence").round(2),
        ),
    }
    words = pl.coalesce(pl.when(pl.col("kind") == kind).then(text) for kind, text in row.items())
    likely = errors.with_columns(score=1 - pl.col("quality"), words=words).filter(pl.col("score") >= min_suspicion)
    return (
        likely.sort("photo_id", "quality", "kind", *BOX_COLUMNS)
        .group_by("photo_id", maintain_order=True)
        .agg(pl.first("score"), pl.col("words").unique(maintain_order=True).head(3).str.join("; "))
        .pipe(as_signals, "label_error")
    )


DOUBTED = ("label_error", "label_conflict")
"""Kinds that end when a person has labelled the photo again, whatever came of it."""


def not_reviewed_since(signals: pl.DataFrame, history: pl.DataFrame, annotated: pl.DataFrame) -> pl.DataFrame:
    """Without photos that were offered as doubtful before and have been labelled again since: a person has looked.

    Args:
        signals: SIGNALS.
        history: REVIEW_HISTORY.
        annotated: photo_id, annotated_at of the labellings that there are.
    """
    seen = history.join(annotated, on="photo_id", suffix="_now").filter(
        pl.col("annotated_at_now") > pl.col("annotated_at")
    )
    return signals.join(seen.select("photo_id", "kind"), on=["photo_id", "kind"], how="anti").select(SIGNALS.names())


def with_offered(history: pl.DataFrame, queue: pl.DataFrame, annotated: pl.DataFrame) -> pl.DataFrame:
    """The history with what a queue offers as doubtful; the first time that a labelling was offered stays.

    Args:
        history: REVIEW_HISTORY.
        queue: photo_id, kind.
        annotated: photo_id, annotated_at of the labellings that there are.
    """
    offered = queue.filter(pl.col("kind").is_in(DOUBTED)).join(annotated, on="photo_id").select(REVIEW_HISTORY.names())
    return (
        pl.concat([history, offered])
        .unique(["photo_id", "kind"], keep="first", maintain_order=True)
        .sort("photo_id", "kind")
    )
