"""YOLO text labels, one file a photo, and the files that name their classes.

A line is `class x_centre y_centre width height`, relative (docs.ultralytics.com/datasets/detect); more coordinates
are the corners of a polygon or oriented box, of which the bounds are taken. Only the stem of the photo's name is known.
Oriented boxes may also be DOTA's lines, pixels with the class name at the end.
"""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

import yaml

from mlops_assets.labels.items import (
    IMAGE_SUFFIXES,
    Box,
    BoxError,
    LabelFormatError,
    LabelledPhoto,
    ParsedLabels,
    ReadRules,
    class_name,
    number,
    points_of,
)
from mlops_assets.labels.shapes import pixel_box, polygon_bounds, relative_box, shape_of

NAMES_REMEDY = (
    "put classes.txt, obj.names or data.yaml with the class names beside the labels or in a folder above, or give them "
    "as labels.yolo_class_names in the use case"
)


def is_names_file(file_name: str) -> bool:
    """Whether a file of this name lists class names (or, as YAML, may)."""
    lowered = file_name.lower()
    return lowered == "classes.txt" or lowered.endswith((".names", ".yaml", ".yml"))


def read_class_names(file_name: str, content: bytes) -> dict[int, str] | None:
    """Read index to name from classes.txt, *.names or the `names` of a YAML file; None for YAML without names.

    Raises:
        LabelFormatError: Unreadable, or names that are none.
    """
    remedy = f"correct {PurePosixPath(file_name).name}"
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LabelFormatError(f"{file_name} is no UTF-8 text", remedy) from error
    if not file_name.lower().endswith((".yaml", ".yml")):
        try:
            return {index: class_name(line) for index, line in enumerate(text.splitlines()) if line.strip()}
        except BoxError as error:
            raise LabelFormatError(f"{file_name}: {error}", remedy) from error
    try:
        parsed = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise LabelFormatError(f"{file_name} is no valid YAML", remedy) from error
    names = parsed.get("names") if isinstance(parsed, dict) else None
    if names is None:
        return None
    if parsed.get("kpt_shape"):
        # A line of a box and key points cannot be told from one of a polygon.
        raise LabelFormatError(f"{file_name} says that the labels hold key points", "export the boxes without them")
    pairs = (
        names.items() if isinstance(names, dict) else enumerate(names) if isinstance(names, list) else [(None, None)]
    )
    try:
        return {_index(key): class_name(str(name)) for key, name in pairs}
    except BoxError as error:
        raise LabelFormatError(f"`names` of {file_name}: {error}", remedy) from error


def parse_yolo(
    source: str, content: bytes, names: Mapping[int, str] | LabelFormatError, rules: ReadRules
) -> ParsedLabels:
    """Read one label file; an empty one says that the photo was labelled as empty.

    Args:
        source: Path of the file in the label drop; its stem names the photo, its folder may name the enclosure.
        content: The file's bytes.
        names: Class names by index, or why there are none.
        rules: How to read.

    Raises:
        LabelFormatError: Not YOLO text, or without class names.
    """
    lines = _lines(content)
    if lines and all(line.lower().endswith(IMAGE_SUFFIXES) for _, line in lines):
        return ParsedLabels()  # a list of photos, as train.txt is: part of the format, no labels
    fields = [(f"line {line_no}", line.split()) for line_no, line in lines]
    numbers = [(item, _numbers(texts)) for item, texts in fields]
    if lines and all(_is_dota(texts) for _, texts in fields):
        return _parse_dota(source, fields)
    if any(len(values) < 5 for _, values in numbers):
        raise LabelFormatError(
            "neither YOLO labels nor another known format", "remove the file, or export the labels in a known format"
        )
    if isinstance(names, LabelFormatError):
        raise names
    parsed = ParsedLabels(class_names=tuple(names[index] for index in sorted(names)))
    tolerance = rules.outside_tolerance
    parsed.add(_photo(source), numbers, lambda values: _box(values, names, tolerance))
    return parsed


def _photo(source: str) -> LabelledPhoto:
    folders, _, file_name = source.rpartition("/")
    stem = PurePosixPath(file_name).stem
    reference = "/".join([*folders.split("/")[-2:], f"{stem}.*"]) if folders else f"{stem}.*"
    return LabelledPhoto(source, file_name, reference)


def _lines(content: bytes) -> list[tuple[int, str]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LabelFormatError("no UTF-8 text", "export the labels again in a known format") from error
    return [(line_no, line.strip()) for line_no, line in enumerate(text.splitlines(), 1) if line.strip()]


def _numbers(texts: Sequence[str]) -> list[float]:
    """A line's numbers, or none at all where one of its fields is no number."""
    try:
        return [] if any("_" in text for text in texts) else list(map(float, texts))
    except ValueError:
        return []


def _is_dota(texts: Sequence[str]) -> bool:
    """Whether a line is x1 y1 … x4 y4 class difficulty, as DOTA's labels and Roboflow's oriented boxes are."""
    return len(texts) == 10 and len(_numbers(texts[:8])) == 8 and not _numbers(texts[8:9])


def _parse_dota(source: str, lines: Sequence[tuple[str, list[str]]]) -> ParsedLabels:
    """Oriented boxes in pixels of the upright photo, with their class names (captain-whu.github.io/DOTA/dataset)."""

    def read(texts: Sequence[str]) -> Box:
        points = points_of(_numbers(texts[:8]))
        return pixel_box(class_name(texts[8]), polygon_bounds(points), drawn_as=shape_of(points))

    parsed = ParsedLabels()
    photo = _photo(source)
    photo.in_pixels = True
    parsed.add(photo, lines, read)
    return parsed


def _box(values: Sequence[float], names: Mapping[int, str], tolerance: float) -> Box:
    name = names.get(int(values[0])) if values[0].is_integer() else None
    if name is None:
        index = _index(values[0])
        raise BoxError(f"class {index} is not among the {len(names)} class names", NAMES_REMEDY)
    if len(values) == 5:
        _, x, y, width, height = values
        corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        return relative_box(name, corners, tolerance=tolerance)
    if len(values) == 6:
        raise BoxError("a sixth number, as model output has its confidence", "label by hand, or remove the confidences")
    points = points_of(values[1:])
    return relative_box(name, polygon_bounds(points), tolerance=tolerance, drawn_as=shape_of(points))


def _index(value: object) -> int:
    index = number(value, "class index")
    if not index.is_integer() or index < 0:
        raise BoxError(f"class index {str(value)[:40]} is no whole number from 0", "export the labels again")
    return int(index)
