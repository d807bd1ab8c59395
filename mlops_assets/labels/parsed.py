"""What label files hold as columns, and as the one table in which it is kept from import to import.

The table has five kinds of rows, told by `row`: `file` (what was read, and by what), `names` (class names that files
declare), `photo`, `box` and `problem`. One table, so that it is written whole or not at all.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import chain, repeat

import polars as pl

from mlops_assets.boxes import BOX_COLUMNS
from mlops_assets.labels.items import Box, LabelledPhoto, LabelProblem, ParsedLabels
from mlops_assets.labels.schema import PARSED_LABELS


def _part(*columns: str) -> pl.Schema:
    return pl.Schema({column: PARSED_LABELS[column] for column in columns})


KEY = ("source", "byte_size", "modified_at", "etag", "read_by")
"""By which a file is known to be as it was when it was read, by the same code and settings."""

FILES = _part("file_id", *KEY, "unlabelled", "left", "names_key", "rows")
"""`left` is a JSON object of counts by shape or null; `rows` counts the photos, boxes and problems."""
NAMES = _part("names_key", "names")
PHOTOS = _part(
    "file_id", "photo", "source", "item", "reference", "annotator", "annotated_at", "width", "height", "in_pixels"
)
BOXES = _part("file_id", "photo", "class_name", *BOX_COLUMNS, "drawn_as")
PROBLEMS = _part("file_id", "source", "item", "reason", "remedy", "reference")

_PHOTO_ROWS = 50_000
"""Photos, with their boxes, that are held as Python objects before they become columns."""


@dataclass(frozen=True)
class Parsed:
    """Five tables of the schemas above; boxes belong to a photo by `photo`, all but names to a file by `file_id`."""

    files: pl.DataFrame
    names: pl.DataFrame
    photos: pl.DataFrame
    boxes: pl.DataFrame
    problems: pl.DataFrame

    @classmethod
    def empty(cls) -> "Parsed":
        """No files."""
        return cls(*(pl.DataFrame(schema=schema) for schema in (FILES, NAMES, PHOTOS, BOXES, PROBLEMS)))

    @classmethod
    def of_table(cls, table: pl.DataFrame) -> "Parsed":
        """From PARSED_LABELS; files of which rows are missing are left out, as if they had not been read."""

        def rows(kind: str, schema: pl.Schema) -> pl.DataFrame:
            return table.filter(pl.col("row") == kind).select(schema.names())

        parsed = cls(
            rows("file", FILES),
            rows("names", NAMES),
            rows("photo", PHOTOS),
            rows("box", BOXES),
            rows("problem", PROBLEMS),
        )
        held = pl.concat(part.select("file_id") for part in (parsed.photos, parsed.boxes, parsed.problems))
        counted = held.group_by("file_id").agg(pl.len().alias("held"))
        complete = parsed.files.join(counted, on="file_id", how="left").filter(
            pl.col("rows") == pl.col("held").fill_null(0)
        )
        return parsed.only(complete["file_id"])

    def table(self) -> pl.DataFrame:
        """As PARSED_LABELS."""
        named = zip(("file", "names", "photo", "box", "problem"), self._frames(), strict=True)
        frames = [frame.with_columns(row=pl.lit(kind)) for kind, frame in named]
        return pl.concat([PARSED_LABELS.to_frame(), *frames], how="diagonal")

    def only(self, file_ids: pl.Series) -> "Parsed":
        """Of some files."""
        if self.files.height == len(file_ids):
            return self
        wanted = pl.DataFrame({"file_id": file_ids})
        files = self.files.join(wanted, on="file_id", how="semi")
        return Parsed(
            files,
            self.names.join(files, on="names_key", how="semi"),
            *(
                frame.join(wanted, on="file_id", how="semi", maintain_order="left")
                for frame in (self.photos, self.boxes, self.problems)
            ),
        )

    def with_more(self, more: "Parsed") -> "Parsed":
        """Together with other files, whose numbers are changed to be free ones."""
        if self.files.is_empty() or more.files.is_empty():
            return more if self.files.is_empty() else self
        shifts = {"file_id": _next(self.files, "file_id"), "photo": _next(self.photos, "photo")}

        def shifted(frame: pl.DataFrame) -> pl.DataFrame:
            return frame.with_columns(pl.col(c) + by for c, by in shifts.items() if c in frame.columns)

        own, others = self._frames(), more._frames()
        files, names, *rest = (pl.concat([mine, shifted(theirs)]) for mine, theirs in zip(own, others, strict=True))
        return Parsed(files, names.unique("names_key", keep="first", maintain_order=True), *rest)

    def _frames(self) -> tuple[pl.DataFrame, ...]:
        return tuple(getattr(self, each.name) for each in fields(self))


class Collector:
    """Takes what parsers give, file after file, and makes columns of it."""

    def __init__(self) -> None:
        self._files: list[tuple[object, ...]] = []
        self._names: dict[tuple[str, ...], str] = {}
        self._photos: list[LabelledPhoto] = []
        self._photo_files: list[int] = []
        self._problems: list[LabelProblem] = []
        self._problem_files: list[int] = []
        self._done: list[tuple[pl.DataFrame, pl.DataFrame]] = []
        self._photo_count = 0

    def add(self, key: tuple[object, ...], members: Iterable[ParsedLabels]) -> None:
        """Add a file.

        Args:
            key: Values of KEY.
            members: What it holds; of an archive, member by member.
        """
        file_id, rows, unlabelled = len(self._files), 0, 0
        left: dict[str, int] = {}
        declared: dict[str, None] = {}
        for labels in members:
            rows += len(labels.photos) + len(labels.problems) + sum(len(photo.boxes) for photo in labels.photos)
            unlabelled += labels.unlabelled
            declared.update(dict.fromkeys(labels.class_names))
            for shape, count in labels.left.items():
                left[shape] = left.get(shape, 0) + count
            self._photos += labels.photos
            self._photo_files += [file_id] * len(labels.photos)
            self._problems += labels.problems
            self._problem_files += [file_id] * len(labels.problems)
            if len(self._photos) >= _PHOTO_ROWS:
                self._flush()
        names = tuple(declared)
        if names not in self._names:
            self._names[names] = hashlib.sha256(json.dumps(names).encode()).hexdigest()[:16]
        said_left = json.dumps(left) if left else None
        self._files.append((file_id, *key, unlabelled, said_left, self._names[names], rows))

    def parsed(self) -> Parsed:
        """All that was added."""
        self._flush()
        names = {"names_key": list(self._names.values()), "names": [list(names) for names in self._names]}
        photos, boxes = zip(*self._done, strict=True)
        return Parsed(
            pl.DataFrame(self._files, schema=FILES, orient="row"),
            pl.DataFrame(names, schema=NAMES),
            pl.concat(photos),
            pl.concat(boxes),
            _frame(PROBLEMS, self._problem_files, *_attributes(self._problems, PROBLEMS.names()[1:])),
        )

    def _flush(self) -> None:
        photos, first = self._photos, self._photo_count
        numbers = range(first, first + len(photos))
        sizes = [photo.size or (None, None) for photo in photos]
        photo_columns = _attributes(photos, ("source", "item", "reference", "annotator", "annotated_at"))
        in_pixels = [photo.in_pixels for photo in photos]
        counts = [len(photo.boxes) for photo in photos]
        boxes = [box for photo in photos for box in photo.boxes]
        box_columns = list(zip(*boxes, strict=True)) if boxes else [()] * len(Box._fields)
        self._done.append(
            (
                _frame(PHOTOS, self._photo_files, numbers, *photo_columns, *zip(*sizes, strict=True), in_pixels)
                if photos
                else PHOTOS.to_frame(),
                _frame(BOXES, _repeated(self._photo_files, counts), _repeated(numbers, counts), *box_columns),
            )
        )
        self._photo_count += len(photos)
        self._photos, self._photo_files = [], []


def _attributes(values: Sequence[object], names: Iterable[str]) -> list[list[object]]:
    return [[getattr(value, name) for value in values] for name in names]


def _repeated(values: Sequence[int], counts: Sequence[int]) -> list[int]:
    return list(chain.from_iterable(map(repeat, values, counts)))


def _frame(schema: pl.Schema, *columns: Sequence[object]) -> pl.DataFrame:
    named = zip(schema.items(), columns, strict=True)
    return pl.DataFrame([pl.Series(name, values, dtype=dtype) for (name, dtype), values in named])


def _next(frame: pl.DataFrame, column: str) -> int:
    return 0 if frame.is_empty() else int(frame[column].max()) + 1  # type: ignore[arg-type]
