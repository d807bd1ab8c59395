"""The labelling page: what annotators see of a task, and how they name a class that is not there yet.

Label Studio calls it the labelling configuration (labelstud.io/guide/setup). Which classes there are is for the
vocabulary.
"""

import colorsys
from collections.abc import Collection, Iterable
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import polars as pl

LABEL = "label"
"""Name of the control that rectangles belong to."""

NEW_NAME = "new_class"
"""Name of the control that takes the name of a class that is not there yet, for one rectangle."""

UNLISTED = "other: name it"
"""The label of such a rectangle; it never becomes a class (see `returning`)."""

IMAGE = "image"

_HOW = "for what is not listed: draw it, click on it, and type its name below the picture"

_OFFERED = ("active", "proposed")
_HOTKEYS = "123456789"
_GOLDEN_ANGLE = 0.381966
"""Of the colour circle: neighbouring ids get colours far apart."""


def labelling_config(classes: pl.DataFrame, in_use: Collection[str] = ()) -> str:
    """The page for the vocabulary as it is now.

    Active classes come first, then those that still have too few boxes; an id keeps its colour. Names that
    annotations carry stay, last, so that what was drawn with them goes on being shown.

    Args:
        classes: EQUIPMENT_CLASSES.
        in_use: Names in the annotations and drafts of the project.

    Returns:
        XML, the same for the same arguments.
    """
    offered = [
        (class_id, name, status)
        for status in _OFFERED
        for class_id, name in classes.filter(pl.col("status") == status)
        .sort("class_id")
        .select("class_id", "class_name")
        .iter_rows()
    ]
    names = {name for _, name, _ in offered}
    view = Element("View")
    SubElement(view, "Header", value="$title", size="4")
    SubElement(view, "Text", name="reason", value="$reason")
    labels = SubElement(view, "RectangleLabels", name=LABEL, toName=IMAGE, showInline="true", canRotate="false")
    for position, (class_id, name, status) in enumerate(offered):
        options = {"value": name, "background": _colour(class_id)}
        if position < len(_HOTKEYS):
            options["hotkey"] = _HOTKEYS[position]
        if status == "proposed":
            options["hint"] = "a new class that has few boxes so far"
        SubElement(labels, "Label", options)
    SubElement(labels, "Label", value=UNLISTED, background="#ff00cc", hotkey="0", hint=_HOW)
    for name in sorted(set(in_use) - names - {UNLISTED}):
        SubElement(labels, "Label", value=name, background="#9e9e9e", hint="no longer a class of its own")
    SubElement(view, "Image", name=IMAGE, value=f"${IMAGE}", zoom="true", zoomControl="true", brightnessControl="true")
    SubElement(
        view,
        "TextArea",
        name=NEW_NAME,
        toName=IMAGE,
        perRegion="true",
        required="true",
        requiredMessage="Name the class of this rectangle",
        whenTagName=LABEL,
        whenLabelValue=UNLISTED,
        maxSubmissions="1",
        editable="true",
        placeholder="name of this class, as it should be called from now on; then Enter",
    )
    indent(view)
    return tostring(view, encoding="unicode")


def label_names(results: Iterable[object]) -> set[str]:
    """Labels that the results of an annotation, draft or prediction carry."""
    names: set[str] = set()
    for result in results:
        value = result.get("value") if isinstance(result, dict) else None
        found = value.get("rectanglelabels") if isinstance(value, dict) else None
        names |= {name for name in found or () if isinstance(name, str)}
    return names


def _colour(class_id: int) -> str:
    red, green, blue = colorsys.hls_to_rgb((class_id * _GOLDEN_ANGLE) % 1.0, 0.45, 0.85)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"
