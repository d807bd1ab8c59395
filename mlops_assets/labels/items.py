"""What every label parser hands on: labelled photos with relative boxes, and problems in words.

The checks of numbers and names that all formats share are here too, geometry is in `shapes`. What is peculiar to one
format belongs in the module of that format; finding the photo belongs in `matching`.
"""

import datetime as dt
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

OUTSIDE_TOLERANCE = 0.02
"""Share of the photo by which a box may reach outside before it is refused, where the use case says nothing."""

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".heic", ".heif", ".avif", ".tif", ".tiff", ".bmp", ".mpo", ".gif")
"""How a reference to a photo ends; exports often carry the pictures beside the labels."""

MAX_NAME_LENGTH = 200
"""Characters; a longer class name is a sign of a damaged file."""

DRAWN_AS = ("box", "rotated_box", "polygon", "mask", "ellipse", "cuboid")
"""Shapes that become a box; of all but the first the box is what encloses them."""

Corners = tuple[float, float, float, float]
"""Left, top, right, bottom."""

_Element = TypeVar("_Element")


class Box(NamedTuple):
    """Class name as written, then centre and size, relative to the photo unless it says otherwise, and a DRAWN_AS."""

    class_name: str
    x: float
    y: float
    width: float
    height: float
    drawn_as: str = "box"


class LabelError(ValueError):
    """Something in a label file cannot be used; `remedy` tells a person what to do about it."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.remedy = remedy


class LabelFormatError(LabelError):
    """A whole label file cannot be used."""


class BoxError(LabelError):
    """One box cannot be used."""


class LeftShapeError(Exception):
    """A shape that is none of DRAWN_AS, such as a key point: counted under its name and left out."""

    def __init__(self, shape: str) -> None:
        super().__init__(shape)
        self.shape = shape


@dataclass(frozen=True, slots=True)
class ReadRules:
    """What a use case says about reading labels.

    Attributes:
        outside_tolerance: Share of the photo by which a box may reach outside; it is clipped then.
        yolo_class_names: Class names by index for YOLO labels that come without any.
    """

    outside_tolerance: float = OUTSIDE_TOLERANCE
    yolo_class_names: tuple[str, ...] = ()


@dataclass(slots=True)
class LabelledPhoto:
    """One photo as one label file describes it.

    Attributes:
        source: Path of the label file in the label drop, within an archive `<archive>/<member>`.
        item: Where in the file, for people.
        reference: The photo as the file names it: photo_id, `<enclosure_id>/<file>` or file; `.*` for any suffix.
        boxes: The usable boxes; none: labelled as empty.
        annotator: Who labelled, as far as the file says.
        annotated_at: When, UTC, as far as the file says.
        size: Width and height in pixels that the boxes were drawn on, as far as the file says.
        in_pixels: The boxes are in pixels of the upright photo, whose size the file does not say (`shapes.pixel_box`).
    """

    source: str
    item: str
    reference: str
    boxes: list[Box] = field(default_factory=list)
    annotator: str | None = None
    annotated_at: dt.datetime | None = None
    size: tuple[float, float] | None = None
    in_pixels: bool = False


@dataclass(frozen=True, slots=True)
class LabelProblem:
    """One row of the quarantine; `reference` is the photo that it is about, where there is one."""

    source: str
    item: str
    reason: str
    remedy: str
    reference: str | None = None


@dataclass(slots=True)
class ParsedLabels:
    """What one label file holds.

    Attributes:
        photos: Labelled photos; of several labellings of one photo the later one counts.
        problems: What could not be used.
        unlabelled: Entries that nobody has labelled yet, such as open tasks; no error.
        left: How many shapes of which kind were left out as they are no boxes, or the crowds of COCO; no error.
        class_names: Names that the file declares, in its order.
    """

    photos: list[LabelledPhoto] = field(default_factory=list)
    problems: list[LabelProblem] = field(default_factory=list)
    unlabelled: int = 0
    left: Counter[str] = field(default_factory=Counter)
    class_names: tuple[str, ...] = ()

    def add(
        self, photo: LabelledPhoto, elements: Iterable[tuple[str, _Element]], read: Callable[[_Element], Box]
    ) -> None:
        """Add a photo with the boxes of its (item, element) pairs.

        A photo of which every box is bad, or on which there are only shapes that are left out, is no empty photo: it is
        left out, with a problem of its own.

        Args:
            photo: Without boxes.
            elements: Item for people, and what `read` takes.
            read: Gives the box, or raises BoxError or LeftShapeError.
        """
        bad = 0
        left: Counter[str] = Counter()
        for item, element in elements:
            try:
                photo.boxes.append(read(element))
            except BoxError as error:
                bad += 1
                self.problems.append(LabelProblem(photo.source, item, str(error), error.remedy, photo.reference))
            except LeftShapeError as error:
                left[error.shape] += 1
        self.left.update(left)
        if photo.boxes or not (bad or left):
            self.photos.append(photo)
        else:
            self.problems.append(_no_box_left(photo, bad, left))

    def refuse(self, source: str, item: str, error: LabelError, reference: str | None = None) -> None:
        """Add a problem."""
        self.problems.append(LabelProblem(source, item, str(error), error.remedy, reference))


def _no_box_left(photo: LabelledPhoto, bad: int, left: Counter[str]) -> LabelProblem:
    if not left:
        reason = f"none of the {bad} boxes of {photo.reference} can be used"
        remedy = "correct the boxes, or delete them if the photo shows no equipment"
    else:
        others = ", ".join(f"{count} {shape}" for shape, count in sorted(left.items()))
        reason = f"{photo.reference} holds no boxes but {others}" + (f", and {bad} boxes that are bad" if bad else "")
        remedy = "draw boxes, polygons or masks, one an object; or delete the rest if the photo shows no equipment"
    return LabelProblem(photo.source, photo.item, reason, remedy, photo.reference)


def number(value: object, what: str) -> float:
    """Turn a number as JSON, XML or text has it into a float, which may be infinite or NaN.

    Raises:
        BoxError: Missing or no number.
    """
    kind = type(value)
    if kind is float:
        return value  # type: ignore[return-value]
    try:
        if kind is not int and (kind is not str or "_" in value):  # type: ignore[operator]
            raise TypeError
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise BoxError(f"{what} is {str(value)[:40]!r}, no number", "draw the box again and export again") from None


def class_name(value: object) -> str:
    """Check a class name.

    Raises:
        BoxError: Empty, no text, or longer than a name can be.
    """
    name = " ".join(value.split()) if isinstance(value, str) else ""
    if not name or len(name) > MAX_NAME_LENGTH or not (name.isascii() or _is_unicode(name)):
        raise BoxError(f"class name is {ascii(value)[:40]}", "give the box one of the class names")
    return name


def _is_unicode(text: str) -> bool:
    """Whether text can be written: YAML can hold halves of surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


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


def declared_names(names: Iterable[object]) -> tuple[str, ...]:
    """Class names as a file declares them, each once and trimmed; what is no name is passed over."""
    trimmed = (" ".join(name.split()) for name in names if isinstance(name, str))
    return tuple(dict.fromkeys(name for name in trimmed if name))


def moment(value: object) -> dt.datetime | None:
    """Read an ISO 8601 time as UTC (naive: UTC); None if there is none that can be read."""
    if not isinstance(value, str):
        return None
    try:
        parsed = dt.datetime.fromisoformat(value.strip())
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        return None


def points_of(values: Sequence[float]) -> list[tuple[float, float]]:
    """x1, y1, x2, y2 … as points.

    Raises:
        BoxError: An odd number of them.
    """
    if len(values) % 2:
        raise BoxError(f"a polygon of {len(values)} numbers", "draw the object again")
    return list(zip(values[::2], values[1::2], strict=True))
