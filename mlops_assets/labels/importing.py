"""From the label drop to the annotations: read, find the photos, keep each photo's latest labelling, give ids.

Deterministic: the same drop, photos and previous tables give the same rows in the same order, whatever of the drop was
read before.
"""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from mlops_assets.boxes import BOX_COLUMNS
from mlops_assets.labels.agreement import label_conflicts
from mlops_assets.labels.class_decisions import ClassDecision
from mlops_assets.labels.drop import DropPath, list_drop
from mlops_assets.labels.finding import Found, Orientations, find_photos
from mlops_assets.labels.items import ReadRules
from mlops_assets.labels.parsed import Parsed
from mlops_assets.labels.reading import read_labels
from mlops_assets.labels.schema import ANNOTATIONS, LABEL_QUARANTINE
from mlops_assets.labels.vocabulary import Vocabulary
from mlops_assets.use_case import KnownClass


@dataclass(frozen=True)
class ImportResult:
    """What an import comes to.

    Attributes:
        annotations: ANNOTATIONS.
        quarantine: LABEL_QUARANTINE.
        conflicts: LABEL_CONFLICTS.
        parsed: PARSED_LABELS for the next import; None where the earlier table still holds.
        summary: Counts for people.
        left_out: How many shapes of which kind were left out.
        drawn_as: How many boxes were drawn as which shape.
    """

    annotations: pl.DataFrame
    quarantine: pl.DataFrame
    conflicts: pl.DataFrame
    parsed: pl.DataFrame | None
    summary: dict[str, int | str]
    left_out: dict[str, int]
    drawn_as: dict[str, int]


def import_labels(
    drop: DropPath,
    *,
    photos: pl.DataFrame,
    previous: pl.DataFrame,
    known_classes: pl.DataFrame,
    declared: Sequence[KnownClass],
    now: dt.datetime,
    decisions: Sequence[ClassDecision] = (),
    erased_names: Mapping[str, str] | None = None,
    rules: ReadRules | None = None,
    parsed_before: pl.DataFrame | None = None,
    orientations: Orientations | None = None,
) -> ImportResult:
    """Read the label drop.

    The latest labelling of a photo counts: by annotated_at, which is the file's modification time where the file says
    nothing, then by the order of the drop. Ids are given entry by entry, to names that surviving boxes carry, within
    an entry in the order that its files declare. class_map_version is the number of ids known after the entry was
    read; a photo whose time and boxes, by name, are as in `previous` keeps the version that it had.

    Args:
        drop: Label drop; a missing folder is an empty one.
        photos: photo_id, landing_uri, width, height (upright pixels) of accepted photos and, so that their names work
            too, duplicates.
        previous: ANNOTATIONS as last written; may be empty.
        known_classes: EQUIPMENT_CLASSES as last written, or its first columns; may be empty.
        declared: The use case's `classes`.
        now: Time of the import; labels dated later are counted in the summary.
        decisions: What people decided about classes; a label counts for the class that its own was merged into.
        erased_names: photo_id of erased photos by `matching.hashed_names`; labels of theirs are passed over, counted in
            the summary and in no table.
        rules: How to read.
        parsed_before: PARSED_LABELS as last written: files that it holds are not read again.
        orientations: Looks up how photos are stored that were labelled sideways; None: nobody can.

    Raises:
        OSError: The drop cannot be listed or read; single files that are gone or forbidden are quarantined.
        VocabularyError: Known or declared classes contradict each other.
    """
    files = list_drop(drop)
    before = Parsed.empty() if parsed_before is None else Parsed.of_table(parsed_before)
    rules = rules or ReadRules()
    parsed, read = read_labels(files, rules, before)
    found = find_photos(files, parsed, photos, erased_names or {}, orientations, rules.outside_tolerance)
    is_kept = read == 0 and parsed.files.height == before.files.height and found.erased_files.is_empty()
    latest = _latest(found.labellings)
    boxes = found.boxes.join(latest.select("photo"), on="photo", how="semi", maintain_order="left")
    vocabulary = Vocabulary.of(known_classes, declared, previous, decisions)
    versions = _learn(latest, boxes, parsed, vocabulary)
    annotations = _keep_versions(_annotations(latest, boxes, vocabulary, versions), previous)
    quarantine = found.problems.unique().sort(LABEL_QUARANTINE.names())
    summary: dict[str, int | str] = {
        "imported_at": now.isoformat(),
        "files": len(files),
        "label_files": parsed.files.height,
        "label_files_read": read,
        "photos": latest.height,
        "empty_photos": latest.join(boxes, on="photo", how="anti").height,
        "boxes": boxes.height,
        "classes": vocabulary.size,
        "superseded_labellings": found.labellings.height - latest.height,
        "unlabelled_entries": int(parsed.files["unlabelled"].sum()),
        "quarantined": quarantine.height,
        "dated_after_import": latest.filter(pl.col("annotated_at") > now).height,
        "turned_upright": found.turned,
        "of_erased_photos": found.of_erased,
    }
    return ImportResult(
        annotations,
        quarantine,
        label_conflicts(found.labellings, found.boxes),
        None if is_kept else _to_keep(parsed, found),
        summary,
        _left_out(parsed),
        dict(boxes["drawn_as"].value_counts(sort=True).iter_rows()),
    )


def _to_keep(parsed: Parsed, found: Found) -> pl.DataFrame:
    """What the next import need not read; not the files that name an erased photo, which no table may name."""
    return parsed.only(parsed.files.filter(~pl.col("source").is_in(found.erased_files.implode()))["file_id"]).table()


def _left_out(parsed: Parsed) -> dict[str, int]:
    total: dict[str, int] = {}
    for text in parsed.files["left"].drop_nulls():
        for shape, count in json.loads(text).items():
            total[shape] = total.get(shape, 0) + count
    return dict(sorted(total.items()))


def _latest(labellings: pl.DataFrame) -> pl.DataFrame:
    """The labelling of each photo that counts, in the order of the drop."""
    return (
        labellings.with_row_index("order")
        .sort("annotated_at", "order")
        .unique("photo_id", keep="last", maintain_order=True)
        .sort("order")
        .drop("order")
    )


def _learn(latest: pl.DataFrame, boxes: pl.DataFrame, parsed: Parsed, vocabulary: Vocabulary) -> pl.DataFrame:
    """Give ids to the names of each entry in turn; returns entry and its class_map_version.

    Only where a name comes first can it be new: of the entries that come first with a name, names are looked at.
    """
    entries = latest.select("entry").unique(maintain_order=True).with_row_index("turn")
    placed = latest.select("photo", "entry", "names_key").join(entries, on="entry", maintain_order="left")
    firsts = (
        boxes.join(placed, on="photo", maintain_order="left")
        .select("turn", "class_name")
        .with_row_index("order")
        .sort("turn", "order")
        .unique("class_name", keep="first", maintain_order=True)
    )
    declared_names = dict(parsed.names.iter_rows())
    learnt = [(-1, vocabulary.size)]
    for (turn,), rows in firsts.group_by("turn", maintain_order=True):
        keys = placed.filter(pl.col("turn") == turn)["names_key"].unique(maintain_order=True)
        declared = dict.fromkeys(name for key in keys for name in declared_names[key])
        used = rows["class_name"].to_list()
        for name in [*(name for name in declared if name in set(used)), *used]:
            vocabulary.learn(name)
        learnt.append((int(str(turn)), vocabulary.size))
    sizes = pl.DataFrame(learnt, schema={"turn": pl.Int64(), "class_map_version": pl.Int32()}, orient="row")
    return (
        entries.with_columns(pl.col("turn").cast(pl.Int64))
        .sort("turn")
        .join_asof(sizes.sort("turn"), on="turn")
        .select("entry", "class_map_version")
    )


def _annotations(
    latest: pl.DataFrame, boxes: pl.DataFrame, vocabulary: Vocabulary, versions: pl.DataFrame
) -> pl.DataFrame:
    names = boxes["class_name"].unique().to_list()
    ids = pl.DataFrame(
        {"class_name": names, "class_id": [vocabulary.find(name) for name in names]},
        schema={"class_name": pl.String(), "class_id": pl.Int32()},
    )
    # Photos are put in order before their boxes are joined: numbers are sorted faster than names.
    ordered = latest.sort("photo_id").with_row_index("order").join(versions, on="entry", how="left")
    return (
        ordered.join(boxes, on="photo", how="left")
        .join(ids, on="class_name", how="left")
        .sort("order", "class_id", *BOX_COLUMNS, "class_name", "drawn_as")
        .select(ANNOTATIONS.names())
    )


def _keep_versions(annotations: pl.DataFrame, previous: pl.DataFrame) -> pl.DataFrame:
    """Photos labelled as before keep the class_map_version that they had.

    Names as labelled are compared, and files are not: nobody looks at a photo again for a merge or another export.
    """
    # The sum over a photo's boxes does not depend on their order; of 48 bits each, it does not overflow.
    boxes = (pl.struct("class_name", *BOX_COLUMNS).hash() // 2**16).sum().alias("boxes")
    key = ["photo_id", "annotated_at", "boxes", "count"]
    now, before = (
        frame.group_by("photo_id").agg(
            pl.col("annotated_at").first(),
            boxes,
            pl.len().alias("count"),
            pl.col("class_map_version").min().alias("kept"),
        )
        for frame in (annotations, previous)
    )
    unchanged = now.drop("kept").join(before, on=key).select("photo_id", "kept")
    return (
        annotations.join(unchanged, on="photo_id", how="left", maintain_order="left")
        .with_columns(pl.coalesce("kept", "class_map_version").alias("class_map_version"))
        .select(ANNOTATIONS.names())
        .match_to_schema(ANNOTATIONS)
    )
