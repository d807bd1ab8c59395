"""What each class is: proposed, active, deprecated or merged, with its counts and the reason in words."""

import datetime as dt
from collections.abc import Collection, Iterator, Sequence

import polars as pl

from mlops_assets.class_keys import class_key
from mlops_assets.labels.class_decisions import ClassDecision
from mlops_assets.labels.class_history import ClassHistory, members
from mlops_assets.labels.class_names import closest
from mlops_assets.labels.schema import EQUIPMENT_CLASSES
from mlops_assets.use_case import NewClassRules

_Count = tuple[int, int, dt.datetime | None]
_NOTHING: _Count = (0, 0, None)


def class_states(
    history: ClassHistory,
    declared: Collection[int],
    annotations: pl.DataFrame,
    photos: pl.DataFrame,
    previous: pl.DataFrame,
    rules: NewClassRules,
) -> pl.DataFrame:
    """EQUIPMENT_CLASSES of a vocabulary; see `vocabulary.equipment_classes`.

    Boxes and enclosures of a merged class are counted with the class that it counts for, and are 0 for itself.
    """
    counted = _counts(history, annotations, photos)
    before = {row["class_id"]: row for row in previous.iter_rows(named=True)}
    groups = members(history)
    active = {class_id for class_id, row in before.items() if _was_active(row)}
    settled = set(declared) | history.accepted.keys() | history.deprecated.keys() | active

    def standing(class_id: int) -> tuple[bool, bool, int, int]:
        """Who comes first is the known one; what was held up stays so, however many boxes it gets."""
        was_held = class_id in before and before[class_id].get("close_to") is not None
        return was_held, class_id not in before, -counted.get(class_id, _NOTHING)[0], class_id

    unsettled = sorted(history.names.keys() - settled - history.merged.keys(), key=standing)
    close = _close_classes(history, settled, unsettled, rules.near_name)
    rows = []
    for class_id in sorted(history.names):
        boxes, enclosures, labelled_now = counted.get(class_id, _NOTHING)
        was = before.get(class_id, {})
        close_to = close.get(class_id)
        is_enough = boxes >= rules.min_boxes and enclosures >= rules.min_enclosures
        status = _status(history, class_id, active=class_id in active or (is_enough and close_to is None))
        times: list[dt.datetime] = [time for time in (was.get("first_labelled"), labelled_now) if time is not None]
        row = {
            "class_id": class_id,
            "class_name": history.names[class_id],
            "aliases": history.aliases[class_id],
            "status": status,
            "merged_into": history.root(class_id) if status == "merged" else None,
            "boxes": boxes,
            "enclosures": enclosures,
            "first_labelled": min(times, default=None),
            "first_name": history.first_names[class_id],
            "known_since": min(groups[history.root(class_id)]),
            "ever_active": class_id in active or status == "active",
            "close_to": close_to if status == "proposed" else None,
        }
        rows.append(row | {"reason": _reason(history, row, rules)})
    return pl.DataFrame(rows, schema=EQUIPMENT_CLASSES)


def waiting_words(classes: pl.DataFrame, rules: NewClassRules) -> list[str]:
    """What each proposed class waits for, in words, the nearest to its numbers first.

    Args:
        classes: EQUIPMENT_CLASSES.
        rules: When a class becomes active.

    Returns:
        Such as "surge_arrester has 14 of 20 boxes, 2 of 3 enclosures"; a class without a box waits for nothing yet and
        is left out.
    """
    share = pl.min_horizontal(pl.col("boxes") / rules.min_boxes, pl.col("enclosures") / rules.min_enclosures)
    waiting = classes.filter(pl.col("status") == "proposed", pl.col("boxes") > 0)
    ordered = waiting.sort(share, "class_id", descending=[True, False])
    return [f"{name} {reason}" for name, reason in ordered.select("class_name", "reason").iter_rows()]


def _status(history: ClassHistory, class_id: int, *, active: bool) -> str:
    if class_id in history.merged:
        return "merged"
    if class_id in history.deprecated:
        return "deprecated"
    return "active" if active else "proposed"


def _was_active(row: dict[str, object]) -> bool:
    """Tables written before `ever_active` existed have it null."""
    return bool(row.get("ever_active")) or row["status"] == "active"


def _reason(history: ClassHistory, row: dict[str, object], rules: NewClassRules) -> str | None:
    class_id = int(str(row["class_id"]))
    if row["status"] == "merged":
        target = history.root(class_id)
        return f"counts for {history.names[target]} ({class_key(target)}): {history.merged[class_id][1]}"
    if row["status"] == "deprecated":
        return _said(history.deprecated[class_id])
    if row["status"] == "active":
        return None
    numbers = f"has {row['boxes']} of {rules.min_boxes} boxes, {row['enclosures']} of {rules.min_enclosures} enclosures"
    if row["close_to"] is None:
        return numbers
    other = int(str(row["close_to"]))
    return f"{numbers}; its name is close to {history.names[other]} ({class_key(other)}): accept or merge it"


def _said(decision: ClassDecision) -> str:
    return f"{decision.why} ({decision.by}, {decision.at:%Y-%m-%d})"


def _close_classes(
    history: ClassHistory, settled: Collection[int], unsettled: Sequence[int], threshold: float
) -> dict[int, int]:
    """The class that the name of each unsettled one is close to: a settled one, or one that comes before it."""
    found: dict[int, int] = {}
    known = set(settled)
    for class_id in unsettled:
        others = [
            (history.root(other), name)
            for other in history.names
            if history.root(other) in known
            for name in _names(history, other)
        ]
        close = [other for own in _names(history, class_id) if (other := closest(own, others, threshold)) is not None]
        if close:
            found[class_id] = close[0]
        known.add(class_id)
    return found


def _names(history: ClassHistory, class_id: int) -> Iterator[str]:
    yield history.names[class_id]
    yield from history.aliases[class_id]


def _counts(history: ClassHistory, annotations: pl.DataFrame, photos: pl.DataFrame) -> dict[int, _Count]:
    """Boxes, enclosures and earliest labelling by the class that boxes count for."""
    homes = photos.select("photo_id", "enclosure_id").unique("photo_id", keep="first", maintain_order=True)
    roots = {class_id: history.root(class_id) for class_id in history.names}
    counted = (
        annotations.drop_nulls("class_id")
        .with_columns(pl.col("class_id").replace(roots))
        .join(homes, on="photo_id", how="left")
        .group_by("class_id")
        .agg(pl.len(), pl.col("enclosure_id").drop_nulls().n_unique(), pl.col("annotated_at").min())
    )
    return {class_id: (boxes, enclosures, first) for class_id, boxes, enclosures, first in counted.iter_rows()}
