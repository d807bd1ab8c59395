"""Where the milliseconds of the live path go, on one thread, and the least that they could be."""

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from mlops_assets.detector.predictor import OnnxPredictor
from mlops_assets.detector.suppression import suppress
from mlops_assets.photos.parallel import opencv_alone
from mlops_assets.photos.pixels import decode_scaled, letterbox, network_input

Item = TypeVar("Item")


def print_parts(model: Path, class_ids: Sequence[int], contents: Sequence[bytes], threads: int) -> None:
    """Print the median milliseconds of each part, and the floor: colour decode at a quarter and the bare network."""
    import cv2

    predictor = OnnxPredictor(model, class_ids, threads=1)
    size = predictor.image_size
    images = [decode_scaled(content, size) for content in contents]
    tensors = [network_input(content, size)[0][None] for content in contents]
    raw = [predictor.raw(tensor)[0] for tensor in tensors]

    def quarter(content: bytes) -> object:
        return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_REDUCED_COLOR_4)

    with opencv_alone():
        parts = {
            "colour decode": _median(lambda content: decode_scaled(content, size), contents),
            "letterbox": _median(lambda image: letterbox(image, size), images),
            "tensor": _median(lambda content: network_input(content, size), contents),
            "network": _median(predictor.raw, tensors),
            "suppression": _median(lambda output: suppress(output, 0.25), raw),
        }
        floor = _median(quarter, contents) + parts["network"]
    parts["tensor"] = max(parts["tensor"] - parts["colour decode"] - parts["letterbox"], 0.0)
    print(f"\n{size} px, where it goes, ms of one core a photo ({predictor.description})\n")
    for name, milliseconds in parts.items():
        print(f"  {name:28}{milliseconds:8.1f}")
    whole = sum(parts.values())
    print(f"  {'together':28}{whole:8.1f}, on {threads} cores {whole / threads:.1f} a photo")
    print(f"  {'floor: decode at 1/4, network':28}{floor:8.1f}, on {threads} cores {floor / threads:.1f} a photo")


def _median(work: Callable[[Item], object], items: Sequence[Item]) -> float:
    took = []
    for item in items:
        started = time.perf_counter()
        work(item)
        took.append(1000 * (time.perf_counter() - started))
    return statistics.median(took)
