"""What changed from one dataset version to another: photos, boxes and classes, as tables and for a person."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from mlops_assets.boxes import BOX_COLUMNS, with_edges
from mlops_assets.dataset.schema import SPLITS, TRAINING_DATASET

CHANGES = ("added", "removed", "changed")

SAME_DEVICE_IOU = 0.5
"""Intersection over union from which a box that went and one that came are one box that changed."""

_KEY = ("photo_id", "class_id", *BOX_COLUMNS)
_PHOTO = ("split", "photo_sha256", "class_map_version")

PHOTO_CHANGES = pl.Schema(
    {"photo_id": pl.String(), "enclosure_id": pl.String(), "split": pl.String(), "change": pl.String()}
    | {"what": pl.String()}
)
"""One row a photo that differs; split of the later version, or of the earlier one where it is gone."""

BOX_CHANGES = pl.Schema(
    {"photo_id": pl.String(), "class_id": pl.Int32(), "change": pl.String(), "before_class_id": pl.Int32()}
    | {name: pl.Float64() for name in BOX_COLUMNS}
)
"""One row a box that differs, as it is in the later version, or in the earlier one where it is gone."""

CLASS_CHANGES = pl.Schema({"class_id": pl.Int32(), "change": pl.String(), "before": pl.String(), "after": pl.String()})
"""One row a class that came, went or has another name."""


@dataclass(frozen=True)
class Difference:
    """From one version to another; see the schemas."""

    photos: pl.DataFrame
    boxes: pl.DataFrame
    classes: pl.DataFrame

    def counts(self) -> dict[str, int]:
        """How many of each were added, removed and changed, such as `photos_added`."""
        return {
            f"{kind}_{change}": frame.filter(pl.col("change") == change).height
            for kind, frame in (("photos", self.photos), ("boxes", self.boxes), ("classes", self.classes))
            for change in CHANGES
        }

    def is_empty(self) -> bool:
        """Whether nothing differs but, perhaps, the code that made them."""
        return not any(self.counts().values())


def difference(
    before: pl.DataFrame, after: pl.DataFrame, class_map_before: Mapping[int, str], class_map_after: Mapping[int, str]
) -> Difference:
    """Compare two TRAINING_DATASETs with their class maps (display names by class_id).

    A photo is changed where its bytes, its split, the classes that were looked for or any of its boxes differ. A box
    that came and one that went on the same photo are one changed box where each is the other's best by IoU, from 0.5.
    """
    before, after = _that_differ(before, after)
    came, went = _surplus(after, before), _surplus(before, after)
    pairs = _same_device(went, came)
    boxes = pl.concat(
        [
            _box_rows(came.join(pairs, left_on="row", right_on="came", how="anti"), "added"),
            _box_rows(went.join(pairs, left_on="row", right_on="went", how="anti"), "removed"),
            _box_rows(came.join(pairs, left_on="row", right_on="came"), "changed"),
        ]
    ).sort("photo_id", "change", "class_id", *BOX_COLUMNS)
    return Difference(_photo_changes(before, after, boxes), boxes, _class_changes(class_map_before, class_map_after))


def as_markdown(
    found: Difference, class_map: Mapping[int, str], *, before: str, after: str, most_rows: int = 20
) -> str:
    """The difference for a person: totals, by split, by class, then the first photos.

    Args:
        found: From `before` to `after`.
        class_map: Display names of both versions.
        before: Name of the earlier version.
        after: Name of the later one.
        most_rows: Of photos that are listed one by one.
    """
    lines = [f"`{before[:12]}` → `{after[:12]}`", ""]
    if found.is_empty():
        return "\n".join([*lines, "The same photos, boxes and classes."])
    counts = found.counts()
    lines += _table(
        ("", *CHANGES), ((kind, *(counts[f"{kind}_{c}"] for c in CHANGES)) for kind in ("photos", "boxes", "classes"))
    )
    lines += ["", *_table(("photos of", *CHANGES), _by(found.photos, "split", {s: s for s in SPLITS}))]
    names = {class_id: f"{name} ({class_id})" for class_id, name in sorted(class_map.items())}
    lines += ["", *_table(("boxes of", *CHANGES), _by(found.boxes, "class_id", names))]
    if found.classes.height:
        rows = found.classes.select("class_id", "change", "before", "after").rows()
        lines += ["", *_table(("class", "change", "before", "after"), rows)]
    if found.photos.height:
        rows = found.photos.select("photo_id", "enclosure_id", "split", "change", "what").head(most_rows).rows()
        lines += ["", *_table(("photo", "enclosure", "split", "change", "what"), rows)]
        if found.photos.height > most_rows:
            lines += ["", f"… and {found.photos.height - most_rows} further photos."]
    return "\n".join(lines)


def _that_differ(before: pl.DataFrame, after: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows of the photos of which any row differs, by hashes of this process: most photos stay as they were."""
    names = TRAINING_DATASET.names()
    sums = [
        frame.select("photo_id", row=frame.select(names).hash_rows()).group_by("photo_id").agg(pl.sum("row"), pl.len())
        for frame in (before, after)
    ]
    same = sums[0].join(sums[1], on=["photo_id", "row", "len"], how="semi")
    first, second = (frame.join(same, on="photo_id", how="anti") for frame in (before, after))
    return first, second


def _surplus(rows: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """Boxes that rows have more often than others, with `row`, a number that is unique."""
    mine, theirs = (frame.drop_nulls("class_id").select(_KEY) for frame in (rows, others))
    key = list(_KEY)
    if mine.is_duplicated().any():
        mine, theirs = (frame.with_columns(copy=pl.int_range(pl.len()).over(_KEY)) for frame in (mine, theirs))
        key = [*_KEY, "copy"]
    return mine.join(theirs, on=key, how="anti").select(_KEY).with_row_index("row")


def _same_device(went: pl.DataFrame, came: pl.DataFrame) -> pl.DataFrame:
    """Pairs of row numbers (went, came), each the other's best, with the class that it was before."""
    old = with_edges(went).rename(lambda name: name if name == "photo_id" else f"old_{name}")
    pairs = old.join(with_edges(came), on="photo_id")
    width = pl.min_horizontal("right", "old_right") - pl.max_horizontal("left", "old_left")
    height = pl.min_horizontal("bottom", "old_bottom") - pl.max_horizontal("top", "old_top")
    common = width.clip(lower_bound=0) * height.clip(lower_bound=0)
    total = pl.col("box_w") * pl.col("box_h") + pl.col("old_box_w") * pl.col("old_box_h")
    alike = (
        pairs.with_columns(iou=common / (total - common), renamed=pl.col("class_id") != pl.col("old_class_id"))
        .filter(pl.col("iou") >= SAME_DEVICE_IOU)
        .sort("iou", "renamed", "old_row", "row", descending=[True, False, False, False])
    )
    best = (pl.int_range(pl.len()).over("old_row") == 0) & (pl.int_range(pl.len()).over("row") == 0)
    return alike.filter(best).select(went="old_row", came="row", before_class_id="old_class_id")


def _box_rows(boxes: pl.DataFrame, change: str) -> pl.DataFrame:
    if "before_class_id" not in boxes.columns:
        boxes = boxes.with_columns(before_class_id=pl.lit(None, pl.Int32))
    return boxes.with_columns(change=pl.lit(change)).match_to_schema(BOX_CHANGES, extra_columns="ignore")


def _photo_changes(before: pl.DataFrame, after: pl.DataFrame, boxes: pl.DataFrame) -> pl.DataFrame:
    facts = ["photo_id", "enclosure_id", *_PHOTO]
    both = (
        before.select(facts)
        .unique("photo_id", keep="first")
        .join(after.select(facts).unique("photo_id", keep="first"), on="photo_id", how="full", coalesce=True)
        .join(boxes.select("photo_id").unique().with_columns(other_boxes=pl.lit(True)), on="photo_id", how="left")
    )
    came, went = pl.col("split").is_null(), pl.col("split_right").is_null()
    words = {"split": "split", "photo_sha256": "bytes", "class_map_version": "classes that were looked for"}
    what = [pl.when(pl.col(name).ne_missing(pl.col(f"{name}_right"))).then(pl.lit(words[name])) for name in _PHOTO] + [
        pl.when(pl.col("other_boxes")).then(pl.lit("boxes"))
    ]
    changed = both.with_columns(
        enclosure_id=pl.coalesce("enclosure_id_right", "enclosure_id"),
        split=pl.coalesce("split_right", "split"),
        change=pl.when(came).then(pl.lit("added")).when(went).then(pl.lit("removed")).otherwise(pl.lit("changed")),
        what=pl.when(came | went).then(pl.lit("")).otherwise(pl.concat_str(what, separator=", ", ignore_nulls=True)),
    ).filter((pl.col("change") != "changed") | (pl.col("what") != ""))
    return changed.match_to_schema(PHOTO_CHANGES, extra_columns="ignore").sort("change", "split", "photo_id")


def _class_changes(before: Mapping[int, str], after: Mapping[int, str]) -> pl.DataFrame:
    rows = [
        (
            class_id,
            "added" if class_id not in before else "removed" if class_id not in after else "changed",
            before.get(class_id),
            after.get(class_id),
        )
        for class_id in sorted({*before, *after})
        if before.get(class_id) != after.get(class_id)
    ]
    return pl.DataFrame(rows, schema=CLASS_CHANGES, orient="row")


def _by(frame: pl.DataFrame, column: str, names: Mapping[Any, str]) -> list[tuple[object, ...]]:
    """Rows (name, added, removed, changed) of the values that occur, in the order of the names."""
    counted = {(value, change): n for value, change, n in frame.group_by(column, "change").len().iter_rows()}
    return [
        (name, *(counted.get((value, change), 0) for change in CHANGES))
        for value, name in names.items()
        if any((value, change) in counted for change in CHANGES)
    ]


def _table(header: tuple[str, ...], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = [f"| {' | '.join(header)} |", "|" + " --- |" * len(header)]
    return [*lines, *("| " + " | ".join("" if cell is None else str(cell) for cell in row) + " |" for row in rows)]
