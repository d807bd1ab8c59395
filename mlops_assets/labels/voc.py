"""Pascal VOC XML, one file a photo, to a labelled photo.

Coordinates are taken as pixel edges, xmin / width and so on: common tools write them so, though the original
development kit counts pixels from 1 (host.robots.ox.ac.uk/pascal/VOC); the difference is below one pixel.
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
from mlops_assets.labels.shapes import relative_box
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
        size = photo_size(text_of(root, "size/width"), text_of(root, "size/height"), reference) if objects else None
    except LabelError as error:
        parsed.refuse(source, reference, error, reference)
        return parsed

    def read(element: Element) -> Box:
        if size is None:
            raise BoxError("no image size", "export again with the size of each image")
        return _box(element, size, rules.outside_tolerance)

    elements = [(f"object {position}", element) for position, element in enumerate(objects, 1)]
    parsed.add(LabelledPhoto(source, reference, reference, size=size), elements, read)
    parts = sum(len(element.findall("part")) for element in objects)
    if parts:
        parsed.left["part"] += parts
    return parsed


def _reference(source: str, root: Element) -> str:
    file = text_of(root, "filename").replace("\\", "/") or PurePosixPath(source).stem
    folder = text_of(root, "folder").replace("\\", "/").rstrip("/")
    if not PurePosixPath(file).suffix:
        file += ".*"
    return f"{folder}/{file}" if folder and "/" not in file else file


def _box(element: Element, size: tuple[float, float], tolerance: float) -> Box:
    bndbox = element.find("bndbox")
    if bndbox is None:
        if element.find("point") is not None:
            raise LeftShapeError("key points")
        raise BoxError("an object without bndbox", "draw a box around the object")
    left, top, right, bottom = (number(text_of(bndbox, side), side) for side in ("xmin", "ymin", "xmax", "ymax"))
    return relative_box(class_name(text_of(element, "name")), (left, top, right, bottom), size, tolerance=tolerance)
