"""Label Studio's JSON exports, the full one and JSON-MIN, to labelled photos.

A task may carry several annotations: each that was not cancelled and not rejected in review is a labelling, the latest
one last. Coordinates are percent of the upright photo (labelstud.io/guide/export, "Units of image annotations").
"""

import datetime as dt
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from mlops_assets.labels.items import (
    IMAGE_SUFFIXES,
    Box,
    BoxError,
    Corners,
    LabelError,
    LabelledPhoto,
    LeftShapeError,
    ParsedLabels,
    ReadRules,
    class_name,
    moment,
    number,
    photo_size,
)
from mlops_assets.labels.json_text import objects
from mlops_assets.labels.masks import brush_bounds
from mlops_assets.labels.shapes import ellipse_bounds, polygon_bounds, relative_box, rotated_bounds, shape_of

_NEVER = dt.datetime.min.replace(tzinfo=dt.UTC)
_PERCENT = (100.0, 100.0)
_LEFT = {"keypointlabels": "key points", "vectorlabels": "line"}
_TEXT_LABELS = ("hypertextlabels", "paragraphlabels", "timeserieslabels", "htmllabels", "videorectangle")
_JSON_MIN_KEYS = ("annotation_id", "lead_time", "annotator")


def is_label_studio(content: object) -> bool:
    """Whether parsed JSON is a list of Label Studio tasks."""
    return (
        isinstance(content, list)
        and bool(content)
        and all(isinstance(task, dict) and "annotations" in task and "data" in task for task in content)
    )


def is_json_min(content: object) -> bool:
    """Whether parsed JSON is a list of tasks as JSON-MIN has them."""
    return (
        isinstance(content, list)
        and bool(content)
        and all(isinstance(t, dict) and "annotations" not in t and "bbox" not in t for t in content)
        and any(any(key in task for key in _JSON_MIN_KEYS) or list(_regions_of(task)) for task in content)
    )


def parse_label_studio(source: str, content: list[dict[str, Any]], rules: ReadRules) -> ParsedLabels:
    """Read tasks; an annotation with an empty result was labelled as empty, a task without one is not labelled yet.

    What cannot be used in an annotation is a problem only in the latest one of its task.

    Raises:
        LabelFormatError: A list holds something else than objects.
    """
    parsed = ParsedLabels()
    for position, task in enumerate(content):
        item = f"task {task.get('id', position)}"
        given = objects(task["annotations"], f"annotations of {item}")
        accepted = [annotation for annotation in given if _is_accepted(annotation)]
        if not accepted:
            parsed.unlabelled += 1
            continue
        times = [moment(annotation.get("created_at")) for annotation in accepted]
        # Undated ones count as the oldest: sorted() keeps the order of equals, so that of equals the last counts.
        ordered = sorted(zip(times, accepted, strict=True), key=lambda pair: pair[0] or _NEVER)
        earliest = min((time for time in times if time), default=None)
        for number_, (time, annotation) in enumerate(ordered, 1):
            one = ParsedLabels()
            results = objects(annotation.get("result", []), f"result of {item}")
            labelled_at = time or earliest
            _add(one, source, item, task["data"], (annotation.get("completed_by"), labelled_at), results, rules)
            if number_ == len(ordered):
                parsed.problems += one.problems
                parsed.left.update(one.left)
            parsed.photos += one.photos
    return parsed


def parse_json_min(source: str, content: list[dict[str, Any]], rules: ReadRules) -> ParsedLabels:
    """Read tasks as JSON-MIN has them, one an annotation; without regions it was labelled as empty.

    A task that says neither who annotated it nor anything else about an annotation is not labelled yet.
    """
    parsed = ParsedLabels()
    for position, task in enumerate(content):
        item = f"task {task.get('id', position)}"
        regions = list(_regions_of(task))
        if not regions and not any(key in task for key in _JSON_MIN_KEYS):
            parsed.unlabelled += 1
            continue
        data = {key: value for key, value in task.items() if isinstance(value, str)}
        time = moment(task.get("created_at")) or moment(task.get("updated_at"))
        _add(parsed, source, item, data, (task.get("annotator"), time), regions, rules)
    return parsed


def _regions_of(task: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Regions of a JSON-MIN task in the form of the full export."""
    for values in task.values():
        for value in values if isinstance(values, list) else ():
            if isinstance(value, dict):
                kind = next((key for key in value if isinstance(key, str) and key.endswith("labels")), None)
                if kind is not None:
                    yield {"type": kind, "value": value, **_whole_photo(value)}


def _whole_photo(value: dict[str, Any]) -> dict[str, Any]:
    return {key: value[key] for key in ("original_width", "original_height", "image_rotation") if key in value}


def _is_accepted(annotation: dict[str, Any]) -> bool:
    reviews = annotation.get("reviews")
    last = reviews[-1] if isinstance(reviews, list) and reviews else None
    return not annotation.get("was_cancelled") and not (isinstance(last, dict) and last.get("accepted") is False)


def _add(
    parsed: ParsedLabels,
    source: str,
    item: str,
    data: object,
    by: tuple[object, dt.datetime | None],
    results: list[dict[str, Any]],
    rules: ReadRules,
) -> None:
    """Add what one annotation says of the photo of its task; `by` is who and when."""
    try:
        reference = _image(data, item)
    except LabelError as error:
        parsed.refuse(source, item, error)
        return
    labelled = {str(result["id"]) for result in results if result.get("id") is not None and _labels_key(result)}
    shapes = [result for result in results if _labels_key(result) or not _is_companion(result, labelled)]
    photo = LabelledPhoto(source, item, reference, annotator=_annotator(by[0]), annotated_at=by[1])
    photo.size = _common_size(shapes)
    elements = [(f"{item}, region {shape.get('id', position)}", shape) for position, shape in enumerate(shapes, 1)]
    parsed.add(photo, elements, lambda region: _box(region, rules.outside_tolerance))


def _is_companion(result: dict[str, Any], labelled: set[str]) -> bool:
    """Whether a result only tells more of a region that has a label, or of nothing on the picture."""
    return result.get("type") == "relation" or str(result.get("id")) in labelled


def _image(data: object, item: str) -> str:
    texts = data if isinstance(data, dict) else {}
    named = texts.get("image")
    if isinstance(named, str):
        return image_path(named)
    paths = [image_path(value) for value in texts.values() if isinstance(value, str)]
    pictures = sorted({path for path in paths if path.lower().endswith(IMAGE_SUFFIXES)})
    if len(pictures) == 1:
        return pictures[0]
    what = f"{len(pictures)} images" if pictures else "no image"
    raise LabelError(f"{item} names {what}", "export a project whose tasks hold one image each, as `image`")


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


def _box(region: dict[str, Any], tolerance: float) -> Box:
    key = _labels_key(region)
    if key is None or key in _LEFT or key in _TEXT_LABELS:
        raise LeftShapeError(_LEFT.get(key or "", "text") if key else str(region.get("type"))[:40])
    value = region["value"]
    if key == "labels" and "start" in value:
        raise LeftShapeError("text")
    labels = value.get(key)
    if not isinstance(labels, list) or len(labels) != 1:
        raise BoxError("a region needs exactly one label", "choose one class for the region")
    if region.get("image_rotation") not in (None, 0):
        raise BoxError("the image was turned in Label Studio", "label the image without turning it")
    corners, size, drawn_as = _bounds(region, value)
    return relative_box(class_name(labels[0]), corners, size, tolerance=tolerance, drawn_as=drawn_as)


def _bounds(region: dict[str, Any], value: dict[str, Any]) -> tuple[Corners, tuple[float, float], str]:
    """Corners, the picture's size in their unit, and how the region was drawn."""
    points = value.get("points")
    if isinstance(points, list):
        corners = [_point(point) for point in points]
        return polygon_bounds(corners), _PERCENT, shape_of(corners)
    if "rle" in value:
        across, down = _pixels(region, "a mask")
        return brush_bounds(value["rle"], int(across), int(down)), (across, down), "mask"
    turned = number(value.get("rotation", 0) or 0, "rotation")
    if {"x", "y", "radiusX", "radiusY"} <= value.keys():
        x, y, radius_x, radius_y = (number(value[side], side) for side in ("x", "y", "radiusX", "radiusY"))
        across, down = _pixels(region, "a turned ellipse") if turned else _PERCENT
        unit = across / 100, down / 100
        bounds = ellipse_bounds(x * unit[0], y * unit[1], radius_x * unit[0], radius_y * unit[1], turned)
        return bounds, (across, down), "ellipse"
    if not {"x", "y", "width", "height"} <= value.keys():
        if {"x", "y"} <= value.keys():
            raise LeftShapeError("key points")
        raise BoxError(f"a region of type {str(region['type'])[:40]} has no box", "draw a rectangle around the object")
    left, top, width, height = (number(value.get(side), side) for side in ("x", "y", "width", "height"))
    if turned == 0:
        return (left, top, left + width, top + height), _PERCENT, "box"
    # Percent of width and of height are different lengths; only in pixels is a rotation a rotation.
    across, down = _pixels(region, "a turned rectangle")
    unit = across / 100, down / 100
    bounds = rotated_bounds(left * unit[0], top * unit[1], width * unit[0], height * unit[1], turned, centre=False)
    return bounds, (across, down), "rotated_box"


def _pixels(region: dict[str, Any], what: str) -> tuple[float, float]:
    try:
        return photo_size(region.get("original_width"), region.get("original_height"), "the region")
    except LabelError as error:
        raise BoxError(f"{what}: {error}", error.remedy) from error


def _point(point: object) -> tuple[float, float]:
    if not isinstance(point, list) or len(point) != 2:
        raise BoxError("a point is no pair of numbers", "draw the region again")
    return number(point[0], "x"), number(point[1], "y")


def _common_size(regions: list[dict[str, Any]]) -> tuple[float, float] | None:
    for region in regions:
        try:
            return photo_size(region.get("original_width"), region.get("original_height"), "the region")
        except LabelError:
            continue  # a region that tells no size: the next may
    return None


def _annotator(completed_by: object) -> str | None:
    if isinstance(completed_by, dict):
        completed_by = completed_by.get("email") or completed_by.get("id")
    return str(completed_by) if isinstance(completed_by, int | str) and completed_by != "" else None
