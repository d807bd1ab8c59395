"""COCO object detection JSON (cocodataset.org/#format-data) to labelled photos.

A box is taken from `bbox`, which the format asks for; only without it from the segmentation. What the segmentation is
says how the object was drawn. Crowds are left out and counted, as are key points.
"""

from collections import defaultdict
from typing import Any

from mlops_assets.labels.items import (
    Box,
    BoxError,
    Corners,
    LabelError,
    LabelFormatError,
    LabelledPhoto,
    LeftShapeError,
    ParsedLabels,
    ReadRules,
    class_name,
    declared_names,
    number,
    photo_size,
    points_of,
)
from mlops_assets.labels.json_text import objects
from mlops_assets.labels.masks import coco_mask_bounds
from mlops_assets.labels.shapes import polygon_bounds, relative_box, shape_of

_Annotations = list[tuple[str, dict[str, Any]]]


def is_coco(content: object) -> bool:
    """Whether parsed JSON is a COCO data set (and no list of detection results)."""
    return isinstance(content, dict) and all(isinstance(content.get(key), list) for key in ("images", "annotations"))


def parse_coco(source: str, content: dict[str, Any], rules: ReadRules) -> ParsedLabels:
    """Read images with their boxes; an image without annotations was labelled as empty.

    Ids are compared as text, since some exports mix numbers and text. An id that two pictures share says nothing: both
    are refused. A picture that is listed several times is one photo with the boxes of all its entries, equal ones once.

    Raises:
        LabelFormatError: A list holds something else than objects.
    """
    categories = _categories(content)
    by_image: dict[str, _Annotations] = defaultdict(list)
    for annotation in objects(content["annotations"], "annotations"):
        by_image[_key(annotation.get("image_id"))].append((f"annotation {annotation.get('id')}", annotation))

    parsed = ParsedLabels(class_names=declared_names(categories.values()))
    for reference, entries in _pictures(source, content, parsed).items():
        item = f"image {entries[0].get('id')}"
        try:
            size = _common_size(entries, item)
        except LabelError as error:
            parsed.refuse(source, item, error, reference)
        else:
            annotations = [pair for key in dict.fromkeys(_key(e.get("id")) for e in entries) for pair in by_image[key]]
            photo = LabelledPhoto(source, item, reference, size=size)
            reader = _Reader(categories, size, rules.outside_tolerance)
            parsed.add(photo, annotations, reader.box)
            parsed.left["key points"] += sum(_has_key_points(annotation) for _, annotation in annotations)
            if len(entries) > 1:
                photo.boxes = list(dict.fromkeys(photo.boxes))
    parsed.left = +parsed.left
    _refuse_orphans(source, content, by_image, parsed)
    return parsed


def _key(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _categories(content: dict[str, Any]) -> dict[str, object]:
    names: dict[str, object] = {}
    for category in objects(content.get("categories", []), "categories"):
        key, name = _key(category.get("id")), category.get("name")
        if names.setdefault(key, name) != name:
            raise LabelFormatError(
                f"category {key[:40]} has two names, {str(names[key])[:40]!r} and {str(name)[:40]!r}",
                "give each category an id of its own",
            )
    return names


def _pictures(source: str, content: dict[str, Any], parsed: ParsedLabels) -> dict[str, list[dict[str, Any]]]:
    """Entries of `images` by file_name; those that cannot be used are refused."""
    names: dict[str, set[str]] = defaultdict(set)
    usable: list[tuple[str, str, dict[str, Any]]] = []
    for image in objects(content["images"], "images"):
        key, name = _key(image.get("id")), image.get("file_name")
        if isinstance(name, str) and name.strip():
            names[key].add(name)
            usable.append((key, name, image))
        else:
            error = LabelError(f"image {key[:40]} has no file_name", "export again with the name of each image")
            parsed.refuse(source, f"image {key[:40]}", error)
    pictures: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for key, name, image in usable:
        if len(names[key]) == 1:
            pictures[name].append(image)
            continue
        error = LabelError(f"{len(names[key])} images have the id {key[:40]}", "give each image an id of its own")
        parsed.refuse(source, f"image {key[:40]}", error, name)
    return pictures


def _common_size(entries: list[dict[str, Any]], item: str) -> tuple[float, float]:
    sizes = {photo_size(entry.get("width"), entry.get("height"), item) for entry in entries}
    if len(sizes) > 1:
        raise LabelError(f"{item} is listed {len(entries)} times with different sizes", "list each image once")
    return sizes.pop()


def _has_key_points(annotation: dict[str, Any]) -> bool:
    points = annotation.get("keypoints")
    return isinstance(points, list) and bool(points)


class _Reader:
    """Boxes of one photo."""

    def __init__(self, categories: dict[str, object], size: tuple[float, float], tolerance: float) -> None:
        self._categories = categories
        self._size = size
        self._tolerance = tolerance

    def box(self, annotation: dict[str, Any]) -> Box:
        if annotation.get("iscrowd") in (1, True, "1", "true"):
            raise LeftShapeError("crowd")
        key = _key(annotation.get("category_id"))
        if key not in self._categories:
            raise BoxError(f"category {key[:40]} is not declared", "add it to the categories of the file")
        name = class_name(self._categories[key])
        bbox, segmentation = annotation.get("bbox"), annotation.get("segmentation")
        drawn_as = "box" if not segmentation else _drawn_as(segmentation)
        if isinstance(bbox, list) and len(bbox) == 4:
            left, top, width, height = (number(value, "bbox") for value in bbox)
            corners: Corners = (left, top, left + width, top + height)
        elif segmentation:
            corners = _segmentation_bounds(segmentation)
        elif _has_key_points(annotation):
            raise LeftShapeError("key points without a box")
        else:
            raise BoxError("no bbox of four numbers", "draw a box around the object")
        return relative_box(name, corners, self._size, tolerance=self._tolerance, drawn_as=drawn_as)


def _drawn_as(segmentation: object) -> str:
    if isinstance(segmentation, dict):
        return "mask"
    if not (isinstance(segmentation, list) and len(segmentation) == 1):
        return "polygon"
    try:
        return shape_of(_polygon(segmentation[0]))
    except BoxError:  # there is a bbox, or the polygon is looked at again and refused
        return "polygon"


def _segmentation_bounds(segmentation: object) -> Corners:
    if isinstance(segmentation, dict):
        return coco_mask_bounds(segmentation)
    if not isinstance(segmentation, list):
        raise BoxError("neither a bbox of four numbers nor a segmentation", "draw a box around the object")
    bounds = [polygon_bounds(_polygon(part)) for part in segmentation]
    return (
        min(each[0] for each in bounds),
        min(each[1] for each in bounds),
        max(each[2] for each in bounds),
        max(each[3] for each in bounds),
    )


def _polygon(part: object) -> list[tuple[float, float]]:
    if not isinstance(part, list):
        raise BoxError("a polygon that is no list of numbers", "draw the object again")
    return points_of([number(value, "segmentation") for value in part])


def _refuse_orphans(
    source: str, content: dict[str, Any], by_image: dict[str, _Annotations], parsed: ParsedLabels
) -> None:
    listed = {_key(image.get("id")) for image in content["images"]}
    for image_id, annotations in by_image.items():
        if image_id not in listed and annotations:
            error = LabelError(
                f"{len(annotations)} annotations of an image that the file does not list",
                "add the image to the images of the file",
            )
            parsed.refuse(source, f"image {image_id[:40]}", error)
