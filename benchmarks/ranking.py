"""How well scores put what is sought before the rest, with intervals by resampling enclosures."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

SAMPLES = 1000


def auc(sought: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64]) -> float:
    """Area under the ROC curve: how often one that is sought scores above one that is not, ties half.

    Mann and Whitney's U over the number of pairs (Hanley and McNeil, Radiology 143, 1982). NaN without either.
    """
    n = int(sought.sum())
    if n in (0, len(sought)):
        return float("nan")
    ranks = pl.Series(scores).rank("average").to_numpy()
    return float((ranks[sought].sum() - n * (n + 1) / 2) / (n * (len(sought) - n)))


def interval(
    sought: npt.NDArray[np.bool_],
    scores: npt.NDArray[np.float64],
    groups: Sequence[str],
    beside: npt.NDArray[np.float64] | None = None,
) -> tuple[float, float]:
    """95 % percentile interval of the AUC, or of its lead over other scores, over `SAMPLES` resamples of groups.

    Args:
        sought: (n,) whether each is sought.
        scores: (n,) higher for what is sought.
        groups: (n,) enclosure of each; what is of one enclosure is drawn together.
        beside: (n,) other scores, on the same resamples.
    """
    random = np.random.default_rng(0)
    names = np.array(groups)
    members = [np.flatnonzero(names == name) for name in np.unique(names)]
    values = []
    for _ in range(SAMPLES):
        drawn = np.concatenate([members[i] for i in random.integers(0, len(members), len(members))])
        value = auc(sought[drawn], scores[drawn])
        values.append(value if beside is None else value - auc(sought[drawn], beside[drawn]))
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)
