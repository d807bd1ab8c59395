"""From the label drop to the annotations: read, find the photos, keep each photo's latest labelling, give ids.

Deterministic: the same drop, photos and previous tables give the same rows in the same order.
"""

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath

import polars as pl

from mlops_assets.boxes import BOX_COLUMNS
from mlops_assets.labels.class_decisions import ClassDecision
from mlops_assets.labels.drop import DropFile, DropPath, is_companion, list_drop
from mlops_assets.labels.formats import parse_labels
from mlops_assets.labels.items import LabelFormatError, LabelledPhoto, LabelProblem, ParsedLabels
from mlops_assets.labels.matching import is_sideways, match_photos
from mlops_assets.labels.schema import ANNOTATIONS, LABEL_QUARANTINE
from mlops_assets.labels.vocabulary import Vocabulary
from mlops_assets.labels.yolo import NAMES_REMEDY, is_names_file, read_class_names
from mlops_assets.use_case import KnownClass

READERS = 8
"""Files read at a time; reading from an object store is waiting, mostly."""

ClassNames = dict[int, str] | LabelFormatError


@dataclass(frozen=True)
class ImportResult:
    """Tables ANNOTATIONS and LABEL_QUARANTINE, and counts for people."""

    annotations: pl.DataFrame
    quarantine: pl.DataFrame
    summary: dict[str, int | str]


@dataclass(frozen=True, slots=True)
class _Labelling:
    """A labelled photo that was found, and the drop entry that it came in."""

    photo_id: str
    photo: LabelledPhoto
    annotated_at: dt.datetime
    entry: str


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
) -> ImportResult:
    """Read the whole label drop.

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

    Raises:
        OSError: The drop cannot be listed or read; single files that are gone or forbidden are quarantined.
        VocabularyError: Known or declared classes contradict each other.
    """
    files = list_drop(drop)
    parsed = _read(files)
    erased = set((erased_names or {}).values())
    found, problems = _find(files, parsed, photos, erased_names or {})
    of_erased = [labelling for labelling in found if labelling.photo_id in erased]
    found = [labelling for labelling in found if labelling.photo_id not in erased]
    latest = _latest(found)
    vocabulary = Vocabulary.of(known_classes, declared, previous, decisions)
    versions = _learn(latest, vocabulary)
    annotations = _keep_versions(_annotations(latest, vocabulary, versions), previous)
    problems = [problem for labels in parsed.values() for problem in labels.problems] + problems
    problems = [problem for problem in problems if not _names_one(problem, erased)]
    quarantine = pl.DataFrame(problems, schema=LABEL_QUARANTINE, orient="row").unique().sort(LABEL_QUARANTINE.names())
    summary: dict[str, int | str] = {
        "imported_at": now.isoformat(),
        "files": len(files),
        "label_files": len(parsed),
        "photos": len(latest),
        "empty_photos": sum(not labelling.photo.boxes for labelling in latest),
        "boxes": sum(len(labelling.photo.boxes) for labelling in latest),
        "classes": vocabulary.size,
        "superseded_labellings": len(found) - len(latest),
        "unlabelled_entries": sum(labels.unlabelled for labels in parsed.values()),
        "quarantined": quarantine.height,
        "dated_after_import": sum(labelling.annotated_at > now for labelling in latest),
        "of_erased_photos": len(of_erased),
    }
    return ImportResult(annotations, quarantine, summary)


def _read(files: Sequence[DropFile]) -> dict[str, ParsedLabels]:
    """Parsed label files by source, in the order of the drop."""
    names = _class_names(file for file in files if is_names_file(PurePosixPath(file.source).name))
    labels = [file for file in files if not is_companion(file.source)]

    def parse(file: DropFile) -> ParsedLabels:
        try:
            return parse_labels(file.source, _content(file), _nearest_names(file, names))
        except LabelFormatError as error:
            return ParsedLabels(problems=[LabelProblem(file.source, "", str(error), error.remedy)])

    with ThreadPoolExecutor(READERS) as pool:
        return dict(zip((file.source for file in labels), pool.map(parse, labels), strict=True))


def _content(file: DropFile) -> bytes:
    try:
        return file.path.read_bytes()
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise LabelFormatError(
            f"cannot be read: {type(error).__name__}", "put the file itself into the label drop, readable"
        ) from error


def _class_names(files: Iterable[DropFile]) -> dict[str, ClassNames]:
    """Class names by folder of the drop; files of one folder that disagree are an error for its labels."""
    by_folder: dict[str, ClassNames] = {}
    for file in files:
        folder = str(PurePosixPath(file.source).parent)
        try:
            names = read_class_names(file.source, _content(file))
        except LabelFormatError as error:
            by_folder[folder] = error
            continue
        if names is not None and by_folder.setdefault(folder, names) != names:
            by_folder[folder] = LabelFormatError(
                f"the files with class names in {folder} disagree", "leave one of classes.txt, *.names and data.yaml"
            )
    return by_folder


def _nearest_names(file: DropFile, names: Mapping[str, ClassNames]) -> ClassNames:
    """Names of the nearest folder upwards within the drop entry."""
    for folder in list(PurePosixPath(file.source).parents)[:-1]:
        if str(folder) in names:
            return names[str(folder)]
    return LabelFormatError("YOLO labels without class names", NAMES_REMEDY)


def _find(
    files: Sequence[DropFile],
    parsed: Mapping[str, ParsedLabels],
    photos: pl.DataFrame,
    erased_names: Mapping[str, str],
) -> tuple[list[_Labelling], list[LabelProblem]]:
    """Labelled photos that are known, in the order of the drop, and a problem for each of the others."""
    labelled = [photo for labels in parsed.values() for photo in labels.photos]
    matched = match_photos((photo.reference for photo in labelled), photos, erased_names)
    matches = {row[0]: row[1:] for row in matched.iter_rows()}
    sizes = {row[0]: row[1:] for row in photos.select("photo_id", "width", "height").drop_nulls().iter_rows()}
    by_source = {file.source: file for file in files}
    found: list[_Labelling] = []
    problems: list[LabelProblem] = []
    for photo in labelled:
        file = by_source[photo.source]
        photo_id, reason, remedy = matches[photo.reference]
        if photo_id is not None and is_sideways(photo.size, sizes.get(photo_id)):
            reason = f"{photo.reference} was labelled sideways: the upright photo has width and height swapped"
            remedy = "label the upright photo, with its EXIF orientation applied"
        if reason is not None:
            problems.append(LabelProblem(photo.source, photo.item, reason, remedy))
            continue
        found.append(_Labelling(photo_id, photo, photo.annotated_at or file.modified_at, file.entry))
    return found, problems


def _names_one(problem: LabelProblem, photo_ids: set[str]) -> bool:
    text = f"{problem.source} {problem.item} {problem.reason}"
    return any(photo_id in text for photo_id in photo_ids)


def _latest(found: Sequence[_Labelling]) -> list[_Labelling]:
    """The labelling of each photo that counts, in the order of the drop."""
    best: dict[str, int] = {}
    for position, labelling in enumerate(found):
        standing = best.get(labelling.photo_id)
        if standing is None or labelling.annotated_at >= found[standing].annotated_at:
            best[labelling.photo_id] = position
    return [found[position] for position in sorted(best.values())]


def _learn(latest: Sequence[_Labelling], vocabulary: Vocabulary) -> dict[str, int]:
    """Give ids to the names of each entry in turn; returns the class_map_version of each entry."""
    by_entry: dict[str, list[LabelledPhoto]] = {}
    for labelling in latest:
        by_entry.setdefault(labelling.entry, []).append(labelling.photo)
    versions: dict[str, int] = {}
    for entry, labelled in by_entry.items():
        used = Counter(box[0] for photo in labelled for box in photo.boxes)
        declared = dict.fromkeys(name for photo in labelled for name in photo.class_names)
        for name in [name for name in declared if name in used] + list(used):
            vocabulary.learn(name)
        versions[entry] = vocabulary.size
    return versions


def _annotations(latest: Sequence[_Labelling], vocabulary: Vocabulary, versions: Mapping[str, int]) -> pl.DataFrame:
    rows = [
        (
            labelling.photo_id,
            None if box is None else vocabulary.find(box[0]),
            *(box or (None,) * 5),
            labelling.photo.annotator,
            labelling.photo.source,
            labelling.annotated_at,
            versions[labelling.entry],
        )
        for labelling in latest
        for box in labelling.photo.boxes or (None,)
    ]
    return pl.DataFrame(rows, schema=ANNOTATIONS, orient="row").sort("photo_id", "class_id", *BOX_COLUMNS)


def _keep_versions(annotations: pl.DataFrame, previous: pl.DataFrame) -> pl.DataFrame:
    """Photos labelled as before keep the class_map_version that they had.

    Names as labelled are compared, and files are not: nobody looks at a photo again for a merge or another export.
    """
    rows = pl.struct("class_name", *BOX_COLUMNS).sort().alias("rows")
    key = ["photo_id", "annotated_at"]
    before = previous.group_by(key).agg(rows, pl.col("class_map_version").min().alias("kept_version"))
    unchanged = (
        annotations.group_by(key)
        .agg(rows)
        .join(before, on=key, suffix="_before")
        .filter(pl.col("rows") == pl.col("rows_before"))
        .select("photo_id", "kept_version")
    )
    return (
        annotations.join(unchanged, on="photo_id", how="left", maintain_order="left")
        .with_columns(pl.coalesce("kept_version", "class_map_version").alias("class_map_version"))
        .select(ANNOTATIONS.names())
        .match_to_schema(ANNOTATIONS)
    )
