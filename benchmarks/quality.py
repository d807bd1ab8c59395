"""How many real photos the quality verdict refuses, whole and spoilt by degrees: the source of the default thresholds.

The thresholds were chosen on every second photo of each folder; what is reported is of the others.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mlops_assets.photos.pixels import Image, decode_scaled, fit_long_side
from mlops_assets.photos.quality import assess
from mlops_assets.use_case import QualityRules
from resources.settings import PROJECT

DATA = PROJECT.parent / "shared" / "data"
FOLDERS = {
    "racks": "racks/landing",
    "playing cards": "playing_cards_voc",
    "industrial": "industrial_objects",
    "components": "pcb_components",
    "switches": "switch_photos_unlabelled",
}
LONG_SIDE = 1280
SMALLEST = 480
"""Smaller ones are refused for that."""

MOST_PHOTOS = 60
"""Of each folder."""

Spoil = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]


def run() -> dict[str, float]:
    """Print the table; returns the smallest share of whole photos kept and of clearly spoilt ones refused.

    Raises:
        FileNotFoundError: The photos are not there.
    """
    if not DATA.is_dir():
        raise FileNotFoundError(f"This section needs the real photos of {DATA}, which are not here")
    refused = {name: _refused(folder) for name, folder in FOLDERS.items()}
    print("Share of photos that the verdict refuses; spoilt at 1280 px long side or less, as they are\n")
    print(f"{'':28}" + "".join(f"{name:>15}" for name in refused))
    for kind in ("whole", *_spoilt()):
        print(f"{kind:28}" + "".join(f"{shares[kind]:15.0%}" for shares in refused.values()))
    return {
        "kept_whole": min(1 - shares["whole"] for shares in refused.values()),
        "refused_spoilt": min(shares[kind] for shares in refused.values() for kind in CLEARLY_SPOILT),
    }


def _refused(folder: str) -> dict[str, float]:
    """By kind of spoiling, the share of a folder's photos that are refused."""
    kinds: Mapping[str, Spoil] = {"whole": lambda photo: photo, **_spoilt()}
    counts = dict.fromkeys(kinds, 0)
    photos = list(_photos(folder))
    for photo in photos:
        for kind, spoil in kinds.items():
            spoilt = spoil(photo.astype(np.float32)).clip(0, 255).astype(np.uint8)
            _, verdict = assess(spoilt, QualityRules(), long_side=LONG_SIDE)
            counts[kind] += verdict.verdict == "rejected"
    return {kind: count / len(photos) for kind, count in counts.items()}


def _photos(folder: str) -> Iterator[Image]:
    """Every second photo, which no threshold was chosen on."""
    paths = sorted(path for path in (DATA / folder).rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    for path in _evenly(paths[1::2] or paths):
        photo = fit_long_side(decode_scaled(path.read_bytes(), LONG_SIDE), LONG_SIDE)
        if max(photo.shape) >= SMALLEST:
            yield photo


def _evenly(paths: list[Path]) -> list[Path]:
    step = max(1, len(paths) // MOST_PHOTOS)
    return paths[::step][:MOST_PHOTOS]


CLEARLY_SPOILT = (
    "out of focus, sigma 4 px",
    "shaken across, 20 px",
    "shaken down, 20 px",
    "light / 20",
    "flash in the dark",
    "fog",
)
"""What no longer shows the equipment; the lesser degrees are shown and not asked for."""


def _spoilt() -> dict[str, Spoil]:
    return {
        "out of focus, sigma 2 px": lambda photo: _blurred(photo, 2),
        "out of focus, sigma 3 px": lambda photo: _blurred(photo, 3),
        "out of focus, sigma 4 px": lambda photo: _blurred(photo, 4),
        "shaken across, 12 px": lambda photo: _shaken(photo, 12, 1),
        "shaken across, 20 px": lambda photo: _shaken(photo, 20, 1),
        "shaken down, 20 px": lambda photo: _shaken(photo, 1, 20),
        "light / 5": lambda photo: photo / 5,
        "light / 10": lambda photo: photo / 10,
        "light / 20": lambda photo: photo / 20,
        "light x 3": lambda photo: photo * 3,
        "light x 5": lambda photo: photo * 5,
        "flash in the dark": _flash_in_the_dark,
        "fog": lambda photo: photo * 0.08 + 150,
    }


def _blurred(photo: npt.NDArray[np.float32], sigma: float) -> npt.NDArray[np.float32]:
    import cv2

    return np.asarray(cv2.GaussianBlur(photo, (0, 0), sigma), dtype=np.float32)


def _shaken(photo: npt.NDArray[np.float32], across: int, down: int) -> npt.NDArray[np.float32]:
    import cv2

    return np.asarray(cv2.blur(photo, (across, down)), dtype=np.float32)


def _flash_in_the_dark(photo: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The middle tenth glares, the rest has a thirtieth of its light."""
    down, across = np.mgrid[: photo.shape[0], : photo.shape[1]]
    distance = np.hypot(down - photo.shape[0] / 2, across - photo.shape[1] / 2) / max(photo.shape[:2])
    spot = 4 * np.exp(-((distance / 0.12) ** 2))[:, :, None]
    return np.asarray(photo * (spot + 0.03), dtype=np.float32)
