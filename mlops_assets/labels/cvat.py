"""CVAT for images 1.1 XML (docs.cvat.ai, "CVAT for image") to labelled photos; video exports are refused."""

from xml.etree.ElementTree import Element  # only the type; defusedxml parses

from mlops_assets.labels.items import (
    Box,
    BoxError,
    LabelError,
    LabelFormatError,
    LabelledPhoto,
    LabelProblem,
    ParsedLabels,
    class_name,
    moment,
    number,
    photo_size,
    polygon_bounds,
    read_boxes,
    relative_box,
    rotated_bounds,
)
from mlops_assets.labels.xml_text import text_of

_NO_SHAPES = ("tag", "attribute")


def is_cvat(root: Element) -> bool:
    """Whether parsed XML is a CVAT export of images or of a video."""
    return root.tag == "annotations" and (root.find("image") is not None or root.find("track") is not None)


def parse_cvat(source: str, root: Element) -> ParsedLabels:
    """Read images; one without shapes was labelled as empty. A polygon gives its bounds.

    Raises:
        LabelFormatError: A video export.
    """
    if root.find("track") is not None:
        raise LabelFormatError("a CVAT export of a video", "export the task as CVAT for images 1.1")
    meta = root.find("meta")
    names = (
        () if meta is None else tuple(n.strip() for e in meta.iterfind(".//label/name") if (n := e.text) and n.strip())
    )
    parsed = ParsedLabels()
    for position, image in enumerate(root.findall("image")):
        item = f"image {image.get('id', position)}"
        try:
            photo, problems = _photo(source, item, image, root, tuple(dict.fromkeys(names)))
        except LabelError as error:
            parsed.problems.append(LabelProblem(source, item, str(error), error.remedy))
        else:
            parsed.add(photo, problems)
    return parsed


def _photo(
    source: str, item: str, image: Element, root: Element, names: tuple[str, ...]
) -> tuple[LabelledPhoto, list[LabelProblem]]:
    reference = (image.get("name") or "").strip()
    if not reference:
        raise LabelError(f"{item} has no name", "export again with the name of each image")
    size = photo_size(image.get("width"), image.get("height"), item)
    shapes = [shape for shape in image if shape.tag not in _NO_SHAPES]
    elements = [(f"{item}, {shape.tag} {position}", shape) for position, shape in enumerate(shapes, 1)]
    boxes, problems = read_boxes(source, elements, lambda shape: _box(shape, size))
    photo = LabelledPhoto(
        source,
        item,
        reference,
        boxes,
        annotator=_first_text(root, "meta/task/assignee/username", "meta/task/owner/username"),
        annotated_at=moment(_first_text(root, "meta/dumped", "meta/task/updated", "meta/project/updated")),
        class_names=names,
        size=size,
    )
    return photo, problems


def _first_text(root: Element, *paths: str) -> str | None:
    return next((text for path in paths if (text := text_of(root, path))), None)


def _box(shape: Element, size: tuple[float, float]) -> Box:
    name = class_name(shape.get("label"))
    if shape.tag == "polygon":
        return relative_box(
            name, polygon_bounds([_point(text) for text in (shape.get("points") or "").split(";")]), size
        )
    if shape.tag != "box":
        raise BoxError(f"a {shape.tag} has no box", "draw a rectangle around the object")
    left, top, right, bottom = (number(shape.get(side), side) for side in ("xtl", "ytl", "xbr", "ybr"))
    turned = number(shape.get("rotation", "0"), "rotation")
    if turned:
        return relative_box(name, rotated_bounds(left, top, right - left, bottom - top, turned, centre=True), size)
    return relative_box(name, (left, top, right, bottom), size)


def _point(text: str) -> tuple[float, float]:
    x, separator, y = text.partition(",")
    if not separator:
        raise BoxError(f"{text[:40]!r} is no point", "draw the polygon again")
    return number(x, "x"), number(y, "y")
