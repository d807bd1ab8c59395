"""Charts of an evaluation, candidate against champion, drawn from its tables. Photos are drawn in `worst_misses.py`."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from mlops_assets.class_keys import class_key
from mlops_assets.detector.reliability import calibration_error
from mlops_assets.detector.slices import ALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

UI_BYTES = 75_000
"""Of a picture on an asset's page: as a data URI it is a third longer, and 100 kB are what an event may hold."""

PANELS = 12
"""Most classes with a panel of their own: those with the most test boxes."""

MATRIX_CLASSES = 24
"""Most classes of a confusion matrix: those with the most mistakes."""

SLICES = 30

_DPI = 130
_WIDTH = 5.8
"""Inches, least: room for a title."""

_CANDIDATE, _CHAMPION, _GREY = "#0072B2", "#D55E00", "#9a9a9a"  # Okabe and Ito's blue and vermilion

Models = Sequence[tuple[str, str]]
"""Version and what to call it, the candidate first."""


def render(figure: "Figure", max_bytes: int | None = None) -> bytes:
    """PNG of a figure, as large as it may be.

    Args:
        figure: Made without pyplot.
        max_bytes: Resolution is lowered until the PNG is no larger.
    """
    dpi, shrink = _DPI if max_bytes is None else 110, 0.8
    while True:
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=dpi)  # a Figure made without pyplot draws with Agg
        content = png.getvalue() if max_bytes is None else _few_colours(png.getvalue())
        if max_bytes is None or len(content) <= max_bytes or dpi < 30:
            return content
        dpi = int(dpi * shrink)


def _few_colours(png: bytes) -> bytes:
    """The same picture with a palette, a third of the bytes."""
    from PIL import Image

    smaller = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        picture.convert("RGB").quantize(64).save(smaller, format="png", optimize=True)
    return smaller.getvalue()


def precision_recall_chart(
    curves: pl.DataFrame, evaluation: pl.DataFrame, names: Mapping[int, str], models: Models
) -> "Figure":
    """Precision over recall, a panel a class, with a dot where the stored threshold lies.

    Args:
        curves: DETECTOR_CURVES of the models.
        evaluation: DETECTOR_EVALUATION of the models; rows of test are used.
        names: Display names.
        models: What is drawn, in this order.
    """
    shown = _most_boxes(evaluation, curves)
    columns = min(4, max(1, len(shown)))
    rows = max(1, -(-len(shown) // columns))
    figure = _figure(max(_WIDTH, 2.7 * columns + 0.6), 2.5 * rows + 0.7)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for panel, class_id in zip(axes, shown, strict=False):
        _panel(panel, class_id, curves, evaluation, models)
        panel.set_title(_class_name(class_id, names, 28), fontsize=9)
    for panel in axes[len(shown) :]:
        panel.set_axis_off()
    if not shown:
        _say(axes[0], "no test photo shows a class that is known")
    elif (left := curves["class_id"].n_unique() - len(shown)) > 0:
        figure.text(0.99, 0.005, f"{left} further classes: table detector_curves", ha="right", fontsize=8)
    for number in range(len(shown)):
        if number % columns == 0:
            axes[number].set_ylabel("precision", fontsize=8)
        if number + columns >= len(shown):
            axes[number].set_xlabel("recall", fontsize=8)
            axes[number].tick_params(labelbottom=True)
    figure.suptitle("Precision over recall on test, IoU 0.5; dots: at the stored thresholds", fontsize=10)
    _legend(figure, models)
    return figure


def _most_boxes(evaluation: pl.DataFrame, curves: pl.DataFrame) -> list[int]:
    counted = evaluation.filter((pl.col("split") == "test") & pl.col("class_id").is_in(curves["class_id"].implode()))
    boxes = counted.group_by("class_id").agg(pl.max("n")).sort("n", "class_id", descending=[True, False])
    return sorted(boxes["class_id"].head(PANELS))


def _panel(panel: "Axes", class_id: int, curves: pl.DataFrame, evaluation: pl.DataFrame, models: Models) -> None:
    for place, (version, _) in enumerate(models):
        of_model = (pl.col("model_version") == version) & (pl.col("class_id") == class_id)
        curve = curves.filter(of_model)
        measured = evaluation.filter(of_model & (pl.col("split") == "test"))
        if curve.is_empty() or measured.is_empty():
            continue
        row, (colour, style) = measured.row(0, named=True), _look(place)
        panel.plot(curve["recall"], curve["precision"], style, color=colour, linewidth=1.6)
        if row["precision"] is not None and row["recall"] is not None:
            panel.plot(row["recall"], row["precision"], "o", color=colour, markersize=5)
        words = f"AP50 {row['ap50']:.2f}"
        panel.text(0.04, 0.05 + 0.11 * place, words, color=colour, fontsize=8, transform=panel.transAxes)
    panel.set(xlim=(0, 1.02), ylim=(0, 1.05))
    panel.grid(alpha=0.3)
    panel.tick_params(labelsize=7)


def confusion_chart(confusion: pl.DataFrame, names: Mapping[int, str], title: str) -> "Figure":
    """Labelled class against found class: boxes as numbers, shares of the row as shades.

    Args:
        confusion: DETECTOR_CONFUSION of one model.
        names: Display names.
        title: Of the chart.
    """
    shown = _most_mistakes(confusion)
    size = len(shown)
    table = np.zeros((size + 1, size + 1))
    place = {class_id: i for i, class_id in enumerate(shown)} | {None: size}
    for labelled, found, boxes in confusion.select("class_id", "found_class_id", "boxes").iter_rows():
        if labelled in place and found in place:
            table[place[labelled], place[found]] = boxes
    figure = _figure(max(_WIDTH, 0.5 * size + 3.4), max(3.6, 0.42 * size + 2.8))
    axes = figure.subplots()
    if not confusion.height:
        _say(axes, "nothing labelled and nothing found")
        return figure
    shades = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    axes.imshow(shades, cmap="Blues", vmin=0, vmax=1)
    for (row, column), boxes in np.ndenumerate(table):
        if boxes:
            colour = "white" if shades[row, column] > 0.55 else "black"
            axes.text(column, row, f"{boxes:.0f}", ha="center", va="center", fontsize=8, color=colour)
    labels = [_class_name(class_id, names, 22) for class_id in shown]
    axes.set_xticks(range(size + 1), [*labels, "not found"], rotation=40, ha="right", fontsize=8)
    axes.set_yticks(range(size + 1), [*labels, "nothing labelled"], fontsize=8)
    axes.axhline(size - 0.5, color="black", linewidth=0.8)
    axes.axvline(size - 0.5, color="black", linewidth=0.8)
    axes.set_xlabel("found", fontsize=9)
    axes.set_ylabel("labelled", fontsize=9)
    left = len({*confusion["class_id"], *confusion["found_class_id"]} - {None}) - size
    figure.suptitle(
        title
        + "; shades: share of the row"
        + (f"; {left} classes of fewest mistakes are left out" if left > 0 else ""),
        fontsize=9,
    )
    return figure


def _most_mistakes(confusion: pl.DataFrame) -> list[int]:
    wrong = confusion.with_columns(
        mistakes=pl.when(pl.col("class_id").ne_missing(pl.col("found_class_id"))).then("boxes").otherwise(0)
    )
    sides = pl.concat([wrong.select(pl.col(side).alias("id"), "mistakes") for side in ("class_id", "found_class_id")])
    ranked = sides.drop_nulls().group_by("id").agg(pl.sum("mistakes")).sort("mistakes", "id", descending=[True, False])
    return sorted(ranked["id"].head(MATRIX_CLASSES))


def reliability_chart(bins: pl.DataFrame, models: Models) -> "Figure":
    """Precision over confidence, against the diagonal where both are the same; below, how many predictions there are.

    Args:
        bins: DETECTOR_RELIABILITY of the models.
        models: What is drawn, in this order.
    """
    figure = _figure(_WIDTH, 5.2)
    upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1]})
    upper.plot([0, 1], [0, 1], ":", color=_GREY, linewidth=1)
    said = []
    for place, (version, name) in enumerate(models):
        some = bins.filter(pl.col("model_version") == version)
        error, (colour, style) = calibration_error(some), _look(place)
        said.append((version, f"{name}: {'nothing found' if error is None else f'error {error:.3f}'}"))
        upper.plot(some["confidence"], some["precision"], style, color=colour, marker="o", markersize=4)
        width = 0.04
        lower.bar(
            (some["confidence_from"] + some["confidence_to"]) / 2 + (place - (len(models) - 1) / 2) * width,
            some["n"],
            width,
            color=colour,
        )
    upper.set(xlim=(0, 1), ylim=(0, 1.02))
    lower.set_ylim(0, max(1, *bins["n"]) * 1.05 if bins.height else 1)
    upper.set_ylabel("precision", fontsize=9)
    lower.set_ylabel("predictions", fontsize=9)
    lower.set_xlabel("confidence", fontsize=9)
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
        axes.tick_params(labelsize=8)
    figure.suptitle("Does a confidence mean what it says? Below the diagonal: too sure", fontsize=10)
    _legend(figure, said)
    return figure


def slices_chart(slices: pl.DataFrame, models: Models) -> "Figure":
    """AP50 of each slice with its interval; grey where photos or enclosures are too few to judge.

    Args:
        slices: DETECTOR_SLICES of the models.
        models: What is drawn, in this order.
    """
    shown = slices.select("kind", "slice", "photos", "enclosures", "judgeable").unique(maintain_order=True)
    left = shown.height - SLICES
    shown = shown.head(SLICES)
    figure = _figure(7.4, 0.3 * shown.height + 1.5)
    axes = figure.subplots()
    if shown.is_empty():
        _say(axes, "no test photos")
        return figure
    for place, (version, _) in enumerate(models):
        colour = _look(place)[0]
        of_model = slices.filter(pl.col("model_version") == version)
        whole = of_model.filter(pl.col("kind") == ALL)["ap50"]
        if len(whole) and whole[0] is not None:
            axes.axvline(whole[0], color=colour, linewidth=0.8, linestyle=_look(place)[1])
        for row in shown.with_row_index("y").join(of_model, on=["kind", "slice"]).iter_rows(named=True):
            if row["ap50"] is None:
                continue
            y, drawn = row["y"] + 0.16 * (2 * place - len(models) + 1), colour if row["judgeable"] else _GREY
            axes.plot([row["ap50_low"], row["ap50_high"]], [y, y], color=drawn, linewidth=1.2)
            axes.plot(row["ap50"], y, "o" if place == 0 else "D", color=drawn, markersize=4.5)
    labels = [_slice_label(row) for row in shown.iter_rows(named=True)]
    axes.set_yticks(range(shown.height), labels, fontsize=8)
    axes.set(xlim=(-0.02, 1.02), ylim=(shown.height - 0.5, -0.6))
    axes.set_xlabel("AP50, mean over the classes that all models here know", fontsize=9)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(alpha=0.3)
    more = f"; {left} further slices: table detector_slices" if left > 0 else ""
    figure.suptitle(f"By slice of the test photos, with 95 % intervals; lines: all test photos{more}", fontsize=9)
    _legend(figure, models)
    return figure


def _slice_label(row: Mapping[str, Any]) -> str:
    words = f"{row['kind']}: {_short(row['slice'], 24)}, {row['photos']} photos, {row['enclosures']} encl."
    return words if row["judgeable"] else f"(too few) {words}"


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _look(place: int) -> tuple[str, Literal["-", "--"]]:
    return (_CANDIDATE, "-") if place == 0 else (_CHAMPION, "--")


def _legend(figure: "Figure", models: Models) -> None:
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], color=_look(i)[0], linestyle=_look(i)[1], label=name) for i, (_, name) in enumerate(models)]
    figure.legend(handles=lines, loc="outside lower center", ncols=len(lines), fontsize=8, frameon=False)


def _say(axes: "Axes", words: str) -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, words, ha="center", va="center", fontsize=10, transform=axes.transAxes)


def _class_name(class_id: int, names: Mapping[int, str], length: int) -> str:
    """A name, or as much of it as there is room for behind the class's key, since names may differ at their ends."""
    name = names.get(class_id, "")
    key = class_key(class_id)
    return name if name and len(name) <= length else _short(f"{key} {name}".rstrip(), length)


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
