"""How good a model is on parts of the test photos: in the dark, blurred, from afar, by camera and by month.

Dark, blurred and distant are relative to the snapshot: its lowest quarter. A photo that is too dark or blurred to be
used is never tested on, and how dark a usable one may be differs from camera to camera, so no fixed number stands for
"dark"; a quarter is always large enough to be measured, and the definition says where it ended.
"""

from collections.abc import Mapping, Sequence
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from mlops_assets.detector.evaluation import counts_at
from mlops_assets.detector.intervals import ap50_interval
from mlops_assets.detector.matching import ClassMatches, Matches, class_average_precision
from mlops_assets.detector.schema import DETECTOR_SLICES
from mlops_assets.photos.lookup import TableDays
from mlops_assets.photos.schema import CLEAN_PHOTOS, RAW_PHOTOS

UNKNOWN = "unknown"
ALL = "all"
"""Kind of the one slice that holds all photos, to compare the others with."""

MIN_PHOTOS = 10
"""Photos below which a slice is shown as not judgeable, beside the enclosures that promotion asks of a class."""

SAMPLES = 300
"""Bootstrap samples of a slice's interval at most: each kind goes through all photos again, and no rule reads them."""

_QUARTER = 0.25
_RELATIVE = (
    ("light", "brightness", "dark", "lit"),
    ("focus", "sharpness", "blurred", "sharp"),
    ("distance", "box_area", "distant", "near"),
)
"""Kind, measure, name of the lowest quarter and of the rest."""

MEMBERSHIP = pl.Schema({"photo_id": pl.String(), "kind": pl.String(), "slice": pl.String(), "definition": pl.String()})
"""One row a photo and kind."""


def photo_facts(tables: TableDays, truth: pl.DataFrame) -> pl.DataFrame:
    """What slices are made of, one row a photo of the snapshot; null is what is not known.

    Args:
        tables: Of days, of which one at a time is read.
        truth: Rows of TRAINING_DATASET of one split.

    Returns:
        photo_id, brightness, sharpness (see `photos.quality.Measures`), camera, captured_at, and box_area: the median
        area of its labelled boxes, as a share of the photo.
    """
    area = (pl.col("box_w") * pl.col("box_h")).median().alias("box_area")
    photos = truth.group_by("photo_id").agg(area)
    some = pl.col("photo_id").is_in(photos["photo_id"].implode())
    measured = tables.read_days(
        "clean_photos", CLEAN_PHOTOS, columns=["photo_id", "brightness", "sharpness"], where=some
    )
    landed = tables.read_days(
        "raw_photos",
        RAW_PHOTOS,
        columns=["photo_id", "camera", "captured_at"],
        where=some & (pl.col("status") == "accepted"),
    )
    for facts in (measured, landed):
        photos = photos.join(facts.drop("day").unique("photo_id", keep="first"), on="photo_id", how="left")
    return photos.sort("photo_id")


def slices_of(facts: pl.DataFrame, zone: ZoneInfo) -> pl.DataFrame:
    """Put every photo into one slice of each kind, the first of which has one slice only.

    Args:
        facts: Of `photo_facts`.
        zone: In which a month begins.

    Returns:
        Rows of MEMBERSHIP; what is not known is the slice `unknown`.
    """
    everything = facts.select("photo_id", kind=pl.lit(ALL), slice=pl.lit("test"), definition=pl.lit("all test photos"))
    frames = [everything, *(_relative(facts, *each) for each in _RELATIVE)]
    month = facts["captured_at"].dt.convert_time_zone(str(zone)).dt.strftime("%Y-%m")
    for kind, values in (("camera", facts["camera"]), ("month", month)):
        named = facts.select("photo_id", kind=pl.lit(kind), slice=values.fill_null(UNKNOWN))
        frames.append(named.with_columns(definition=pl.format("{} {}", pl.lit(kind), "slice")))
    return pl.concat([frame.select(MEMBERSHIP.names()) for frame in frames])


def _relative(facts: pl.DataFrame, kind: str, measure: str, low: str, high: str) -> pl.DataFrame:
    bound = facts[measure].quantile(_QUARTER, "linear")
    words = measure.replace("_", " ")
    said = "" if bound is None else f"{bound:.3g}, the lowest quarter"
    value = pl.col(measure)
    name = (
        pl.when(value.is_null())
        .then(pl.lit(UNKNOWN))
        .when(value < pl.lit(bound, pl.Float64))
        .then(pl.lit(low))
        .otherwise(pl.lit(high))
    )
    definitions = {
        low: f"{words} below {said}",
        high: f"{words} from {said.partition(',')[0]}",
        UNKNOWN: f"{words} not known",
    }
    named = facts.select("photo_id", kind=pl.lit(kind), slice=name)
    return named.with_columns(definition=pl.col("slice").replace_strict(definitions, return_dtype=pl.String))


def slice_results(
    matches: Matches,
    membership: pl.DataFrame,
    thresholds: Mapping[int, float],
    *,
    model_version: str,
    class_ids: Sequence[int],
    min_enclosures: int,
    samples: int,
) -> pl.DataFrame:
    """Measure a model on every slice.

    Args:
        matches: Of the model on the whole snapshot.
        membership: MEMBERSHIP of the snapshot's photos.
        thresholds: Confidence from which each class counts.
        model_version: Written to every row.
        class_ids: Classes that are measured, the same for every model that is compared.
        min_enclosures: Fewer make a slice not judgeable, as fewer than MIN_PHOTOS photos do.
        samples: Bootstrap samples of the intervals.

    Returns:
        Rows of DETECTOR_SLICES, by kind in the order of `slices_of`.
    """
    some = Matches(matches.photos, matches.enclosures, {c: m for c, m in matches.classes.items() if c in class_ids})
    number = {photo: i for i, photo in enumerate(matches.photos)}
    rows: list[dict[str, object]] = []
    groups = membership.group_by("kind", "slice", "definition", maintain_order=True).agg("photo_id")
    for kind, name, definition, photo_ids in groups.iter_rows():
        chosen = np.zeros(len(matches.photos), bool)
        chosen[[number[photo_id] for photo_id in photo_ids]] = True
        part = select_photos(some, chosen)
        counts = counts_at(part, thresholds)
        enclosures = len(set(part.enclosures))
        low, high = ap50_interval(part, samples=min(samples, SAMPLES)) or (None, None)
        rows.append(
            {
                "model_version": model_version,
                "kind": kind,
                "slice": name,
                "definition": definition,
                "photos": len(part.photos),
                "enclosures": enclosures,
                "n": sum(int(each.labels.sum()) for each in part.classes.values()),
                "ap50": macro_ap50(part),
                "ap50_low": low,
                "ap50_high": high,
                "precision": counts.precision,
                "recall": counts.recall,
                "judgeable": len(part.photos) >= MIN_PHOTOS and enclosures >= min_enclosures,
            }
        )
    order = {kind: i for i, kind in enumerate(membership["kind"].unique(maintain_order=True))}
    return pl.DataFrame(sorted(rows, key=lambda row: (order[str(row["kind"])], str(row["slice"]))), DETECTOR_SLICES)


def select_photos(matches: Matches, chosen: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Matches:
    """The matches of some photos alone; `chosen` is (photos,)."""
    renumbered = np.cumsum(chosen) - 1

    def part(of_class: ClassMatches) -> ClassMatches:
        kept = chosen[of_class.photo]
        return ClassMatches(
            of_class.confidence[kept],
            renumbered[of_class.photo[kept]],
            of_class.hit[:, kept],
            of_class.labels[chosen],
        )

    return Matches(
        tuple(photo for photo, kept in zip(matches.photos, chosen, strict=True) if kept),
        tuple(enclosure for enclosure, kept in zip(matches.enclosures, chosen, strict=True) if kept),
        {class_id: part(of_class) for class_id, of_class in matches.classes.items()},
    )


def macro_ap50(matches: Matches) -> float | None:
    """Mean AP50 over the classes with labels; None without any."""
    precision = [class_average_precision(each) for each in matches.classes.values()]
    shown = [float(each[0]) for each in precision if each is not None]
    return float(np.mean(shown)) if shown else None
