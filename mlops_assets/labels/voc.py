"""Pascal VOC XML, one file a photo, to a labelled photo.

Coordinates are taken as pixel edges, xmin / width and so on: common tools write them so, though the original
development kit counts pixels from 1 (host.robots.ox.ac.uk/pascal/VOC); the difference is below one pixel. Without a
size they are pixels of the upright photo.
"""

from pathlib import PurePosixPath
from xml.etree.ElementTree import Element  # only the type; defusedxml parses

from mlops_assets.labels.items import (
    Box,
    BoxError,
    LabelError,
    LabelledPhoto,
    LeftShapeError,
    ParsedLabels,
    ReadRules,
    class_name,
    number,
    photo_size,
)
from mlops_assets.labels.shapes import pixel_box, relative_box
from mlops_assets.labels.xml_text import text_of


def is_voc(root: Element) -> bool:
    """Whether parsed XML is Pascal VOC: LabelMe uses the same root but has no bndbox."""
    objects = root.findall("object")
    return (
        root.tag == "annotation"
        and root.find("filename") is not None
        and (not objects or any(element.find("bndbox") is not None for element in objects))
    )


def parse_voc(source: str, root: Element, rules: ReadRules) -> ParsedLabels:
    """Read one photo; a file without objects says that the photo was labelled as empty.

    Parts of an object, such as a person's head, are left out and counted.
    """
    parsed = ParsedLabels()
    objects = root.findall("object")
    reference = _reference(source, root)
    try:
        size = _size(root, reference)
    except LabelError as error:
        parsed.refuse(source, reference, error, reference)
        return parsed
    elements = [(f"object {position}", element) for position, element in enumerate(objects, 1)]
    photo = LabelledPhoto(source, reference, reference, size=size, in_pixels=size is None)
    parsed.add(photo, elements, lambda element: _box(element, size, rules.outside_tolerance))
    parts = sum(len(element.findall("part")) for element in objects)
    if parts:
        parsed.left["part"] += parts
    return parsed


def _size(root: Element, reference: str) -> tuple[float, float] | None:
    """Width and height; None where the file does not say, or says 0, as some tools do."""
    given = text_of(root, "size/width"), text_of(root, "size/height")
    return None if given in (("", ""), ("0", "0")) else photo_size(*given, reference)


def _reference(source: str, root: Element) -> str:
    file = text_of(root, "filename").replace("\\", "/") or PurePosixPath(source).stem
    folder = text_of(root, "folder").replace("\\", "/").rstrip("/")
    if not PurePosixPath(file).suffix:
        file += ".*"
    return f"{folder}/{file}" if folder and "/" not in file else file


def _box(element: Element, size: tuple[float, float] | None, tolerance: float) -> Box:
    bndbox = element.find("bndbox")
    if bndbox is None:
        if element.find("point") is not None:
            raise LeftShapeError("key points")
        raise BoxError("an object without bndbox", "draw a box around the object")
    left, top, right, bottom = (number(text_of(bndbox, side), side) for side in ("xmin", "ymin", "xmax", "ymax"))
    name = class_name(text_of(element, "name"))
    if size is None:
        return pixel_box(name, (left, top, right, bottom))
    return relative_box(name, (left, top, right, bottom), size, tolerance=tolerance)
