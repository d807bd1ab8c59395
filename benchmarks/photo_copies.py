"""Copies of real photos as people and messengers make them: what each transformation does, and on which photos."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mlops_assets.photos.pixels import Image
from resources.settings import PROJECT

DATA = PROJECT.parent / "shared" / "data"

RACKS = "racks"
_SETS = {
    RACKS: ("racks/landing", 1000),
    "cards": ("playing_cards_voc/images", 45),
    "industrial": ("industrial_objects/train", 45),
    "blood cells": ("bccd_voc/images", 45),
    "circuit boards": ("pcb_components", 45),
    "switches": ("switch_photos_unlabelled/images", 45),
}
"""Folder of each set, and how many of its reported photos are used at the most."""

_VISIT = 9  # photos of a cabinet in racks; photos of the other sets are put together in groups of the same size
_LONG_SIDE = 1280
_ENDINGS = {".jpg", ".jpeg", ".png"}


@dataclass(frozen=True)
class RealPhoto:
    """A photo of one of the sets."""

    path: Path
    enclosure: str
    image: Image


def reported_photos() -> list[RealPhoto]:
    """The half of the photos on which no threshold was chosen, by the hash of the cabinet or file name.

    Raises:
        FileNotFoundError: The photos are not there.
    """
    if not (DATA / RACKS).is_dir():
        raise FileNotFoundError(f"the real photos of ../{DATA.relative_to(PROJECT.parent)} are not here")
    photos = []
    for name, (folder, most) in _SETS.items():
        paths = sorted(path for path in (DATA / folder).rglob("*") if path.suffix.lower() in _ENDINGS)
        kept = [path for path in paths if _is_reported(path.parent.name if name == RACKS else path.name)][:most]
        for number, path in enumerate(kept):
            enclosure = path.parent.name if name == RACKS else f"{name} {number // _VISIT}"
            photos.append(RealPhoto(path, enclosure, _read(path)))
    return photos


def _is_reported(name: str) -> bool:
    return hashlib.sha256(name.encode()).digest()[0] % 2 == 1


def _read(path: Path) -> Image:
    import cv2

    image = np.asarray(cv2.imread(str(path)), dtype=np.uint8)
    return _resized(min(1.0, _LONG_SIDE / max(image.shape)))(image, np.random.default_rng(0))


Transformation = Callable[[Image, np.random.Generator], Image]


def jpeg(image: npt.NDArray[np.uint8], quality: int) -> bytes:
    """Encode a photo."""
    import cv2

    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes())


def _recompressed(quality: int) -> Transformation:
    def apply(image: Image, rng: np.random.Generator) -> Image:  # noqa: ARG001 all have one signature
        import cv2

        return np.asarray(cv2.imdecode(np.frombuffer(jpeg(image, quality), np.uint8), cv2.IMREAD_COLOR), np.uint8)

    return apply


def _resized(scale: float) -> Transformation:
    def apply(image: Image, rng: np.random.Generator) -> Image:  # noqa: ARG001
        import cv2

        return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)

    return apply


def _brightened(factor: float) -> Transformation:
    def apply(image: Image, rng: np.random.Generator) -> Image:  # noqa: ARG001
        return np.asarray(np.clip(image * np.float32(factor), 0, 255), np.uint8)

    return apply


def _cropped(share: float) -> Transformation:
    def apply(image: Image, rng: np.random.Generator) -> Image:
        height, width = image.shape[:2]
        rows, columns = round(height * (1 - share)), round(width * (1 - share))
        top, left = int(rng.integers(0, height - rows + 1)), int(rng.integers(0, width - columns + 1))
        cut: Image = image[top : top + rows, left : left + columns]
        return cut

    return apply


def _rotated(degrees: float) -> Transformation:
    """Turned, and cut so that no corner stays empty, as a phone does it."""

    def apply(image: Image, rng: np.random.Generator) -> Image:  # noqa: ARG001
        import cv2

        height, width = image.shape[:2]
        turned = cv2.warpAffine(image, cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1), (width, height))
        rise = np.sin(np.deg2rad(degrees)) / 2
        rows, columns = int(rise * width) + 1, int(rise * height) + 1
        return np.asarray(turned[rows : height - rows, columns : width - columns], np.uint8)

    return apply


def _after_another(*steps: Transformation) -> Transformation:
    def apply(image: Image, rng: np.random.Generator) -> Image:
        for step in steps:
            image = step(image, rng)
        return image

    return apply


EVERYWHERE: Mapping[str, Transformation] = {
    **{f"recompressed q{quality}": _recompressed(quality) for quality in (30, 50, 70, 90)},
    **{f"resized {scale:g}": _resized(scale) for scale in (0.3, 0.5, 0.75)},
    **{f"brightness {factor:g}": _brightened(factor) for factor in (0.7, 0.85, 1.15, 1.3)},
    "crop 5 %": _cropped(0.05),
    "messenger": _after_another(_cropped(0.03), _brightened(1.1), _resized(0.6), _recompressed(50)),
}
"""What has to be found among the photos of all enclosures."""

WITHIN: Mapping[str, Transformation] = {**EVERYWHERE, "crop 10 %": _cropped(0.10)}
"""What has to be found among the photos of the same enclosure."""

BEYOND: Mapping[str, Transformation] = {"rotation 2°": _rotated(2), "rotation 5°": _rotated(5)}
"""What is measured, without a figure that it has to reach."""
