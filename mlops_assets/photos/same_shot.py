"""Whether two photos come from one shot, by their geometry: one laid over the other has to show the same.

For a pair that `near_duplicates` thinks worth the look. Different shots of one cabinet share devices, but not light,
perspective and noise, so that no similarity transform lays one over the other.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlops_assets.photos.perceptual_hashes import Grey
from mlops_assets.photos.pixels import decode_scaled

LONG_SIDE = 480
"""Pixels of the long side at which photos are compared, whatever their size; smaller ones are enlarged."""

_KEY_POINTS = 500
_FAST_THRESHOLD = 10  # half of OpenCV's: a copy that was enlarged has soft corners
_REPROJECTION = 3.0  # pixels
_MIN_INLIERS = 12
_SCALES = (0.75, 1 / 0.75)
_MAX_ROTATION = 12.0  # degrees
_MIN_OVERLAP = 0.7
"""Share of the smaller photo that lies on the other."""
_SMOOTHING = 1.5
"""Standard deviation in pixels of a Gauss filter: what recompression and resizing take away does not count."""

_GLARE = 245
_PATCH = (7, 7)  # pixels

Placement = npt.NDArray[np.float64]
"""(2, 3), from pixels of one photo to those of the other: turned, scaled and shifted."""

AS_IT_IS: Placement = np.eye(2, 3)


@dataclass(frozen=True)
class Agreement:
    """How well two photos agree where one is laid over the other."""

    correlation: float
    """Of the grey levels, -1 to 1."""
    difference: float
    """The largest of any patch, in standard deviations of the grey levels."""


@dataclass(frozen=True)
class Shot:
    """What of a photo is needed to compare it with others."""

    grey: Grey
    """Long side LONG_SIDE, smoothed."""
    points: npt.NDArray[np.float32]
    """(n, 2), x and y of ORB's key points."""
    descriptors: npt.NDArray[np.uint8]
    """(n, 32)."""


def grey_photo(content: bytes, long_side: int) -> Grey:
    """Grey levels of a photo of at least `long_side` pixels, if it has as many.

    Raises:
        mlops_assets.photos.pixels.UnreadableImageError: Not a picture, or a broken one.
    """
    import cv2

    return np.asarray(cv2.cvtColor(decode_scaled(content, long_side), cv2.COLOR_BGR2GRAY), dtype=np.uint8)


def look_at(content: bytes) -> Shot:
    """Decode a photo and find its key points.

    Raises:
        mlops_assets.photos.pixels.UnreadableImageError: Not a picture, or a broken one.
    """
    import cv2

    grey = grey_photo(content, LONG_SIDE)
    scale = LONG_SIDE / max(grey.shape)
    size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    resampling = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    fitted = cv2.resize(grey, size, interpolation=resampling)
    orb = cv2.ORB.create(_KEY_POINTS, fastThreshold=_FAST_THRESHOLD)
    found, descriptors = orb.detectAndCompute(fitted, None)
    return Shot(
        np.asarray(cv2.GaussianBlur(fitted, (0, 0), _SMOOTHING), dtype=np.uint8),
        np.array([point.pt for point in found], dtype=np.float32).reshape(-1, 2),
        np.empty((0, 32), np.uint8) if descriptors is None else np.asarray(descriptors, dtype=np.uint8),
    )


def is_same_shot(one: Shot, other: Shot, *, min_correlation: float, max_difference: float) -> bool:
    """Whether two photos agree when one is laid over the other.

    As it is, which is enough for copies that were not cut; else where ORB's key points place it (E. Rublee et al., ORB:
    an efficient alternative to SIFT or SURF, 2011), by the similarity transform that most of them agree on.

    Args:
        one: A photo.
        other: Another one.
        min_correlation: Of the grey levels where they overlap.
        max_difference: At any place, in standard deviations of the grey levels. A photo from the same tripod in which
            one lamp has gone on correlates as well as a copy does.
    """

    def agrees(placement: Placement | None) -> bool:
        found = None if placement is None else agreement(one, other, placement)
        return found is not None and found.correlation >= min_correlation and found.difference <= max_difference

    return agrees(AS_IT_IS) or agrees(placement_of(one, other))


def placement_of(one: Shot, other: Shot) -> Placement | None:
    """The similarity transform that lays one photo over another, if their key points agree on a plausible one."""
    import cv2

    if min(len(one.points), len(other.points)) < _MIN_INLIERS:
        return None
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(one.descriptors, other.descriptors)
    if len(matches) < _MIN_INLIERS:
        return None
    source = one.points[[match.queryIdx for match in matches]]
    target = other.points[[match.trainIdx for match in matches]]
    found, inliers = cv2.estimateAffinePartial2D(source, target, method=cv2.RANSAC, ransacReprojThreshold=_REPROJECTION)
    if found is None or int(inliers.sum()) < _MIN_INLIERS:
        return None
    scale = float(np.hypot(found[0, 0], found[1, 0]))
    rotation = float(np.degrees(np.arctan2(found[1, 0], found[0, 0])))
    plausible = _SCALES[0] <= scale <= _SCALES[1] and abs(rotation) <= _MAX_ROTATION
    return np.asarray(found, dtype=np.float64) if plausible else None


def agreement(one: Shot, other: Shot, placement: Placement) -> Agreement | None:
    """How well one photo, placed on another, agrees with it; None where too little of them overlaps.

    Grey levels may differ by a factor and a constant. Where either is glaring they are left out, since a brighter
    copy has lost them, unless that is most of the photo.
    """
    import cv2

    height, width = other.grey.shape
    laid = np.asarray(cv2.warpAffine(one.grey, placement, (width, height)))
    covered = np.asarray(cv2.warpAffine(np.full_like(one.grey, 255), placement, (width, height))) == 255
    scale = abs(np.linalg.det(placement[:, :2]))
    if covered.sum() < _MIN_OVERLAP * min(other.grey.size, one.grey.size * scale):
        return None
    told = covered & (laid < _GLARE) & (other.grey < _GLARE)
    if told.sum() < covered.sum() / 2:
        told = covered
    left, right = laid.astype(np.float32), other.grey.astype(np.float32)
    left, right = left - left[told].mean(), right - right[told].mean()
    squares, products = float((right[told] ** 2).sum()), float((left[told] * right[told]).sum())
    spread = float((left[told] ** 2).sum())
    if not squares or not spread:
        return None
    apart = np.where(told, np.abs(left - products / squares * right), np.float32(0))
    largest = float(cv2.blur(apart, _PATCH).max())
    return Agreement(products / float(np.sqrt(squares * spread)), largest / float(np.sqrt(spread / told.sum())))
