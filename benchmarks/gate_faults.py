"""Twenty ways in which a candidate is worse, each one way, and the true cause that its refusal must name.

A fault changes the weights (then exported anew and held against PyTorch, as a training does), the export, what is kept
beside it, or the files in the store after they were registered.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gate_models import IMAGE_SIZE, THREADS, Model
from benchmarks.gate_photos import CLASS_MAP, RenderedSet
from mlops_assets.detector import files
from mlops_assets.detector.candidate import PARITY_CONFIDENCE
from mlops_assets.detector.decisions import failed_criteria
from mlops_assets.detector.export import export_onnx
from mlops_assets.detector.parity import measure_parity, parity_tags
from mlops_assets.detector.predictor import OnnxPredictor
from mlops_assets.detector.runtimes import installed_runtimes
from mlops_assets.detector.weights import load_model

PARITY_PHOTOS = 24
ABOUT_QUALITY = frozenset("abcg")

Reasons = Sequence[str]
Judgement = Callable[[Reasons], bool]


@dataclass(frozen=True)
class Fault:
    """One way of being worse.

    Attributes:
        name: For the table.
        names_cause: Whether the reasons of a refusal name the true cause, and no other.
        build: Makes the candidate in a folder.
        after_registering: What happens to the folder of its stored files, for faults of the store.
        thresholds: What happens to the stored thresholds, for faults of those.
    """

    name: str
    names_cause: Judgement
    build: Callable[[Path], Model]
    after_registering: Callable[[Path], None] | None = None
    thresholds: Callable[[dict[str, float]], dict[str, float]] | None = None


def all_faults(labelled: RenderedSet, champion: Model, better: Model) -> list[Fault]:
    """The twenty; those about a class's head on the champion, and one on a model that is better in all else."""

    def altered(base: Model, change: Callable[[Any], None]) -> Callable[[Path], Model]:
        return lambda folder: _with_weights(base, folder, change, labelled)

    def head(change: Callable[[Any], None], base: Model = champion) -> Callable[[Path], Model]:
        def of_every_level(model: Any) -> None:
            for scale in model.model[-1].cv3:
                change(scale[-1])

        return altered(base, of_every_level)

    def unchanged(_folder: Path) -> Model:
        return champion

    return [
        Fault("a class forgotten", _loses("router"), head(lambda c: _forget(c, "router"))),
        Fault(
            "another forgotten, better in all else", _loses("battery"), head(lambda c: _forget(c, "battery"), better)
        ),
        Fault(
            "two classes swapped",
            _loses("fan_unit", "splice_tray"),
            head(lambda c: _swap(c, "fan_unit", "splice_tray")),
        ),
        Fault(  # every device of either is both, and one box gets one class
            "two classes become one",
            _loses("patch_panel", "router"),
            head(lambda c: _copy(c, "router", "patch_panel")),
        ),
        Fault("all boxes shifted", _loses_all, altered(champion, _shift_boxes)),
        Fault("first layer blurred", _loses_all, altered(champion, _blur_first_layer)),
        Fault("colours taken for others", _loses_some, altered(champion, _swap_colours)),
        Fault("noise on all weights", _loses_all, altered(champion, lambda model: _noise(model, 0.30))),
        Fault("weights rounded to few values", _loses_all, altered(champion, lambda model: _round(model, 5))),
        Fault("thresholds far too high", _only("g"), unchanged, thresholds=lambda t: dict.fromkeys(t, 0.97)),
        Fault("thresholds far too low", _only("g"), unchanged, thresholds=lambda t: dict.fromkeys(t, 0.005)),
        Fault(
            "export differs from the weights", _says("e", "agree"), lambda f: _perturbed_export(champion, f, labelled)
        ),
        Fault("export of other weights", _only("e"), lambda f: _foreign_export(champion, better, f, labelled)),
        Fault("trained on the test photos", _only("f"), lambda f: _trained_on(better, f, labelled, "train", 44)),
        Fault("tuned on one test enclosure", _only("f"), lambda f: _trained_on(better, f, labelled, "val", 1)),
        Fault("stored weights altered", _says("files", "weights/best.pt", "damaged"), unchanged, _alter(files.WEIGHTS)),
        Fault("stored export altered", _says("files", "onnx/model.onnx", "damaged"), unchanged, _alter(files.ONNX)),
        Fault("stored export gone", _says("files", "onnx/model.onnx", "gone"), unchanged, _remove(files.ONNX)),
        Fault("export cut short", _says("files", "cannot be opened"), lambda f: _cut_export(champion, f)),
        Fault("class map of another order", _says("files", "class map"), lambda f: _other_class_map(champion, f)),
    ]


# What a refusal must say --------------------------------------------------------------------------------------------


def _only(letter: str) -> Judgement:
    return lambda reasons: failed_criteria(reasons) == [letter]


def _says(criterion: str, *words: str) -> Judgement:
    def judged(reasons: Reasons) -> bool:
        failed = [reason for reason in reasons if reason.startswith(f"({criterion}) failed")]
        return len(failed) == 1 and all(word in failed[0] for word in words)

    return judged


def _loses(*names: str) -> Judgement:
    """(b) or (c) names these classes, neither names another."""

    def judged(reasons: Reasons) -> bool:
        failed = failed_criteria(reasons)
        by_class = " ".join(r for r in reasons if r.startswith(("(b) failed", "(c) failed")))
        return (
            bool(by_class)
            and set(failed) <= ABOUT_QUALITY
            and {n for n in CLASS_MAP.values() if n in by_class} == set(names)
        )

    return judged


def _loses_all(reasons: Reasons) -> bool:
    failed = failed_criteria(reasons)
    return "a" in failed and set(failed) <= ABOUT_QUALITY


def _loses_some(reasons: Reasons) -> bool:
    """Quality and nothing else: which classes a detector tells by their colours is its own affair."""
    failed = failed_criteria(reasons)
    return bool(failed) and set(failed) <= ABOUT_QUALITY


# Faults of the weights ----------------------------------------------------------------------------------------------


def _with_weights(base: Model, folder: Path, change: Callable[[Any], None], labelled: RenderedSet) -> Model:
    """Alter the weights, export them and measure the export's parity."""
    import torch

    model = load_model(base.files[files.WEIGHTS])
    with torch.no_grad():
        change(model)
    weights = folder / "best.pt"
    torch.save({"model": model, "train_args": {}}, weights)
    onnx = export_onnx(weights, folder / "model.onnx", IMAGE_SIZE, threads=THREADS)
    return _held_together(replace(base, files={**base.files, files.WEIGHTS: weights, files.ONNX: onnx}), labelled)


def _held_together(model: Model, labelled: RenderedSet) -> Model:
    photos = labelled.dataset.filter(split="test")["photo_id"].unique().sort().head(PARITY_PHOTOS)
    parity = measure_parity(
        model.files[files.WEIGHTS],
        [
            OnnxPredictor(model.files[files.ONNX], sorted(CLASS_MAP), threads=THREADS, runtime=name)
            for name in installed_runtimes()
        ],
        map(labelled.read_photo, photos),
        confidence=PARITY_CONFIDENCE,
        threads=THREADS,
    )
    return replace(model, tags={**model.tags, **parity_tags(parity)})


def _row(name: str) -> int:
    return next(class_id for class_id, known in CLASS_MAP.items() if known == name)


def _forget(conv: Any, name: str) -> None:
    conv.weight[_row(name)] = 0
    conv.bias[_row(name)] = -12


def _swap(conv: Any, one: str, other: str) -> None:
    rows, swapped = [_row(one), _row(other)], [_row(other), _row(one)]
    conv.weight[rows], conv.bias[rows] = conv.weight[swapped].clone(), conv.bias[swapped].clone()


def _copy(conv: Any, source: str, target: str) -> None:
    conv.weight[_row(target)], conv.bias[_row(target)] = conv.weight[_row(source)], conv.bias[_row(source)]


def _shift_boxes(model: Any) -> None:
    """A cell more to the left edge, a cell less to the right one: every box moves left by the stride of its level."""
    head = model.model[-1]
    for scale in head.cv2:
        for side, cells in ((0, 1), (2, -1)):
            rows = slice(side * head.reg_max, (side + 1) * head.reg_max)
            scale[-1].weight[rows] = scale[-1].weight[rows].roll(cells, 0)
            scale[-1].bias[rows] = scale[-1].bias[rows].roll(cells, 0)


def _blur_first_layer(model: Any) -> None:
    weight = model.model[0].conv.weight
    weight.copy_(weight.mean(dim=(2, 3), keepdim=True).expand_as(weight))


def _swap_colours(model: Any) -> None:
    weight = model.model[0].conv.weight
    weight.copy_(weight.flip(1))


def _noise(model: Any, share: float) -> None:
    import torch

    generator = torch.Generator().manual_seed(0)
    for weight in _convolutions(model):
        weight.add_(torch.randn(weight.shape, generator=generator) * weight.std() * share)


def _round(model: Any, levels: int) -> None:
    """Every convolution's weights to so many values on either side of 0."""
    for weight in _convolutions(model):
        step = weight.abs().max() / levels
        weight.copy_((weight / step).round() * step)


def _convolutions(model: Any) -> list[Any]:
    return [parameter for parameter in model.parameters() if parameter.dim() == 4 and parameter.numel() > 1000]


# Faults of what is beside the weights -------------------------------------------------------------------------------


def _perturbed_export(base: Model, folder: Path, labelled: RenderedSet) -> Model:
    """Weights that are right, and an export in which one layer's values moved by a little."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(base.files[files.ONNX])
    weight = next(tensor for tensor in model.graph.initializer if len(tensor.dims) == 4)
    values = numpy_helper.to_array(weight)
    noise = np.random.default_rng(0).normal(0, 0.1 * values.std(), values.shape)
    weight.CopyFrom(numpy_helper.from_array((values + noise).astype(values.dtype), weight.name))
    onnx.save(model, folder / "model.onnx")
    return _held_together(replace(base, files={**base.files, files.ONNX: folder / "model.onnx"}), labelled)


def _foreign_export(base: Model, other: Model, _folder: Path, labelled: RenderedSet) -> Model:
    return _held_together(replace(base, files={**base.files, files.ONNX: other.files[files.ONNX]}), labelled)


def _trained_on(base: Model, folder: Path, labelled: RenderedSet, split: str, count: int) -> Model:
    manifest = json.loads(base.files[files.MANIFEST].read_text(encoding="utf-8"))
    test = labelled.dataset.filter(split="test")["enclosure_id"].unique().sort().head(count)
    manifest["splits"][split]["enclosures"] += test.to_list()
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return replace(base, files={**base.files, files.MANIFEST: folder / "manifest.json"})


def _cut_export(base: Model, folder: Path) -> Model:
    content = base.files[files.ONNX].read_bytes()
    (folder / "model.onnx").write_bytes(content[: len(content) // 2])
    return replace(base, files={**base.files, files.ONNX: folder / "model.onnx"})


def _other_class_map(base: Model, _folder: Path) -> Model:
    """As if an id had been given anew: the export's third output is another class than the map says."""
    shifted = {class_id + (class_id > 2): name for class_id, name in CLASS_MAP.items()}
    return replace(base, tags={**base.tags, "class_map": json.dumps({str(k): v for k, v in shifted.items()})})


# Faults of the store ------------------------------------------------------------------------------------------------


def _alter(name: str) -> Callable[[Path], None]:
    def after(stored: Path) -> None:
        content = bytearray((stored / name).read_bytes())
        content[len(content) // 2] ^= 0xFF
        (stored / name).write_bytes(content)

    return after


def _remove(name: str) -> Callable[[Path], None]:
    return lambda stored: (stored / name).unlink()
