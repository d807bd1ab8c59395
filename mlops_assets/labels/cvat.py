"""CVAT XML 1.1 (docs.cvat.ai, "CVAT for image" and "CVAT for video") to labelled photos.

A frame of a video is a photo of the name that CVAT gives it beside the labels, `frame_000010`, in the folder of the
export. Only frames on which a shape is seen count as labelled: the file does not say which others were looked at.
"""

from collections import defaultdict
from functools import partial
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
    declared_names,
    moment,
    number,
    photo_size,
)
from mlops_assets.labels.shapes import ellipse_bounds, polygon_bounds, relative_box, rotated_bounds, shape_of
from mlops_assets.labels.xml_text import text_of

_NO_SHAPES = ("tag", "attribute")
_LEFT = {"points": "key points", "polyline": "line", "skeleton": "key points"}
_CUBOID = ("xtl1", "ytl1", "xtr1", "ytr1", "xbl1", "ybl1", "xbr1", "ybr1")


def is_cvat(root: Element) -> bool:
    """Whether parsed XML is a CVAT export of images or of a video."""
    return root.tag == "annotations" and (root.find("image") is not None or root.find("track") is not None)


def parse_cvat(source: str, root: Element, rules: ReadRules) -> ParsedLabels:
    """Read images and frames; an image without shapes was labelled as empty."""
    meta = root.find("meta")
    parsed = ParsedLabels()
    if meta is not None:
        parsed.class_names = declared_names(element.text for element in meta.iterfind(".//label/name"))
    for position, image in enumerate(root.findall("image")):
        item = f"image {image.get('id', position)}"
        reference = (image.get("name") or "").strip()
        try:
            if not reference:
                raise LabelError(f"{item} has no name", "export again with the name of each image")
            size = photo_size(image.get("width"), image.get("height"), item)
        except LabelError as error:
            parsed.refuse(source, item, error, reference)
            continue
        shapes = [shape for shape in image if shape.tag not in _NO_SHAPES]
        elements = [
            (f"{item}, {shape.tag} {position}", (shape.get("label"), shape)) for position, shape in enumerate(shapes, 1)
        ]
        parsed.add(_photo(source, item, reference, root, size), elements, partial(_box, size=size, rules=rules))
    if root.find("track") is not None:
        _add_frames(source, root, parsed, rules)
    return parsed


def _photo(source: str, item: str, reference: str, root: Element, size: tuple[float, float]) -> LabelledPhoto:
    return LabelledPhoto(
        source,
        item,
        reference,
        annotator=_first_text(root, "meta/task/assignee/username", "meta/task/owner/username"),
        annotated_at=moment(_first_text(root, "meta/dumped", "meta/task/updated", "meta/project/updated")),
        size=size,
    )


def _add_frames(source: str, root: Element, parsed: ParsedLabels, rules: ReadRules) -> None:
    """Photos of a video's frames.

    Raises:
        LabelError: The video's size is not given, or a frame has no number.
    """
    whole = next((e for path in ("meta/task/original_size", "meta/original_size") if (e := root.find(path))), None)
    whole = root if whole is None else whole
    size = photo_size(text_of(whole, "width"), text_of(whole, "height"), "the video")
    frames: dict[int, list[tuple[str, tuple[str | None, Element]]]] = defaultdict(list)
    for position, track in enumerate(root.findall("track")):
        for shape in track:
            if shape.tag in _NO_SHAPES or shape.get("outside") == "1":
                continue
            frame = shape.get("frame") or ""
            if not (frame.isascii() and frame.isdigit() and len(frame) <= 9):
                raise LabelError(f"a shape on the frame {frame[:40]!r}", "export the task again")
            track_id = track.get("id", position)
            frames[int(frame)].append((f"frame {frame}, track {track_id}", (track.get("label"), shape)))
    folder = PurePosixPath(source).parent.parts[-1:]
    for frame_no, elements in sorted(frames.items()):
        reference = "/".join([*folder, f"frame_{frame_no:06}.*"])
        photo = _photo(source, f"frame {frame_no}", reference, root, size)
        parsed.add(photo, elements, partial(_box, size=size, rules=rules))


def _first_text(root: Element, *paths: str) -> str | None:
    return next((text for path in paths if (text := text_of(root, path))), None)


def _box(labelled: tuple[str | None, Element], size: tuple[float, float], rules: ReadRules) -> Box:
    label, shape = labelled
    if shape.tag in _LEFT:
        raise LeftShapeError(_LEFT[shape.tag])
    if shape.tag not in _BOUNDS:
        raise BoxError(f"a {shape.tag[:40]} has no box", "draw a rectangle around the object")
    corners, drawn_as = _BOUNDS[shape.tag](shape)
    return relative_box(class_name(label), corners, size, tolerance=rules.outside_tolerance, drawn_as=drawn_as)


_Bounds = tuple[tuple[float, float, float, float], str]


def _values(shape: Element, names: tuple[str, ...]) -> list[float]:
    return [number(shape.get(name), name) for name in names]


def _rectangle(shape: Element) -> _Bounds:
    left, top, right, bottom = _values(shape, ("xtl", "ytl", "xbr", "ybr"))
    turned = number(shape.get("rotation", "0"), "rotation")
    if turned:
        return rotated_bounds(left, top, right - left, bottom - top, turned, centre=True), "rotated_box"
    return (left, top, right, bottom), "box"


def _polygon(shape: Element) -> _Bounds:
    points = [_point(text) for text in (shape.get("points") or "").split(";")]
    return polygon_bounds(points), shape_of(points)


def _ellipse(shape: Element) -> _Bounds:
    x, y, across, down = _values(shape, ("cx", "cy", "rx", "ry"))
    return ellipse_bounds(x, y, across, down, number(shape.get("rotation", "0"), "rotation")), "ellipse"


def _mask(shape: Element) -> _Bounds:
    """CVAT writes a mask's run lengths within the box that encloses it."""
    left, top, width, height = _values(shape, ("left", "top", "width", "height"))
    return (left, top, left + width, top + height), "mask"


def _cuboid(shape: Element) -> _Bounds:
    values = _values(shape, (*_CUBOID, *(name[:-1] + "2" for name in _CUBOID)))
    return polygon_bounds(list(zip(values[::2], values[1::2], strict=True))), "cuboid"


_BOUNDS = {"box": _rectangle, "polygon": _polygon, "ellipse": _ellipse, "mask": _mask, "cuboid": _cuboid}


def _point(text: str) -> tuple[float, float]:
    x, separator, y = text.partition(",")
    if not separator:
        raise BoxError(f"{text[:40]!r} is no point", "draw the polygon again")
    return number(x, "x"), number(y, "y")
