"""The review queue: which photos to label next, why, and with which boxes to start from.

Goes over the days one at a time and keeps the best candidates of each reason, so that memory does not grow with the
number of days. What a reason is stands in `signals`, `second_look` and `disagreement`; how they are weighed in
`selection`.
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import polars as pl

from mlops_assets.catalog.schema import DETECTIONS, UNKNOWN_EQUIPMENT
from mlops_assets.dataset.schema import SPLIT_ASSIGNMENTS, TRAINING_DATASET
from mlops_assets.detector.champion import Champion, latest_champion
from mlops_assets.labels.class_links import ClassLinks
from mlops_assets.labels.schema import ANNOTATIONS, EQUIPMENT_CLASSES, LABEL_CONFLICTS
from mlops_assets.monitoring import second_look, signals
from mlops_assets.monitoring.disagreement import Refused, counted, disagreement
from mlops_assets.monitoring.label_errors import find_label_errors
from mlops_assets.monitoring.schema import LABEL_ERRORS, REVIEW_HISTORY, REVIEW_QUEUE
from mlops_assets.monitoring.selection import Pool, select
from mlops_assets.monitoring.suggestions import suggested_boxes
from mlops_assets.photos.schema import CLEAN_PHOTOS, RAW_PHOTOS
from mlops_assets.use_case import InventoryRules, ReviewRules

if TYPE_CHECKING:
    from resources.tables import Tables

CANDIDATES_A_PLACE = 10
"""Candidates kept in memory of each kind, by place in the queue; the selection needs more than are chosen."""

OF_A_VISIT = 5


@dataclass(frozen=True)
class Known:
    """What does not depend on the day.

    Attributes:
        champion: What serves, if anything does.
        annotations: ANNOTATIONS, labels of merged classes as those of the class that they became.
        classes: EQUIPMENT_CLASSES.
        splits: SPLIT_ASSIGNMENTS.
        dataset: TRAINING_DATASET.
        labelled: photo_id, enclosure_id, shot and the measures of `signals.MEASURES` of every labelled photo.
        history: REVIEW_HISTORY.
        conflicts: LABEL_CONFLICTS.
        previous: REVIEW_QUEUE as it was.
    """

    champion: Champion | None
    annotations: pl.DataFrame
    classes: pl.DataFrame
    splits: pl.DataFrame
    dataset: pl.DataFrame
    labelled: pl.DataFrame
    history: pl.DataFrame
    conflicts: pl.DataFrame
    previous: pl.DataFrame

    @cached_property
    def names(self) -> dict[int, str]:
        """Class names by id: as the vocabulary has them now."""
        own = dict(self.classes.select("class_id", "class_name").iter_rows())
        return (self.champion.class_map if self.champion else {}) | own

    @cached_property
    def annotated(self) -> pl.DataFrame:
        """photo_id, annotated_at of every labelling."""
        return self.annotations.group_by("photo_id").agg(pl.max("annotated_at"))

    @cached_property
    def shown(self) -> pl.DataFrame:
        """enclosure_id, class_id of what is labelled."""
        boxes = self.annotations.drop_nulls("class_id").select("photo_id", "class_id").unique()
        return boxes.join(self.labelled, on="photo_id").select("enclosure_id", "class_id").unique()

    @cached_property
    def untested(self) -> set[int]:
        """Active classes without a test box, once there is a test set."""
        test = self.dataset.filter(pl.col("split") == "test")
        active = self.classes.filter(pl.col("status") == "active")
        return set(active.join(test, on="class_id", how="anti")["class_id"]) if self.dataset.height else set()

    @cached_property
    def usual(self) -> dict[str, tuple[float, float]]:
        """The usual range of each measure of the photos that were trained on."""
        train = self.dataset.filter(pl.col("split") == "train").select("photo_id").unique()
        return signals.usual_measures(self.labelled.join(train, on="photo_id", how="semi"))


def load_known(tables: "Tables") -> Known:
    """Read what does not depend on the day; what is not there yet is empty."""
    classes = tables.read("equipment_classes", EQUIPMENT_CLASSES)
    annotations = ClassLinks.of(classes).resolve(tables.read("annotations", ANNOTATIONS))
    return Known(
        champion=latest_champion(tables),
        annotations=annotations,
        classes=classes,
        splits=tables.read("split_assignments", SPLIT_ASSIGNMENTS),
        dataset=tables.read("training_dataset", TRAINING_DATASET),
        labelled=labelled_photos(tables, annotations),
        history=tables.read("review_history", REVIEW_HISTORY),
        conflicts=tables.read("label_conflicts", LABEL_CONFLICTS),
        previous=tables.read("review_queue", REVIEW_QUEUE),
    )


@dataclass(frozen=True)
class Queue:
    """What was chosen, of how many.

    Attributes:
        rows: REVIEW_QUEUE.
        label_errors: LABEL_ERRORS of at least the suspicion that is worth a look.
        history: REVIEW_HISTORY with this queue's.
        offered: Photos that each reason had to offer, by kind.
        without: What was not there to be looked at, in words.
    """

    rows: pl.DataFrame
    label_errors: pl.DataFrame
    history: pl.DataFrame
    offered: dict[str, int]
    without: tuple[str, ...]


def build_queue(
    tables: "Tables",
    known: Known,
    *,
    rules: ReviewRules,
    inventory: InventoryRules,
    today: dt.date,
    refused: Refused | None = None,
) -> Queue:
    """Choose the photos to label next.

    Offered are accepted, usable photos that are not labelled, nor nearly the same as a labelled one; and labelled ones
    that deserve a second look.

    Args:
        tables: Of the use case; read a day at a time.
        known: What does not depend on the day.
        rules: Of the use case.
        inventory: Holds the threshold of classes for which none was chosen.
        today: Written to what is new in the queue.
        refused: The latest candidate, if it was refused.
    """
    pool = Pool(max(rules.budget, 1) * CANDIDATES_A_PLACE, OF_A_VISIT)
    errors = [pl.DataFrame(schema=LABEL_ERRORS)]
    again = _second_looks(known)
    unknown = False
    for day in _days(tables, known):
        unknown |= day.unknown["score"].count() > 0
        pool.add(_reasons(day, known, rules, inventory), day.fresh)
        suspected = find_label_errors(
            known.annotations.join(day.labelled, on="photo_id", how="semi"),
            day.found,
            known.names,
            known.champion.class_map if known.champion else (),
        ).filter(pl.col("quality") <= 1 - rules.min_label_suspicion)
        errors.append(suspected)
        doubts = pl.concat([second_look.label_error(suspected, rules.min_label_suspicion), again])
        pool.add(second_look.not_reviewed_since(doubts, known.history, known.annotated), day.labelled)
    if refused is not None:
        _add_disagreement(tables, pool, known, refused, rules)
    chosen = select(pool.candidates(), rules.budget, rules.shares.model_dump())
    rows = _queue_rows(tables, chosen, known, inventory, today)
    without = () if unknown else ("unknown equipment: no table of the champion's says where it may be",)
    return Queue(
        rows=rows,
        label_errors=pl.concat(errors).sort("quality", "photo_id"),
        history=second_look.with_offered(known.history, rows, known.annotated),
        offered=pool.offered,
        without=without,
    )


@dataclass(frozen=True)
class _Day:
    """One day's usable photos, not labelled (`fresh`) and labelled, with what the champion found on them."""

    fresh: pl.DataFrame
    labelled: pl.DataFrame
    found: pl.DataFrame
    unknown: pl.DataFrame


def labelled_photos(tables: "Tables", annotations: pl.DataFrame) -> pl.DataFrame:
    """The labelled photos as `Known.labelled` has them, read a day at a time."""
    ids = annotations.select("photo_id").unique()
    frames = []
    for day, cleaned in tables.each_day("clean_photos", CLEAN_PHOTOS):
        ours = cleaned.join(ids, on="photo_id", how="semi")
        if ours.height:
            frames.append(_with_homes(tables, ours, day))
    columns = ["photo_id", "enclosure_id", "shot", *signals.MEASURES]
    empty = pl.DataFrame(schema={**CLEAN_PHOTOS, **RAW_PHOTOS, "shot": pl.String()})
    return pl.concat([empty.select(columns), *(frame.select(columns) for frame in frames)]).unique(
        "photo_id", keep="first", maintain_order=True
    )


def _with_homes(tables: "Tables", cleaned: pl.DataFrame, day: str) -> pl.DataFrame:
    """A day's cleaned photos with enclosure and visit, and `shot`, the same for near-duplicates."""
    ledger = tables.read("raw_photos", RAW_PHOTOS, day).filter(pl.col("status") == "accepted")
    homes = ledger.select("photo_id", "enclosure_id", "visit_id").unique("photo_id", keep="first", maintain_order=True)
    return cleaned.join(homes, on="photo_id").with_columns(
        shot=pl.coalesce("near_duplicate_of", "photo_id"),
        visit_id=pl.coalesce("visit_id", pl.lit(day)),
        day=pl.lit(day),
    )


def _days(tables: "Tables", known: Known) -> Iterator[_Day]:
    ids = known.annotations.select("photo_id").unique()
    for day, cleaned in tables.each_day("clean_photos", CLEAN_PHOTOS):
        photos = _with_homes(tables, cleaned.filter(pl.col("verdict") == "usable"), day)
        fresh = photos.join(ids, on="photo_id", how="anti").join(known.labelled, on="shot", how="anti")
        yield _Day(
            fresh,
            photos.join(ids, on="photo_id", how="semi"),
            _champions(tables.read("detections", DETECTIONS, day), known.champion),
            _champions(tables.read("unknown_equipment", UNKNOWN_EQUIPMENT, day), known.champion),
        )


def _champions(rows: pl.DataFrame, champion: Champion | None) -> pl.DataFrame:
    """Without what another version found; that version's days are looked at again anyway."""
    return rows.filter(pl.col("model_version") == (champion.version if champion else ""))


def with_thresholds(found: pl.DataFrame, known: Known, inventory: InventoryRules) -> pl.DataFrame:
    """DETECTIONS of a class, with class_name and threshold."""
    thresholds = known.champion.thresholds if known.champion else {}
    return found.drop_nulls("class_id").with_columns(
        threshold=pl.col("class_id").replace_strict(
            thresholds, default=inventory.default_threshold, return_dtype=pl.Float64
        ),
        class_name=pl.col("class_id").replace_strict(known.names, default=None, return_dtype=pl.String),
    )


def _reasons(day: _Day, known: Known, rules: ReviewRules, inventory: InventoryRules) -> pl.DataFrame:
    """SIGNALS of a day's photos that nobody labelled."""
    found = with_thresholds(day.found, known, inventory).join(
        day.fresh.select("photo_id", "enclosure_id"), on="photo_id"
    )
    return pl.concat(
        [
            signals.uncertain(found),
            signals.rare_class(found, known.classes, known.shown, rules),
            signals.first_test_boxes(found, known.untested, known.splits),
            signals.unknown_equipment(day.unknown, rules.min_unknown_score),
            signals.drift(day.fresh, known.usual),
            signals.unlabelled_enclosure(day.fresh, known.labelled.select("enclosure_id").unique()),
        ]
    )


def _second_looks(known: Known) -> pl.DataFrame:
    return pl.concat(
        [
            second_look.relabel(known.annotations, known.classes, known.labelled.select("photo_id", "enclosure_id")),
            second_look.label_conflict(known.conflicts),
        ]
    )


def _add_disagreement(tables: "Tables", pool: Pool, known: Known, refused: Refused, rules: ReviewRules) -> None:
    """Let the refused candidate look at candidates of other reasons: the most uncertain, then by photo_id, a hash."""
    if known.champion is None or rules.disagreement_photos == 0 or rules.shares.disagreement == 0:
        return
    labelled = known.annotations.select("photo_id").unique()
    others = pool.candidates().join(labelled, on="photo_id", how="anti")
    order = others.with_columns(doubt=pl.when(pl.col("kind") == "uncertain").then(pl.col("score")).otherwise(0.0))
    photos = (
        order.sort("doubt", "photo_id", descending=[True, False])
        .unique("photo_id", keep="first", maintain_order=True)
        .head(rules.disagreement_photos)
    )
    days = sorted(photos["day"].unique())
    found = [_champions(tables.read("detections", DETECTIONS, day), known.champion) for day in days]
    ours = pl.concat([pl.DataFrame(schema=DETECTIONS), *found]).join(photos, on="photo_id", how="semi")
    theirs = refused.look(sorted(ours["photo_id"].unique()))
    shared = sorted(set(known.champion.class_map) & set(refused.class_map))
    both = [
        counted(rows, {c: limits[c] for c in shared}, known.names)
        for rows, limits in ((ours, known.champion.thresholds), (theirs, refused.thresholds))
    ]
    pool.add(disagreement(both[0], both[1], refused.version), photos)


def _queue_rows(
    tables: "Tables", chosen: pl.DataFrame, known: Known, inventory: InventoryRules, today: dt.date
) -> pl.DataFrame:
    since = known.previous.select("photo_id", "queued_on")
    frames = [pl.DataFrame(schema=DETECTIONS)]
    for day in sorted(chosen["day"].unique()):
        found = _champions(tables.read("detections", DETECTIONS, day), known.champion)
        frames.append(found.join(chosen, on="photo_id", how="semi"))
    found = with_thresholds(pl.concat(frames), known, inventory)
    labels = known.annotations.join(chosen, on="photo_id", how="semi")
    version = known.champion.version if known.champion else None
    return (
        chosen.join(suggested_boxes(labels, found, known.names), on="photo_id", how="left")
        .join(since, on="photo_id", how="left")
        .with_columns(
            pl.col("suggested_boxes").fill_null([]),
            pl.col("queued_on").fill_null(today),
            model_version=pl.lit(version, pl.String),
        )
        .sort("rank")
        .select(REVIEW_QUEUE.names())
        .match_to_schema(REVIEW_QUEUE)
    )
