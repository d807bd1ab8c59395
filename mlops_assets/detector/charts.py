"""Pictures for people: training curves, and photos with the boxes drawn on them."""

import io
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from mlops_assets.photos.pixels import Image

LabelledBox = tuple[str, float | None, float, float, float, float]
"""Label, confidence (None for a person's label), and box_x, box_y, box_w, box_h relative to the photo."""

Colour = tuple[int, int, int]
"""Blue, green, red, 0 to 255."""

# Okabe and Ito's palette, told apart by colour-blind people too; BGR.
_COLOURS = ((178, 114, 0), (0, 94, 213), (115, 158, 0), (167, 121, 204), (0, 159, 230), (233, 180, 86), (66, 228, 240))


def training_curves(curves: Path) -> bytes:
    """Draw losses and val metrics over the epochs, as PNG.

    Args:
        curves: CSV of `training.TrainingResult`.

    Raises:
        FileNotFoundError: No such file.
    """
    from matplotlib.figure import Figure

    table = pl.read_csv(curves, infer_schema_length=None)
    figure = Figure(figsize=(11, 4), layout="constrained")
    loss_axes, metric_axes = figure.subplots(1, 2)
    for column in table.columns:
        kind, _, name = column.partition("/")
        if kind in ("train", "val"):
            style = "-" if kind == "train" else "--"
            loss_axes.plot(table["epoch"], table[column], style, label=f"{name} ({kind})")
        elif kind == "metrics":
            metric_axes.plot(table["epoch"], table[column], label=name.removesuffix("(B)"))
    for axes, title in ((loss_axes, "Loss"), (metric_axes, "On val")):
        axes.set(title=title, xlabel="epoch")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    metric_axes.set_ylim(0, 1)
    png = io.BytesIO()
    figure.savefig(png, format="png")  # a Figure made without pyplot draws with Agg
    return png.getvalue()


def annotate(image: Image, boxes: Sequence[LabelledBox]) -> Image:
    """Draw boxes with their labels on a copy of a photo, one colour a label.

    Args:
        image: (height, width, 3), BGR.
        boxes: In any order; the most confident is drawn last, on top.
    """
    drawn = image.copy()
    colours = {label: _COLOURS[i % len(_COLOURS)] for i, label in enumerate(sorted({box[0] for box in boxes}))}
    for label, confidence, *box in sorted(boxes, key=lambda box: box[1] if box[1] is not None else 1.0):
        text = label if confidence is None else f"{label} {confidence:.2f}"
        draw_box(drawn, (box[0], box[1], box[2], box[3]), colours[label], text)
    return drawn


def draw_box(
    image: Image,
    box: tuple[float, float, float, float],
    colour: Colour,
    text: str | None = None,
    *,
    thickness: int | None = None,
    below: bool = False,
) -> None:
    """Draw a box on a photo, in place.

    Args:
        image: (height, width, 3), BGR.
        box: box_x, box_y, box_w, box_h relative to the photo.
        colour: BGR.
        text: Written above it, where there is room.
        thickness: Of its lines, pixels; fit for the photo where None.
        below: Write the text below it instead.
    """
    import cv2

    height, width = image.shape[:2]
    thickness = thickness or max(1, round(max(height, width) / 400))
    x, y, w, h = box
    left, top = round((x - w / 2) * width), round((y - h / 2) * height)
    right, bottom = round((x + w / 2) * width), round((y + h / 2) * height)
    cv2.rectangle(image, (left, top), (right, bottom), colour, thickness)
    if text is not None:
        _write(image, text, left, min(bottom + _band(image), height) if below else top, colour)


def _write(image: Image, text: str, left: int, top: int, colour: Colour) -> None:
    import cv2

    width = image.shape[1]
    size = _text_size(image)
    # OpenCV's scalable font has the accented letters that its Hershey fonts lack.
    font = cv2.FontFace("sans")
    _, _, text_width, _ = cv2.getTextSize((10 * width, 10 * size), text, (0, 5 * size), font, size)
    band = _band(image)
    left = max(0, min(left, width - text_width - 4))
    top = max(band, top)
    cv2.rectangle(image, (left, top - band), (left + text_width + 4, top), colour, cv2.FILLED)
    dark = sum(colour) < 3 * 140
    cv2.putText(image, text, (left + 2, top - size // 2), (255, 255, 255) if dark else (0, 0, 0), font, size)


def _text_size(image: Image) -> int:
    return max(10, round(float(max(image.shape[:2])) / 55))


def _band(image: Image) -> int:
    """Height of a line of text with what surrounds it, pixels."""
    return _text_size(image) + _text_size(image) // 2
