"""COCO object detection JSON (cocodataset.org/#format-data) to labelled photos."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from mlops_assets.labels.items import (
    Box,
    BoxError,
    LabelError,
    LabelledPhoto,
    LabelProblem,
    ParsedLabels,
    class_name,
    number,
    photo_size,
    read_boxes,
    relative_box,
)
from mlops_assets.labels.json_text import objects


def is_coco(content: object) -> bool:
    """Whether parsed JSON is a COCO data set (and no list of detection results)."""
    return isinstance(content, dict) and all(isinstance(content.get(key), list) for key in ("images", "annotations"))


def parse_coco(source: str, content: dict[str, Any]) -> ParsedLabels:
    """Read images with their boxes; an image without annotations was labelled as empty.

    Ids are compared as text, since some exports mix numbers and text.

    Raises:
        LabelFormatError: A list holds something else than objects.
    """
    categories = {str(c.get("id")): c.get("name") for c in objects(content.get("categories", []), "categories")}
    names = tuple(name for name in categories.values() if isinstance(name, str) and name.strip())
    by_image: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    for annotation in objects(content["annotations"], "annotations"):
        by_image[str(annotation.get("image_id"))].append((f"annotation {annotation.get('id')}", annotation))

    parsed = ParsedLabels()
    for image in objects(content["images"], "images"):
        item = f"image {image.get('id')}"
        annotations = by_image.pop(str(image.get("id")), [])
        try:
            photo, problems = _photo(source, item, image, annotations, categories, names)
        except LabelError as error:
            parsed.problems.append(LabelProblem(source, item, str(error), error.remedy))
        else:
            parsed.add(photo, problems)
    parsed.problems.extend(_orphans(source, by_image))
    return parsed


def _photo(
    source: str,
    item: str,
    image: dict[str, Any],
    annotations: list[tuple[str, dict[str, Any]]],
    categories: dict[str, Any],
    names: tuple[str, ...],
) -> tuple[LabelledPhoto, list[LabelProblem]]:
    reference = image.get("file_name")
    if not isinstance(reference, str) or not reference.strip():
        raise LabelError(f"{item} has no file_name", "export again with the name of each image")
    size = photo_size(image.get("width"), image.get("height"), item)
    boxes, problems = read_boxes(source, annotations, lambda annotation: _box(annotation, categories, size))
    return LabelledPhoto(source, item, reference, boxes, class_names=names, size=size), problems


def _box(annotation: dict[str, Any], categories: dict[str, Any], size: tuple[float, float]) -> Box:
    if annotation.get("iscrowd") in (1, True, "1"):
        raise BoxError("a crowd region covers several objects", "draw one box an object")
    key = str(annotation.get("category_id"))
    if key not in categories:
        raise BoxError(f"category {key[:40]} is not declared", "add it to the categories of the file")
    bbox = annotation.get("bbox")
    if not isinstance(bbox, list) or len(bbox) != 4:
        raise BoxError("no bbox of four numbers", "draw a box around the object")
    left, top, width, height = (number(value, "bbox") for value in bbox)
    return relative_box(class_name(categories[key]), (left, top, left + width, top + height), size)


def _orphans(source: str, left_over: dict[str, list[tuple[str, dict[str, Any]]]]) -> Iterator[LabelProblem]:
    for image_id, annotations in left_over.items():
        yield LabelProblem(
            source,
            f"image {image_id}",
            f"{len(annotations)} annotations of an image that the file does not list",
            "add the image to the images of the file",
        )
