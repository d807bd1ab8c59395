"""Photos that show nearly the same: perceptual hashes and their distance.

Hashes find re-encoded, rescaled and slightly brightened copies; they miss crops (DESIGN §7). Byte-for-byte equal
photos are found by photo_id in `intake`.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from mlops_assets.photos.pixels import Image

_SIDE = 32
_KEPT = 8


def perceptual_hash(image: Image) -> str:
    """64-bit DCT hash (pHash), 16 hexadecimal digits.

    The photo's grey levels at 32 x 32 pixels, their two-dimensional discrete cosine transform, and of its 8 x 8
    lowest frequencies one bit each: above the median or not; the constant term is left out of the median
    (C. Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010, §3.2.1).

    Args:
        image: (height, width, 3), BGR.
    """
    import cv2

    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    lowest = cv2.dct(small)[:_KEPT, :_KEPT].ravel()
    bits = lowest > np.median(lowest[1:])
    return np.packbits(bits).tobytes().hex()


def hamming_distances(hashes: Sequence[str], others: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Differing bits of each of n hashes to each of m others, (n, m).

    Raises:
        ValueError: A hash is not hexadecimal.
    """
    distances: npt.NDArray[np.uint8] = np.bitwise_count(_integers(hashes)[:, None] ^ _integers(others)[None, :])
    return distances


def _integers(hashes: Sequence[str]) -> npt.NDArray[np.uint64]:
    return np.array([int(value, 16) for value in hashes], dtype=np.uint64)


def mark_near_duplicates(photos: pl.DataFrame, recent: pl.DataFrame, *, distance: int) -> pl.DataFrame:
    """Say which earlier photo of the same enclosure each photo nearly repeats.

    Args:
        photos: photo_id, enclosure_id, perceptual_hash, in the order in which the first one counts.
        recent: The same columns of photos that count before these, earliest first.
        distance: Largest number of differing bits.

    Returns:
        `photos` with near_duplicate_of: the photo_id of the earliest photo within the distance, or null.
    """
    columns = ["photo_id", "enclosure_id", "perceptual_hash"]
    touched = recent.filter(pl.col("enclosure_id").is_in(photos["enclosure_id"].unique().implode()))
    everything = pl.concat([touched.select(columns), photos.select(columns)]).unique(
        "photo_id", keep="first", maintain_order=True
    )
    firsts: dict[str, str] = {}
    for _, group in everything.group_by("enclosure_id", maintain_order=True):
        ids, hashes = group["photo_id"].to_list(), group["perceptual_hash"].to_list()
        # strictly below the diagonal: only photos that came before
        near = np.tril(hamming_distances(hashes, hashes) <= distance, k=-1)
        firsts |= {ids[row]: ids[int(near[row].argmax())] for row in np.flatnonzero(near.any(axis=1))}
    found = pl.DataFrame(
        {"photo_id": list(firsts), "near_duplicate_of": list(firsts.values())},
        schema={"photo_id": pl.String(), "near_duplicate_of": pl.String()},
    )
    return photos.join(found, on="photo_id", how="left", maintain_order="left")
