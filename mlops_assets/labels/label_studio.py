"""Label Studio's JSON export (the full one, not JSON-MIN) to labelled photos.

A task may carry several annotations: the latest by created_at that was not cancelled counts. Coordinates are percent
of the upright photo (labelstud.io/guide/export, "Units of image annotations").
"""

import datetime as dt
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from mlops_assets.labels.items import (
    IMAGE_SUFFIXES,
    Box,
    BoxError,
    LabelError,
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
from mlops_assets.labels.json_text import objects

_NEVER = dt.datetime.min.replace(tzinfo=dt.UTC)


def is_label_studio(content: object) -> bool:
    """Whether parsed JSON is a list of Label Studio tasks."""
    return (
        isinstance(content, list)
        and bool(content)
        and all(isinstance(task, dict) and "annotations" in task and "data" in task for task in content)
    )


def parse_label_studio(source: str, content: list[dict[str, Any]]) -> ParsedLabels:
    """Read tasks; an annotation with an empty result was labelled as empty, a task without one is not labelled yet.

    Raises:
        LabelFormatError: A list holds something else than objects.
    """
    parsed = ParsedLabels()
    for position, task in enumerate(content):
        item = f"task {task.get('id', position)}"
        given = objects(task["annotations"], f"annotations of {item}")
        finished = [annotation for annotation in given if not annotation.get("was_cancelled")]
        if not finished:
            parsed.unlabelled += 1
            continue
        # max() keeps the first of equals: reversed, so that of equals the one listed last counts.
        latest = max(reversed(finished), key=lambda annotation: moment(annotation.get("created_at")) or _NEVER)
        try:
            photo, problems = _photo(source, item, task, latest)
        except LabelError as error:
            parsed.problems.append(LabelProblem(source, item, str(error), error.remedy))
        else:
            parsed.add(photo, problems)
    return parsed


def _photo(
    source: str, item: str, task: dict[str, Any], annotation: dict[str, Any]
) -> tuple[LabelledPhoto, list[LabelProblem]]:
    reference = _image(task["data"], item)
    results = objects(annotation.get("result", []), f"result of {item}")
    regions = [result for result in results if _labels_key(result)]
    if results and not regions:
        kinds = ", ".join(sorted({str(result.get("type"))[:40] for result in results}))
        raise LabelError(f"{item} holds no boxes but {kinds}", "export a project that labels rectangles")
    elements = [(f"{item}, region {region.get('id')}", region) for region in regions]
    boxes, problems = read_boxes(source, elements, _box)
    photo = LabelledPhoto(
        source,
        item,
        reference,
        boxes,
        annotator=_annotator(annotation.get("completed_by")),
        annotated_at=moment(annotation.get("created_at")),
        size=_common_size(regions),
    )
    return photo, problems


def _image(data: object, item: str) -> str:
    texts = [value for value in data.values() if isinstance(value, str)] if isinstance(data, dict) else []
    named = data.get("image") if isinstance(data, dict) else None
    candidates = [named] if isinstance(named, str) else texts
    for text in candidates:
        path = image_path(text)
        if path.lower().endswith(IMAGE_SUFFIXES) or text is named:
            return path
    raise LabelError(f"{item} names no image", "export a project whose tasks hold one image each, as `image`")


def image_path(url: str) -> str:
    """Path of the picture in an address as Label Studio stores it: local files, uploads, http or s3.

    `/data/local-files/?d=CAB-1/IMG.jpg` gives `CAB-1/IMG.jpg`.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    if not parts.scheme and not url.startswith("/data/"):
        return url
    local = parse_qs(parts.query).get("d")
    return local[0] if local else unquote(parts.path)


def _labels_key(result: dict[str, Any]) -> str | None:
    """Name under which a region's value holds its labels: `rectanglelabels`, `labels` ...; None for no region."""
    kind = result.get("type")
    return kind if isinstance(kind, str) and kind.endswith("labels") and isinstance(result.get("value"), dict) else None


def _box(region: dict[str, Any]) -> Box:
    key = _labels_key(region) or ""
    value = region["value"]
    labels = value.get(key)
    if not isinstance(labels, list) or len(labels) != 1:
        raise BoxError("a region needs exactly one label", "choose one class for the region")
    if region.get("image_rotation") not in (None, 0):
        raise BoxError("the image was turned in Label Studio", "label the image without turning it")
    name = class_name(labels[0])
    points = value.get("points")
    if isinstance(points, list):
        return relative_box(name, polygon_bounds([_point(point) for point in points]), (100.0, 100.0))
    if not {"x", "y", "width", "height"} <= value.keys():
        raise BoxError(f"a region of type {str(region['type'])[:40]} has no box", "draw a rectangle around the object")
    left, top, width, height = (number(value.get(side), side) for side in ("x", "y", "width", "height"))
    turned = number(value.get("rotation", 0) or 0, "rotation")
    if turned == 0:
        return relative_box(name, (left, top, left + width, top + height), (100.0, 100.0))
    # Percent of width and of height are different lengths; only in pixels is a rotation a rotation.
    try:
        across, down = photo_size(region.get("original_width"), region.get("original_height"), "the region")
    except LabelError as error:
        raise BoxError(f"a rotated rectangle: {error}", error.remedy) from error
    across, down = across / 100, down / 100
    corners = rotated_bounds(left * across, top * down, width * across, height * down, turned, centre=False)
    return relative_box(name, corners, (across * 100, down * 100))


def _point(point: object) -> tuple[float, float]:
    if not isinstance(point, list) or len(point) != 2:
        raise BoxError("a point is no pair of numbers", "draw the region again")
    return number(point[0], "x"), number(point[1], "y")


def _common_size(regions: list[dict[str, Any]]) -> tuple[float, float] | None:
    for region in regions:
        width, height = region.get("original_width"), region.get("original_height")
        if isinstance(width, int | float) and isinstance(height, int | float) and width > 0 and height > 0:
            return float(width), float(height)
    return None


def _annotator(completed_by: object) -> str | None:
    if isinstance(completed_by, dict):
        completed_by = completed_by.get("email") or completed_by.get("id")
    return str(completed_by) if isinstance(completed_by, int | str) and completed_by != "" else None
