"""Reasons to label a photo that nobody labelled yet, each with a score and in words.

Every function gives SIGNALS of the photos of one day; which of them are offered is for `selection`. Reasons to look
at labelled photos again stand in `second_look`.
"""

from collections.abc import Mapping

import polars as pl

from mlops_assets.boxes import BOX_COLUMNS
from mlops_assets.use_case import ReviewRules

SIGNALS = pl.Schema({"photo_id": pl.String(), "kind": pl.String(), "score": pl.Float64(), "words": pl.String()})
"""One row a photo and kind (of `schema.REVIEW_KINDS`); score from 0 to 1."""

MEASURES = ("sharpness", "brightness", "contrast", "dark_share", "bright_share")
"""Of CLEAN_PHOTOS, by which a photo can be unlike those that were trained on."""

AROUND = 0.5
"""A detection is uncertain where the odds of its confidence and of the threshold differ by less than a factor of 2."""

_FEWEST_TRAINING_PHOTOS = 20
_CLASSES_IN_WORDS = 3


def certainty_ratio(confidence: pl.Expr, threshold: pl.Expr) -> pl.Expr:
    """How near a confidence is to a threshold, 0 to 1: the smaller of the two odds over the larger."""
    odds, limit = (value.clip(1e-6, 1 - 1e-6) / (1 - value.clip(1e-6, 1 - 1e-6)) for value in (confidence, threshold))
    return pl.min_horizontal(odds, limit) / pl.max_horizontal(odds, limit)


def uncertain(found: pl.DataFrame) -> pl.DataFrame:
    """Photos with detections around their class's own threshold (uncertainty sampling: Lewis and Gale, SIGIR 1994).

    A detection counts half of its nearness to the threshold, several as in a noisy or.

    Args:
        found: photo_id, class_name, confidence, threshold.
    """
    near = found.with_columns(near=certainty_ratio(pl.col("confidence"), pl.col("threshold"))).filter(
        pl.col("near") >= AROUND
    )
    by_class = (
        near.sort("photo_id", "class_name", "confidence")
        .group_by("photo_id", "class_name", maintain_order=True)
        .agg(
            (1 - pl.col("near") / 2).product().alias("miss"),
            pl.format(
                "{} at {}, around the threshold {}",
                _times(pl.len(), pl.col("class_name").first()),
                _figures(pl.col("confidence").head(4)),
                _figure(pl.col("threshold").first()),
            ).alias("words"),
        )
    )
    return (
        by_class.sort("photo_id", "miss", "class_name")
        .group_by("photo_id", maintain_order=True)
        .agg(
            (1 - pl.col("miss").product()).alias("score"),
            pl.col("words").head(_CLASSES_IN_WORDS).str.join(", and "),
        )
        .pipe(as_signals, "uncertain")
    )


def rare_class(found: pl.DataFrame, classes: pl.DataFrame, shown: pl.DataFrame, rules: ReviewRules) -> pl.DataFrame:
    """Photos that may show a class of few labels, in an enclosure where nobody labelled it yet.

    The score is the class's rarity times the share of its threshold that the best detection reaches.

    Args:
        found: photo_id, enclosure_id, class_id, class_name, confidence, threshold.
        classes: EQUIPMENT_CLASSES.
        shown: enclosure_id, class_id of what is labelled.
        rules: How many boxes and enclosures are enough.
    """
    lacking = classes.filter(pl.col("status") == "active").with_columns(
        rarity=1
        - pl.min_horizontal(
            pl.col("boxes") / rules.enough_boxes, pl.col("enclosures") / rules.enough_enclosures, pl.lit(1.0)
        )
    )
    rare = lacking.filter(pl.col("rarity") > 0).select("class_id", "boxes", "enclosures", "rarity")
    new = found.join(rare, on="class_id").join(shown, on=["enclosure_id", "class_id"], how="anti")
    return _best_class(
        new.with_columns(
            score=pl.col("rarity") * _reached(),
            words=pl.format(
                "may show {} ({}), of which only {} boxes in {} enclosures are labelled",
                "class_name",
                _figure(pl.col("confidence")),
                "boxes",
                "enclosures",
            ),
        ),
        "rare_class",
    )


def first_test_boxes(found: pl.DataFrame, untested: set[int], splits: pl.DataFrame) -> pl.DataFrame:
    """Photos that may show a class without a test box, in an enclosure that is for testing or has no split yet.

    Args:
        found: photo_id, enclosure_id, class_id, class_name, confidence, threshold.
        untested: Classes that no test photo shows, so that their quality cannot be judged.
        splits: SPLIT_ASSIGNMENTS.
    """
    taken = splits.filter(pl.col("split") != "test").select("enclosure_id")
    usable = found.filter(pl.col("class_id").is_in(sorted(untested))).join(taken, on="enclosure_id", how="anti")
    return _best_class(
        usable.with_columns(
            score=_reached(),
            words=pl.format(
                "may show {} ({}), which no test enclosure shows yet, so that nobody can say how well it is found",
                "class_name",
                _figure(pl.col("confidence")),
            ),
        ),
        "test_enclosure",
    )


def unknown_equipment(objects: pl.DataFrame, min_score: float) -> pl.DataFrame:
    """Photos with something that looks like equipment and is of no known class.

    Args:
        objects: UNKNOWN_EQUIPMENT: photo_id, box and score from 0 without an upper end, null where there is none; 1 is
            as strange as few of the known objects are.
        min_score: From which a photo is worth a look.
    """
    likely = objects.filter(pl.col("score") >= min_score).drop_nulls("box_x")
    best = likely.sort("photo_id", "score", *BOX_COLUMNS, descending=[False, True, *[False] * 4]).unique(
        "photo_id", keep="first", maintain_order=True
    )
    return best.with_columns(
        score=pl.col("score") / (1 + pl.col("score")),
        words=pl.format("something {} looks like equipment of no known class ({})", _place(), _figure(pl.col("score"))),
    ).pipe(as_signals, "unknown_equipment")


def unlabelled_enclosure(photos: pl.DataFrame, labelled_enclosures: pl.DataFrame) -> pl.DataFrame:
    """Photos of enclosures of which no photo is labelled: a reason of its own while there is no detector.

    Args:
        photos: photo_id, enclosure_id.
        labelled_enclosures: enclosure_id.
    """
    return (
        photos.join(labelled_enclosures, on="enclosure_id", how="anti")
        .with_columns(score=pl.lit(0.5), words=pl.lit("no photo of this enclosure is labelled yet"))
        .pipe(as_signals, "unlabelled_enclosure")
    )


def usual_measures(training_photos: pl.DataFrame) -> dict[str, tuple[float, float]]:
    """The range that 98 % of the training photos lie in, by measure; empty where they are too few to tell.

    Args:
        training_photos: The columns of MEASURES.
    """
    if training_photos.height < _FEWEST_TRAINING_PHOTOS:
        return {}
    ranges = {}
    for measure in MEASURES:
        values = training_photos[measure].drop_nulls()
        low, high = values.quantile(0.01, "linear"), values.quantile(0.99, "linear")
        if low is not None and high is not None and high > low:
            ranges[measure] = (low, high)
    return ranges


def drift(photos: pl.DataFrame, usual: Mapping[str, tuple[float, float]]) -> pl.DataFrame:
    """Photos outside the usual range of a measure; the score is d / (1 + d), d the distance in widths of the range.

    Args:
        photos: photo_id and the columns of MEASURES.
        usual: See `usual_measures`.
    """
    frames = [pl.DataFrame(schema=SIGNALS)]
    for measure, (low, high) in usual.items():
        value = pl.col(measure)
        outside = pl.max_horizontal(low - value, value - high).clip(0, None) / (high - low)
        frames.append(
            photos.with_columns(
                score=outside / (1 + outside),
                words=pl.format(
                    f"unlike the photos trained on: {measure.replace('_', ' ')} {{}}, there {low:.2f} to {high:.2f}",
                    _figure(value),
                ),
            )
            .filter(pl.col("score") > 0)
            .pipe(as_signals, "drift")
        )
    return (
        pl.concat(frames)
        .sort("photo_id", "score", "words", descending=[False, True, False])
        .unique("photo_id", keep="first", maintain_order=True)
    )


def as_signals(frame: pl.DataFrame, kind: str) -> pl.DataFrame:
    """SIGNALS of one kind from photo_id, score and words."""
    return frame.select("photo_id", pl.lit(kind).alias("kind"), pl.col("score").cast(pl.Float64), "words")


def _best_class(scored: pl.DataFrame, kind: str) -> pl.DataFrame:
    """One row a photo: its best detection, those of less than half of their threshold left out."""
    return (
        scored.filter(pl.col("confidence") >= pl.col("threshold") / 2)
        .sort("photo_id", "score", "words", descending=[False, True, False])
        .unique("photo_id", keep="first", maintain_order=True)
        .pipe(as_signals, kind)
    )


def _reached() -> pl.Expr:
    return (pl.col("confidence") / pl.col("threshold")).clip(0, 1)


def _times(count: pl.Expr, name: pl.Expr) -> pl.Expr:
    return pl.when(count > 1).then(pl.format("{} x {}", count, name)).otherwise(name)


def _figure(value: pl.Expr) -> pl.Expr:
    return value.round(2).cast(pl.String)


def _figures(values: pl.Expr) -> pl.Expr:
    return _figure(values).str.join(", ")


def _place() -> pl.Expr:
    x, y = pl.col("box_x"), pl.col("box_y")
    row = pl.when(y < 1 / 3).then(pl.lit("at the top")).when(y > 2 / 3).then(pl.lit("at the bottom"))
    column = pl.when(x < 1 / 3).then(pl.lit(" left")).when(x > 2 / 3).then(pl.lit(" right")).otherwise(pl.lit(""))
    return pl.concat_str(row.otherwise(pl.lit("in the middle")), column)
