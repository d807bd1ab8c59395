"""Mistakes planted in the labels of the racks photos, and how early a ranking by suspicion brings them.

Predictions are those of models that never saw the enclosure (four folds); beside them what each model finds on the
photos that it was trained on, mistakes included, as a champion would.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from math import ceil

import numpy as np
import polars as pl

from benchmarks.planted_errors import FOLDS, MINUTES, Planted, planted_labels
from mlops_assets.boxes import BOX_COLUMNS
from mlops_assets.monitoring.label_errors import find_label_errors, overlaps
from mlops_assets.monitoring.schema import LABEL_ERROR_KINDS
from resources.settings import PROJECT

FIRST = 0.05
SAME_PLACE_IOU = 0.5

_FOLDER = PROJECT / "bench-output" / "label_errors"
"""Photos and predictions stay here, so that scoring can be repeated without training."""


@dataclass(frozen=True)
class Ranking:
    """One kind of mistake, a ranking of boxes or photos: (n,) whether each is a planted mistake, likeliest first."""

    hits: np.ndarray[tuple[int], np.dtype[np.bool_]]
    planted: int

    @property
    def first(self) -> int:
        """How many are looked at."""
        return ceil(FIRST * len(self.hits))

    @property
    def precision(self) -> float:
        """Share of mistakes among those."""
        return float(self.hits[: self.first].mean())

    @property
    def random(self) -> float:
        """The same of a random order, as expected."""
        return float(self.hits.mean())

    def row(self, name: str) -> str:
        """A line of the table."""
        found = int(self.hits[: self.first].sum())
        return (
            f"  {name:34} {len(self.hits):5} {int(self.hits.sum()):4} of {self.planted:3} {found:4} of {self.first:3}"
            f" {self.precision:6.2f} {self.random:6.3f} {self.precision / self.random:6.1f}"
        )


def run() -> dict[str, float]:
    """Print the table of every way to get predictions; returns the ratios of the models that never saw the photo."""
    _train_missing()
    planted = planted_labels(_FOLDER)
    found = pl.concat([pl.read_parquet(_FOLDER / f"fold-{fold}.parquet") for fold in range(FOLDS)])
    kinds = dict(planted.labels["planted"].drop_nulls().value_counts().iter_rows())
    print(
        f"{planted.labels['photo_id'].n_unique()} photos, {planted.labels['class_id'].count()} boxes left; planted: "
        f"{planted.dropped.height} dropped, {kinds['swapped']} swapped, {kinds['badly_located']} shifted"
    )
    print(f"\n  {'first 5 % of':34} {'all':>5} {'planted':>11} {'found':>11} {'share':>6} {'random':>6} {'times':>6}")
    print("\nModels that never saw the photo")
    unseen = _rankings(planted, found.filter(pl.col("split") == "test"))
    for name, ranking in unseen.items():
        print(ranking.row(name))
    print("\nModels that were trained on the photo and its mistakes, by fold")
    seen: dict[str, list[float]] = {}
    for fold in range(FOLDS):
        own = found.filter((pl.col("model_version") == str(fold)) & (pl.col("split") == "train"))
        for name, ranking in _rankings(planted, own).items():
            seen.setdefault(name, []).append(ranking.precision / ranking.random)
    for name, values in seen.items():
        print(f"  {name:34} {', '.join(f'{value:.1f}' for value in values)} times random")
    ratios = {name.replace(" ", "_"): r.precision / r.random for name, r in unseen.items()}
    return ratios | {f"{name.replace(' ', '_')}_seen": float(np.mean(values)) for name, values in seen.items()}


def _rankings(planted: Planted, found: pl.DataFrame) -> dict[str, Ranking]:
    """By box and by photo: of swapped and badly located all labels, of overlooked all detections that count."""
    photos = found.select("photo_id").unique()
    labels = planted.labels.join(photos, on="photo_id", how="semi")
    dropped = planted.dropped.join(photos, on="photo_id", how="semi")
    errors = find_label_errors(labels, found, {}).drop("class_name", "predicted_class_name")
    counted = found.filter(pl.col("confidence") >= pl.col("threshold"))
    result: dict[str, Ranking] = {}
    for kind in LABEL_ERROR_KINDS:
        own = errors.filter(pl.col("kind") == kind)
        if kind == "overlooked":
            ranked = _ranked(counted, own, ["photo_id", *BOX_COLUMNS])
            ranked = ranked.with_columns(hit=pl.Series(list(_finds(ranked, dropped)), dtype=pl.Boolean))
            mistakes = dropped
        else:
            boxes = labels.drop_nulls("class_id").with_columns(hit=pl.col("planted").eq_missing(pl.lit(kind)))
            ranked = _ranked(boxes, own, ["photo_id", "class_id", *BOX_COLUMNS])
            mistakes = boxes.filter("hit")
        result[f"{kind} boxes"] = Ranking(ranked["hit"].to_numpy(), mistakes.height)
        faulty = mistakes.select("photo_id").unique().with_columns(hit=pl.lit(True))
        by_photo = (
            photos.join(ranked.group_by("photo_id").agg(pl.min("quality")), on="photo_id", how="left")
            .join(faulty, on="photo_id", how="left")
            .with_columns(pl.col("hit").fill_null(False), pl.col("quality").fill_null(1.0))
            .sort("quality", "photo_id")
        )
        result[f"{kind} photos"] = Ranking(by_photo["hit"].to_numpy(), faulty.height)
    return result


def _ranked(boxes: pl.DataFrame, errors: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    """All boxes with their quality, 1 where nothing speaks against them, the lowest first; photo_id breaks ties."""
    return (
        boxes.join(errors.select(*key, "quality").unique(key), on=key, how="left")
        .with_columns(pl.col("quality").fill_null(1.0))
        .sort("quality", "photo_id", *BOX_COLUMNS)
    )


def _finds(ranked: pl.DataFrame, dropped: pl.DataFrame) -> Iterator[bool]:
    """Whether each detection lies where a box was dropped that none before it has found."""
    places = {key[0]: group for key, group in dropped.partition_by("photo_id", as_dict=True).items()}
    taken: dict[str, set[int]] = {}
    for row in ranked.iter_rows(named=True):
        missing = places.get(row["photo_id"])
        if missing is None:
            yield False
            continue
        box = np.array([[row[column] for column in BOX_COLUMNS]])
        overlap = overlaps(box, missing.select(BOX_COLUMNS).to_numpy())[0]
        overlap[list(taken.get(row["photo_id"], set()))] = 0.0
        best = int(overlap.argmax())
        if found := bool(overlap[best] >= SAME_PLACE_IOU):
            taken.setdefault(row["photo_id"], set()).add(best)
        yield found


def _train_missing() -> None:
    """One fold a core at a time, each in a process of its own."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    missing = iter([fold for fold in range(FOLDS) if not (_FOLDER / f"fold-{fold}.parquet").exists()])
    planted_labels(_FOLDER)
    while batch := list(islice(missing, len(os.sched_getaffinity(0)))):
        command = [sys.executable, "-m", "benchmarks.planted_errors", str(_FOLDER)]
        running = [
            subprocess.Popen([*command, str(fold), str(MINUTES)], cwd=PROJECT)  # noqa: S603 no input from outside
            for fold in batch
        ]
        ended = [process.wait() for process in running]
        if any(ended):
            raise RuntimeError("A fold could not be trained; its message is above")
