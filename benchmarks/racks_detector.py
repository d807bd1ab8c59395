"""A detector of the racks devices for benchmarks of inference, and the photos of enclosures that it has never seen.

Boxes are the truth of ../shared/data/racks, so that every photo counts. Weights are made once and kept in bench-output.
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from benchmarks.real_photos import RACKS
from mlops_assets.class_keys import class_key
from mlops_assets.dataset.export import Photos, export_yolo
from mlops_assets.dataset.schema import TRAINING_DATASET
from mlops_assets.detector.bundled import bundled_weights
from mlops_assets.detector.training import train
from mlops_assets.detector.weights import starting_point
from mlops_assets.use_case import TrainingRules
from resources.settings import PROJECT

KEPT = PROJECT / "bench-output" / "racks-detector"
_SPLITS = ("test", "train", "test", "val", "test", "train", "test", "train", "train", "train")
"""Of the enclosures in the order of their names: as many held out as can be, with every class among the others."""

RULES = TrainingRules(image_size=640, epochs=15, patience=1000)


@dataclass(frozen=True)
class RacksDetector:
    """Trained weights and what they were not trained on.

    Attributes:
        weights: Ultralytics checkpoint.
        dataset: TRAINING_DATASET of all photos; photo_id is <enclosure>-<file>, held-out enclosures have split test.
        class_ids: In the order of the network's outputs.
    """

    weights: Path
    dataset: pl.DataFrame
    class_ids: list[int]


def racks_detector(threads: int) -> RacksDetector:
    """Train it, about a quarter of an hour on one core, or take the weights of an earlier run.

    Raises:
        FileNotFoundError: The photos are not there.
    """
    if not RACKS.is_dir():
        raise FileNotFoundError("This section needs the real photos of ../shared/data/racks, which are not here")
    dataset = _dataset()
    class_ids = dataset["class_id"].unique().sort().to_list()
    weights = KEPT / "best.pt"
    if not weights.exists():
        print(f"Training a detector of {len(class_ids)} devices once, for {weights}", flush=True)
        photos = Photos(photo_bytes)
        data = export_yolo(dataset, class_ids, photos, KEPT / "dataset", image_size=RULES.image_size, workers=threads)
        result = train(
            data,
            KEPT / "training",
            starting_point(None, None, RULES.architecture, bundled_weights(RULES.architecture)),
            RULES,
            [class_key(class_id) for class_id in class_ids],
            device="cpu",
            threads=threads,
            on_epoch=lambda epoch: print(f"  {epoch.sentence()}", flush=True),
            plots=False,
        )
        result.weights.replace(weights)
    return RacksDetector(weights, dataset, class_ids)


def photo_bytes(photo_id: str) -> bytes:
    """The photo as it landed."""
    enclosure, _, file = photo_id.rpartition("-")
    (path,) = (RACKS / "landing").glob(f"*/{enclosure}/{file}")
    return path.read_bytes()


def _dataset() -> pl.DataFrame:
    boxes = pl.read_csv(RACKS / "truth" / "boxes.csv", schema_overrides={"day": pl.String})
    names = boxes["class"].unique().sort().to_list()
    enclosures = boxes["enclosure_id"].unique().sort().to_list()
    splits = {name: _SPLITS[number % len(_SPLITS)] for number, name in enumerate(enclosures)}
    wide, high = pl.col("width"), pl.col("height")
    rows = boxes.select(
        photo_id=pl.col("enclosure_id") + "-" + pl.col("file"),
        enclosure_id="enclosure_id",
        split=pl.col("enclosure_id").replace_strict(splits),
        class_id=pl.col("class").replace_strict(names, range(len(names)), return_dtype=pl.Int32),
        box_x=(pl.col("x") + pl.col("w") / 2) / wide,
        box_y=(pl.col("y") + pl.col("h") / 2) / high,
        box_w=pl.col("w") / wide,
        box_h=pl.col("h") / high,
        class_map_version=pl.lit(len(names), pl.Int32),
    )
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in TRAINING_DATASET.items() if name not in rows.columns]
    return rows.with_columns(missing).select(pl.col(name).cast(dtype) for name, dtype in TRAINING_DATASET.items())


if __name__ == "__main__":
    found = racks_detector(1)
    counted = found.dataset.group_by("split").agg(pl.n_unique("photo_id", "enclosure_id"), pl.len().alias("boxes"))
    print(counted)
