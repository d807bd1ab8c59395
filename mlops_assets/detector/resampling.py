"""Bootstrap samples of a snapshot's enclosures, and average precision on each of them.

Photos of one enclosure show the same devices, so enclosures, not photos, are drawn. What is made of the samples belongs
in `comparison.py` (paired differences) and `intervals.py` (one model's figures).
"""

import numpy as np
import numpy.typing as npt

from mlops_assets.detector.matching import ClassMatches, Matches, average_precision

_WEIGHTS_AT_ONCE = 1_000_000
"""Weights (samples x predictions) held at a time: 8 MB, of which average precision makes half a dozen copies."""


def enclosure_numbers(matches: Matches) -> npt.NDArray[np.int64]:
    """The enclosure of each photo of a snapshot, numbered from 0 in the order of their names; shape (photos,)."""
    names = np.asarray(matches.enclosures, dtype=str)
    return np.unique(names, return_inverse=True)[1].reshape(-1).astype(np.int64)


def draw_enclosures(count: int, samples: int, seed: int) -> npt.NDArray[np.float64]:
    """How often each enclosure is in each sample, (samples, count): as many as there are, with replacement."""
    if count == 0:
        return np.zeros((samples, 0))
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=samples)
    return draws.astype(np.float64)


def resampled_ap50(
    matches: ClassMatches, draws: npt.NDArray[np.float64], enclosure: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """A class's AP50 on each sample, shape (samples,); NaN where a sample has no label of the class.

    Args:
        matches: Of the class.
        draws: (samples, enclosures) of `draw_enclosures`.
        enclosure: (photos,) of `enclosure_numbers`.
    """
    hits = np.flatnonzero(matches.hit[0])
    # After the last hit precision only falls, which no recall point looks at: low confidences need no weights.
    counted = int(hits[-1]) + 1 if hits.size else 0
    of_prediction = enclosure[matches.photo[:counted]]
    labels = draws @ np.bincount(enclosure, weights=matches.labels, minlength=draws.shape[1])
    step = max(1, _WEIGHTS_AT_ONCE // max(counted, 1))
    parts = [
        average_precision(matches.hit[0, :counted], draws[i : i + step, of_prediction], labels[i : i + step])
        for i in range(0, len(draws), step)
    ]
    return np.concatenate([np.zeros(0), *parts])
