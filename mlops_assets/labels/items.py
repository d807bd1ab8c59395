"""What every label parser hands on: labelled photos with relative boxes, and problems in words.

The geometry and number checks that all formats share are here too. What is peculiar to one format belongs in the
module of that format; finding the photo belongs in `matching`.
"""

import datetime as dt
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

OUTSIDE_TOLERANCE = 0.02
"""Share of the photo by which a box may reach outside before it is refused; annotation tools overshoot by a little."""

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".heic", ".heif", ".avif", ".tif", ".tiff", ".bmp", ".mpo", ".gif")
"""How a reference to a photo ends; exports often carry the pictures beside the labels."""

MAX_NAME_LENGTH = 200
"""Characters; a longer class name is a sign of a damaged file."""

Corners = tuple[float, float, float, float]
"""Left, top, right, bottom."""

Box = tuple[str, float, float, float, float]
"""Class name as written, then centre x, centre y, width and height relative to the photo."""

_Element = TypeVar("_Element")


class LabelError(ValueError):
    """Something in a label file cannot be used; `remedy` tells a person what to do about it."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.remedy = remedy


class LabelFormatError(LabelError):
    """A whole label file cannot be used."""


class BoxError(LabelError):
    """One box cannot be used."""


@dataclass(frozen=True, slots=True)
class LabelledPhoto:
    """One photo as one label file describes it.

    Attributes:
        source: Path of the label file in the label drop.
        item: Where in the file, for people.
        reference: The photo as the file names it: photo_id, `<enclosure_id>/<file>` or file; `.*` for any suffix.
        boxes: The usable boxes; none: labelled as empty.
        annotator: Who labelled, as far as the file says.
        annotated_at: When, UTC, as far as the file says.
        class_names: Names that the file declares, in its order.
        size: Width and height in pixels that the boxes were drawn on, as far as the file says.
    """

    source: str
    item: str
    reference: str
    boxes: tuple[Box, ...]
    annotator: str | None = None
    annotated_at: dt.datetime | None = None
    class_names: tuple[str, ...] = ()
    size: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class LabelProblem:
    """One row of the quarantine."""

    source: str
    item: str
    reason: str
    remedy: str


@dataclass(slots=True)
class ParsedLabels:
    """What one label file holds.

    Attributes:
        photos: Labelled photos.
        problems: What could not be used.
        unlabelled: Entries that nobody has labelled yet, such as open tasks; no error.
    """

    photos: list[LabelledPhoto] = field(default_factory=list)
    problems: list[LabelProblem] = field(default_factory=list)
    unlabelled: int = 0

    def add(self, photo: LabelledPhoto, problems: Sequence[LabelProblem]) -> None:
        """Add a photo and its bad boxes; a photo of which every box is bad is no empty photo and is left out."""
        self.problems.extend(problems)
        if photo.boxes or not problems:
            self.photos.append(photo)
            return
        self.problems.append(
            LabelProblem(
                photo.source,
                photo.item,
                f"none of the {len(problems)} boxes of {photo.reference} can be used",
                "correct the boxes, or delete them if the photo shows no equipment",
            )
        )


def read_boxes(
    source: str, elements: Iterable[tuple[str, _Element]], read: Callable[[_Element], Box]
) -> tuple[tuple[Box, ...], list[LabelProblem]]:
    """Read each (item, element) with `read`, which raises BoxError for a bad one."""
    boxes: list[Box] = []
    problems: list[LabelProblem] = []
    for item, element in elements:
        try:
            boxes.append(read(element))
        except BoxError as error:
            problems.append(LabelProblem(source, item, str(error), error.remedy))
    return tuple(boxes), problems


def number(value: object, what: str) -> float:
    """Turn a number as JSON, XML or text has it into a float, which may be infinite or NaN.

    Raises:
        BoxError: Missing or no number.
    """
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise BoxError(f"{what} is {str(value)[:40]!r}, no number", "draw the box again and export again") from None


def class_name(value: object) -> str:
    """Check a class name.

    Raises:
        BoxError: Empty, no text, or longer than a name can be.
    """
    name = " ".join(value.split()) if isinstance(value, str) else ""
    if not name or len(name) > MAX_NAME_LENGTH:
        raise BoxError(f"class name is {str(value)[:40]!r}", "give the box one of the class names")
    return name


def photo_size(width: object, height: object, item: str) -> tuple[float, float]:
    """Width and height in pixels.

    Raises:
        LabelError: Missing, not positive or no number.
    """
    remedy = "export again with the size of each image"
    try:
        size = number(width, "width"), number(height, "height")
    except BoxError as error:
        raise LabelError(f"{item} has no image size: {error}", remedy) from None
    if not all(math.isfinite(side) and side > 0 for side in size):
        raise LabelError(f"{item} has the image size {size[0]:g} x {size[1]:g}", remedy)
    return size


def relative_box(name: str, corners: Corners, size: tuple[float, float] = (1.0, 1.0)) -> Box:
    """Check corners in units of `size` and make them centre and size, relative and clipped to the photo.

    Raises:
        BoxError: Not finite, swapped, without area, or outside by more than OUTSIDE_TOLERANCE.
    """
    if not all(map(math.isfinite, corners)):
        raise BoxError("a coordinate is not finite", "draw the box again")
    left, right = corners[0] / size[0], corners[2] / size[0]
    top, bottom = corners[1] / size[1], corners[3] / size[1]
    if right < left or bottom < top:
        raise BoxError("its corners are swapped", "give left before right and top before bottom")
    if min(left, top) < -OUTSIDE_TOLERANCE or max(right, bottom) > 1 + OUTSIDE_TOLERANCE:
        raise BoxError(
            f"it reaches outside the photo by more than {OUTSIDE_TOLERANCE:.0%}",
            "draw the box within the photo, and check that the label is of this photo",
        )
    left, top, right, bottom = max(left, 0.0), max(top, 0.0), min(right, 1.0), min(bottom, 1.0)
    if right - left <= 0 or bottom - top <= 0:
        raise BoxError("it has no area", "delete the box or draw it again")
    return name, (left + right) / 2, (top + bottom) / 2, right - left, bottom - top


def rotated_bounds(left: float, top: float, width: float, height: float, degrees: float, *, centre: bool) -> Corners:
    """Upright bounds of a rectangle turned clockwise about its centre, or else about its top left corner."""
    if not math.isfinite(degrees):
        raise BoxError("its rotation is not finite", "draw the box again")
    pivot = (left + width / 2, top + height / 2) if centre else (left, top)
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turned = [
        (
            pivot[0] + (x - pivot[0]) * cosine - (y - pivot[1]) * sine,
            pivot[1] + (x - pivot[0]) * sine + (y - pivot[1]) * cosine,
        )
        for x in (left, left + width)
        for y in (top, top + height)
    ]
    return polygon_bounds(turned)


def polygon_bounds(points: Sequence[tuple[float, float]]) -> Corners:
    """Upright bounds of a polygon.

    Raises:
        BoxError: Fewer than three points.
    """
    if len(points) < 3:
        raise BoxError(f"a polygon of {len(points)} points", "draw the box again")
    xs, ys = [point[0] for point in points], [point[1] for point in points]
    if any(map(math.isnan, (*xs, *ys))):
        raise BoxError("a coordinate is not finite", "draw the box again")
    return min(xs), min(ys), max(xs), max(ys)


def moment(value: object) -> dt.datetime | None:
    """Read an ISO 8601 time as UTC (naive: UTC); None if there is none that can be read."""
    if not isinstance(value, str):
        return None
    try:
        parsed = dt.datetime.fromisoformat(value.strip())
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        return None
