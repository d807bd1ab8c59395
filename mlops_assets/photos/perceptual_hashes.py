"""Perceptual hashes: 64 bits that stay nearly the same when a photo is re-encoded, resized, brightened or cut a little.

Of a photo, and of its views: how it would look a little more or less cropped. Searching hashes is in `hash_index`.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from mlops_assets.photos.pixels import Image

Hashes = npt.NDArray[np.uint64]
Grey = npt.NDArray[np.uint8]
"""(height, width)."""

_SIDE = 32
_KEPT = 8
_DIGITS = 16

VIEWED_LONG_SIDE = 160
"""Pixels; views are cut from a photo of this size, which is five times as fine as what is hashed."""

_CUTS = (0.05, 0.10)
_PLACES = (0.0, 0.5, 1.0)


def perceptual_hash(image: Image) -> str:
    """64-bit DCT hash (pHash), 16 hexadecimal digits.

    The photo's grey levels at 32 x 32 pixels, their two-dimensional discrete cosine transform, and of its 8 x 8
    lowest frequencies one bit each: above the median or not; the constant term is left out of the median
    (C. Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010, §3.2.1).

    Args:
        image: (height, width, 3), BGR.
    """
    import cv2

    return f"{_hash(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)):016x}"


def view_hashes(grey: Grey) -> Hashes:
    """Hashes of a photo as it is and of 36 views of it.

    Of each share in `_CUTS`, that much of both sides is taken away (the hash of a crop of this photo), or added by
    repeating the edge (the hash of the photo that this one may be a crop of); at nine places each. A crop by 10 %
    differs in 14 bits of 64 in the median from its original, and in 6 from the nearest view.

    Args:
        grey: (height, width).

    Returns:
        (37,), the photo's own first.
    """
    from mlops_assets.photos.pixels import fit_long_side

    small = fit_long_side(grey, VIEWED_LONG_SIDE)
    return np.array([_hash(grey), *(_hash(view) for view in _views(small))], dtype=np.uint64)


def as_integers(hashes: Sequence[str]) -> Hashes:
    """Hashes from their hexadecimal digits, (n,).

    Raises:
        ValueError: One is not 16 hexadecimal digits.
    """
    if any(len(value) != _DIGITS for value in hashes):
        raise ValueError(f"A perceptual hash has {_DIGITS} hexadecimal digits")
    return np.frombuffer(bytes.fromhex("".join(hashes)), dtype=">u8").astype(np.uint64)


def hamming_distances(hashes: Hashes, others: Hashes) -> npt.NDArray[np.uint8]:
    """Differing bits of each of n hashes to each of m others, (n, m)."""
    distances: npt.NDArray[np.uint8] = np.bitwise_count(hashes[:, None] ^ others[None, :])
    return distances


def _hash(grey: Grey) -> int:
    import cv2

    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    lowest = np.asarray(cv2.dct(small))[:_KEPT, :_KEPT].ravel()
    bits = lowest > np.median(lowest[1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def _views(grey: Grey) -> Iterator[Grey]:
    import cv2

    height, width = grey.shape
    for cut in _CUTS:
        rows, columns = round(height * cut), round(width * cut)
        more_rows, more_columns = round(height * cut / (1 - cut)), round(width * cut / (1 - cut))
        for down, right in ((down, right) for down in _PLACES for right in _PLACES):
            top, left = round(rows * down), round(columns * right)
            yield grey[top : height - (rows - top), left : width - (columns - left)]
            top, left = round(more_rows * down), round(more_columns * right)
            extended = cv2.copyMakeBorder(grey, top, more_rows - top, left, more_columns - left, cv2.BORDER_REPLICATE)
            yield np.asarray(extended, dtype=np.uint8)
