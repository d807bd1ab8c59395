"""From reasons to a queue: which photos are offered, in which order, so that a day's labelling is worth most.

Reasons take turns in the order of REVIEW_KINDS, photos to label again first, each up to its share of the budget; what
is left of the budget goes to the photos with the most reason of any kind. Each turn takes the photo of the largest
score after it was lowered for what is already chosen of its visit and enclosure (greedy selection with diminishing
returns, as in maximal marginal relevance: Carbonell and Goldstein, SIGIR 1998). Shots that are nearly the same count as
one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from mlops_assets.monitoring.schema import REVIEW_KINDS
from mlops_assets.monitoring.signals import SIGNALS

SAME_VISIT, SAME_ENCLOSURE = 0.5, 0.8
"""What each photo that is already chosen leaves of the score of another one of its visit, and of its enclosure."""

CANDIDATES = pl.Schema(
    {
        **SIGNALS,
        "enclosure_id": pl.String(),
        "visit_id": pl.String(),
        "shot": pl.String(),
        "day": pl.String(),
    }
)
"""SIGNALS with where the photo is from; `shot` is the same for near-duplicates, `day` is that of its landing."""

CHOSEN = pl.Schema(
    {
        "photo_id": pl.String(),
        "rank": pl.Int32(),
        "reason": pl.String(),
        "score": pl.Float64(),
        "kind": pl.String(),
        "enclosure_id": pl.String(),
        "day": pl.String(),
    }
)
"""One row a chosen photo; score is that of its kind, before it was lowered."""


def select(candidates: pl.DataFrame, budget: int, shares: Mapping[str, float]) -> pl.DataFrame:
    """Choose at most `budget` photos.

    Args:
        candidates: CANDIDATES, in any order.
        budget: Photos.
        shares: The most of the budget that each kind takes while others have something to offer; 0 leaves it out.

    Returns:
        CHOSEN, by rank from 1.
    """
    usable = candidates.filter(pl.col("kind").is_in([kind for kind, share in shares.items() if share > 0]))
    ordered = usable.sort("photo_id", "score", "words", descending=[False, True, False]).unique(
        ["photo_id", "kind"], keep="first", maintain_order=True
    )
    state = _State.of(ordered)
    quotas = {kind: round(budget * share) for kind, share in shares.items() if share > 0}
    picks: list[tuple[int, str]] = []
    for kind, row in _turns(state, quotas, budget):
        picks.append((row, kind))
    while len(picks) < budget and (best := state.take_best(state.together)) is not None:
        picks.append((best, str(state.kind[best])))
    return _chosen(ordered, picks)


@dataclass
class _State:
    """Rows of the candidates as arrays, and what was chosen so far."""

    kind: npt.NDArray[np.str_]
    score: npt.NDArray[np.float64]
    visit: npt.NDArray[np.int64]
    enclosure: npt.NDArray[np.int64]
    shot: npt.NDArray[np.int64]
    photo: npt.NDArray[np.int64]
    together: npt.NDArray[np.float64]
    left: npt.NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        self.left = np.ones(len(self.score))

    @classmethod
    def of(cls, ordered: pl.DataFrame) -> "_State":
        def codes(*columns: str) -> npt.NDArray[np.int64]:
            return ordered.select(pl.struct(columns).rank("dense")).to_series().to_numpy().astype(np.int64)

        score = ordered["score"].to_numpy().astype(np.float64)
        photo = codes("photo_id")
        kind = np.asarray(ordered["kind"].to_list(), dtype=np.str_)
        return cls(
            kind=kind,
            score=score,
            visit=codes("enclosure_id", "visit_id"),
            enclosure=codes("enclosure_id"),
            shot=codes("shot"),
            photo=photo,
            together=_together(score, photo),
        )

    def take_best(self, worth: npt.NDArray[np.float64]) -> int | None:
        """The row of the largest lowered worth, which is then taken; None where none is left."""
        lowered = worth * self.left
        if not lowered.size or lowered.max() <= 0:
            return None
        row = int(lowered.argmax())
        self.left[self.visit == self.visit[row]] *= SAME_VISIT
        self.left[(self.enclosure == self.enclosure[row])] *= SAME_ENCLOSURE
        self.left[(self.shot == self.shot[row]) | (self.photo == self.photo[row])] = 0.0
        return row


def _together(score: npt.NDArray[np.float64], photo: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """All reasons of a photo as in a noisy or, on the row of its strongest one; 0 on its others."""
    result = np.zeros(len(score))
    if not len(score):
        return result
    misses = np.ones(int(photo.max()) + 1)
    np.multiply.at(misses, photo, 1 - score)
    strongest = np.lexsort((np.arange(len(score)), -score, photo))
    first = strongest[np.concatenate([[True], np.diff(photo[strongest]) > 0])]
    result[first] = 1 - misses[photo[first]]
    return result


def _turns(state: _State, quotas: Mapping[str, int], budget: int) -> Iterator[tuple[str, int]]:
    """Kind and row, photos to label again first, then one of each kind in turn until quotas or budget are used up."""
    left = dict(quotas)
    first, *others = REVIEW_KINDS
    taken = 0
    while any(left.values()) and taken < budget:
        for kind in [first] if left.get(first) else others:
            if taken == budget or not left.get(kind):
                continue
            row = state.take_best(np.where(state.kind == kind, state.score, 0.0))
            if row is None:
                left[kind] = 0
                continue
            left[kind] -= 1
            taken += 1
            yield kind, row


def _chosen(ordered: pl.DataFrame, picks: list[tuple[int, str]]) -> pl.DataFrame:
    """The chosen rows, with all reasons of each photo in words: that of its kind first."""
    rows = pl.DataFrame(
        {"row": [row for row, _ in picks], "rank": range(1, len(picks) + 1)},
        schema={"row": pl.UInt32, "rank": pl.Int32},
    )
    main = ordered.with_row_index("row").join(rows, on="row").sort("rank")
    others = (
        ordered.join(main.select("photo_id", "rank", main="kind"), on="photo_id")
        .with_columns(first=pl.col("kind") == pl.col("main"))
        .sort("rank", "first", "score", "kind", descending=[False, True, True, False])
        .group_by("photo_id", maintain_order=True)
        .agg(pl.col("words").str.join("; ").alias("reason"))
    )
    return main.join(others, on="photo_id", how="left").sort("rank").select(CHOSEN.names()).match_to_schema(CHOSEN)


class Pool:
    """Candidates of many days, of which only the best of each kind are kept in memory.

    Args:
        limit: Kept of each kind.
        of_visit: Kept of each kind and visit, so that one visit cannot push out all others.
    """

    def __init__(self, limit: int, of_visit: int) -> None:
        self._limit, self._of_visit = limit, of_visit
        self._kept = pl.DataFrame(schema=CANDIDATES)
        self.offered: dict[str, int] = dict.fromkeys(REVIEW_KINDS, 0)

    def add(self, signals: pl.DataFrame, photos: pl.DataFrame) -> None:
        """Take in what one day offers.

        Args:
            signals: SIGNALS.
            photos: photo_id, enclosure_id, visit_id, shot, day; signals of other photos are left out.
        """
        new = signals.join(photos, on="photo_id").select(CANDIDATES.names())
        for kind, count in new["kind"].value_counts().iter_rows():
            self.offered[kind] += count
        order = {"by": ["kind", "score", "photo_id"], "descending": [False, True, False]}
        self._kept = (
            pl.concat([self._kept, new])
            .sort(**order)  # type: ignore[arg-type]
            .group_by("kind", "enclosure_id", "visit_id", maintain_order=True)
            .head(self._of_visit)
            .sort(**order)  # type: ignore[arg-type]
            .group_by("kind", maintain_order=True)
            .head(self._limit)
            .select(CANDIDATES.names())
        )

    def candidates(self) -> pl.DataFrame:
        """CANDIDATES."""
        return self._kept
