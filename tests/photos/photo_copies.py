"""Copies of a photo as people and messengers make them, and photos with texture enough to be compared."""

import cv2
import numpy as np


def textured(seed: int, width: int = 960, height: int = 720) -> np.ndarray:
    """A picture with shapes of many sizes, BGR; another one for every seed."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), rng.integers(60, 200, 3), np.uint8)
    for _ in range(160):
        left, top = int(rng.integers(0, width)), int(rng.integers(0, height))
        size = rng.integers(10, 160, 2)
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        cv2.rectangle(image, (left, top), (left + int(size[0]), top + int(size[1])), colour, -1)
    return cv2.GaussianBlur(image, (0, 0), 1.0)


def jpeg(image: np.ndarray, quality: int = 90) -> bytes:
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def resized(image: np.ndarray, scale: float) -> np.ndarray:
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def brightened(image: np.ndarray, factor: float) -> np.ndarray:
    return cv2.convertScaleAbs(image, alpha=factor)


def cropped(image: np.ndarray, share: float, *, down: float = 0.5, right: float = 0.5) -> np.ndarray:
    """Take `share` of both sides away; `down` and `right` say where, 0 for all of it below and on the right."""
    height, width = image.shape[:2]
    rows, columns = round(height * share), round(width * share)
    top, left = round(rows * down), round(columns * right)
    return image[top : height - (rows - top), left : width - (columns - left)]


def another_shot(image: np.ndarray, seed: int = 0) -> np.ndarray:
    """The same thing photographed from elsewhere under other light: perspective, shading and noise."""
    rng = np.random.default_rng(seed)
    height, width = image.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    moved = (corners + rng.uniform(-0.14, 0.14, (4, 2)) * [width, height]).astype(np.float32)
    seen = cv2.warpPerspective(image, cv2.getPerspectiveTransform(corners, moved), (width, height))
    light = np.linspace(0.55, 1.25, width, dtype=np.float32)[None, :, None]
    return np.clip(seen * light + rng.normal(0, 6, seen.shape), 0, 255).astype(np.uint8)
