"""Mistakes planted in labels, and what models that never saw a photo find on it: the input of `label_errors`."""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.real_photos import prepare_racks
from mlops_assets.boxes import BOX_COLUMNS
from mlops_assets.dataset.building import build_dataset, check_trainable
from mlops_assets.dataset.shots import with_shots
from mlops_assets.dataset.versions import active_class_map, manifest
from mlops_assets.detector import files
from mlops_assets.detector.candidate import PlainMachine, train_candidate, with_overrides
from mlops_assets.detector.evaluation import choose_thresholds
from mlops_assets.detector.predictor import OnnxPredictor, detect_photos
from mlops_assets.photos.lookup import photos_of_visits
from mlops_assets.tables import SCHEMAS
from mlops_assets.use_case import load_use_case
from resources.photo_store import PhotoStore
from resources.settings import Settings
from resources.tables import Tables

SHARE, SEED = 0.05, 0
"""Of all boxes for each kind of mistake."""

SHIFT = (0.2, 0.4)
"""How far a box is moved, in its own width and its own height; the overlap that remains is 0.22 to 0.47."""

FOLDS, VAL_ENCLOSURES = 4, 2
MINUTES = 4.0
CONFIDENCE = 0.05
"""As `catalog.detecting.MIN_CONFIDENCE`: what production keeps of every photo."""

_CASE = Path(__file__).parent / "use_cases" / "racks.yaml"


@dataclass(frozen=True)
class Planted:
    """Labels with mistakes.

    Attributes:
        labels: ANNOTATIONS with `planted`: swapped, badly_located or null.
        dropped: photo_id and boxes that were taken away.
        classes: EQUIPMENT_CLASSES.
        photos: As `photos_of_visits`, usable ones.
        store: Of the use case.
    """

    labels: pl.DataFrame
    dropped: pl.DataFrame
    classes: pl.DataFrame
    photos: pl.DataFrame
    store: Path


def planted_labels(folder: Path) -> Planted:
    """Take the racks photos in, once a folder, and plant mistakes in their labels; always the same ones."""
    settings = Settings(home=folder / "racks")
    store = Path(settings.places("racks").store)
    tables = Tables(root=str(store))
    if not (store / "tables" / "training_dataset.parquet").exists():
        prepare_racks(folder / "racks", split_seed=0)
    raw, clean = (dict(tables.each_day(name, SCHEMAS[name])) for name in ("raw_photos", "clean_photos"))
    photos = with_shots(photos_of_visits(raw, clean)).filter("usable")
    annotations = tables.read("annotations", SCHEMAS["annotations"]).join(photos, on="photo_id", how="semi")
    classes = tables.read("equipment_classes", SCHEMAS["equipment_classes"])
    labels, dropped = plant(annotations, list(active_class_map(classes)))
    return Planted(labels, dropped, classes, photos, store)


def plant(annotations: pl.DataFrame, class_ids: list[int]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Drop, swap and shift `SHARE` of the boxes each; returns the labels with `planted`, and what was dropped.

    A swapped box gets another class that was looked for on its photo, each as likely; a shifted one moves along both
    axes, and stays in the picture.
    """
    rng = np.random.default_rng(SEED)
    rows = annotations.sort("photo_id", "class_id", *BOX_COLUMNS).to_dicts()
    boxes = [number for number, row in enumerate(rows) if row["class_id"] is not None]
    count = round(SHARE * len(boxes))
    chosen = rng.permutation(boxes)[: 3 * count].reshape(3, count).tolist()
    dropped = [rows[number] for number in sorted(chosen[0])]
    for row in rows:
        row["planted"] = None
    for number in chosen[1]:
        others = [c for c in class_ids if c != rows[number]["class_id"] and c < rows[number]["class_map_version"]]
        rows[number] |= {"class_id": int(rng.choice(others)), "planted": "swapped"}
    for number in chosen[2]:
        rows[number] |= {**_shifted(rows[number], rng), "planted": "badly_located"}
    schema = {**annotations.schema, "planted": pl.String()}
    left = pl.DataFrame([row for number, row in enumerate(rows) if number not in set(chosen[0])], schema=schema)
    taken = pl.DataFrame(dropped, schema=schema)
    emptied = taken.unique("photo_id", maintain_order=True).join(left, on="photo_id", how="anti")
    nothing = emptied.with_columns(
        pl.lit(None, annotations.schema[c]).alias(c) for c in ("class_id", "class_name", *BOX_COLUMNS)
    )
    return pl.concat([left, nothing]), taken


def _shifted(row: dict[str, float], rng: np.random.Generator) -> dict[str, float]:
    moved = {}
    for axis, size in (("box_x", "box_w"), ("box_y", "box_h")):
        step = rng.uniform(*SHIFT) * row[size] * rng.choice([-1, 1])
        half = row[size] / 2
        ahead, back = row[axis] + step, row[axis] - step
        moved[axis] = ahead if half <= ahead <= 1 - half else min(max(back, half), 1 - half)
    return moved


def fold_splits(photos: pl.DataFrame, fold: int) -> pl.DataFrame:
    """Every `FOLDS`th enclosure as test; of the next fold the first `VAL_ENCLOSURES` as val, the others as train."""
    enclosures = photos["enclosure_id"].unique().sort().to_list()
    test = set(enclosures[fold::FOLDS])
    val = set(enclosures[(fold + 1) % FOLDS :: FOLDS][:VAL_ENCLOSURES])
    return pl.DataFrame(
        {
            "enclosure_id": enclosures,
            "group": enclosures,
            "split": ["test" if e in test else "val" if e in val else "train" for e in enclosures],
        }
    )


def predict_fold(folder: Path, fold: int, minutes: float) -> Path:
    """Train without one fold of enclosures, from the bundled weights, and look at all labelled photos; once a folder.

    The file holds photo_id, class_id, confidence, box, model_version (the fold), split (test: never seen) and
    threshold (of the class, chosen on val).
    """
    target = folder / f"fold-{fold}.parquet"
    if target.exists():
        return target
    planted = planted_labels(folder)
    labels = planted.labels.drop("planted")
    dataset = build_dataset(labels, planted.photos, planted.classes, fold_splits(planted.photos, fold))
    check_trainable(dataset, planted.classes)
    class_map = active_class_map(planted.classes)
    read_photo = PhotoStore(landing=str(planted.store), root=str(planted.store)).read_photo
    rules = with_overrides(load_use_case(_CASE).training, {"seed": SEED, "max_minutes": minutes})
    candidate = train_candidate(
        dataset,
        class_map,
        manifest(dataset, class_map, "benchmark"),
        rules=rules,
        machine=PlainMachine(threads=1),
        read_photo=read_photo,
        folder=folder / f"training-{fold}",
        on_epoch=lambda epoch: print(f"fold {fold}: {epoch.sentence()}", flush=True),
    )
    predictor = OnnxPredictor(candidate.files[files.ONNX], sorted(class_map), threads=1)
    photo_ids = labels["photo_id"].unique().sort().to_list()
    found = detect_photos(predictor, photo_ids, read_photo, model_version=str(fold), confidence=CONFIDENCE)
    splits = dataset.select("photo_id", "split").unique()
    on_val = found.join(splits.filter(pl.col("split") == "val"), on="photo_id", how="semi")
    thresholds = choose_thresholds(dataset.filter(pl.col("split") == "val"), on_val, sorted(class_map), 0.35)
    found.join(splits, on="photo_id", how="left").with_columns(
        threshold=pl.col("class_id").replace_strict(thresholds, default=None, return_dtype=pl.Float64)
    ).write_parquet(target)
    return target


def main() -> int:
    """One fold in a process of its own: `python -m benchmarks.planted_errors <folder> <fold> <minutes>`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("fold", type=int)
    parser.add_argument("minutes", type=float)
    arguments = parser.parse_args()
    print(predict_fold(arguments.folder, arguments.fold, arguments.minutes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
