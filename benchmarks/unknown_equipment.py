"""Photos with equipment of no known class among the others: racks of ../shared/data, days 1 and 2 against day 3.

A champion is trained by the project's own code on the labels of days 1 and 2; on day 3 two classes appear. The truth of
day 3 is read for scoring only. Training takes minutes and is kept in bench-output, to be taken again.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.ranking import auc, interval
from benchmarks.real_photos import RACKS, Labelled, prepare_racks
from mlops_assets.boxes import BOX_COLUMNS
from mlops_assets.dataset.versions import manifest
from mlops_assets.detector import files
from mlops_assets.detector.candidate import PlainMachine, train_candidate, with_overrides
from mlops_assets.detector.predictor import Observation, OnnxPredictor
from mlops_assets.detector.references import build_references
from mlops_assets.detector.regions import in_input_pixels, overlaps, pool, propose
from mlops_assets.detector.unknown_equipment import References, most_unknown
from resources.tables import Tables

LABELLED_DAYS = ("2026-10-05", "2026-10-06")
DAY = "2026-10-07"
IMAGE_SIZE = 416
MINUTES = 7.0
THREADS = 1
KEPT = Path("bench-output") / "unknown_equipment"
METHOD, LOWEST = "nearest training boxes", "lowest confidence"
CONFIDENCES = (0.05, 0.25)
"""Detections that the baselines look at; of all the best one is what the method is held against."""


@dataclass(frozen=True)
class Scored:
    """Scores of one photo by method, and of its true boxes; the higher, the more unknown.

    `found` says whether the region that was held for unknown equipment overlaps some of it by half.
    """

    enclosure: str
    unknown: bool
    photo: dict[str, float]
    boxes: list[tuple[bool, dict[str, float]]]
    found: bool


def run() -> dict[str, float]:
    """Area under the ROC curve by photo and by box, with intervals, and what features and scoring cost."""
    with tempfile.TemporaryDirectory() as folder:
        labelled = prepare_racks(Path(folder), split_seed=0, labels=["day1-2.coco.json"])
        print(labelled.sentence(), flush=True)
        export = _champion(labelled)
        predictor = OnnxPredictor(export, sorted(labelled.class_map), threads=THREADS)
        references = KEPT / "references.npz"
        known = References.load(build_references(predictor, labelled.dataset, labelled.read_photo).save(references))
        day = _truth(Path(folder), labelled)
        scored = score_photos(predictor, known, day, labelled.read_photo)
        return report(scored) | _costs(predictor, known, export, references, day, labelled.read_photo)


def report(scored: list[Scored]) -> dict[str, float]:
    """Print the table of methods, and give the figures that the aims are about."""
    enclosures = [photo.enclosure for photo in scored]
    photos = np.array([photo.unknown for photo in scored])
    boxes = [(photo.enclosure, *box) for photo in scored for box in photo.boxes]
    box_labels = np.array([unknown for _, unknown, _ in boxes])
    print(f"{photos.sum()} of {len(photos)} photos and {box_labels.sum()} of {len(boxes)} boxes are of unknown classes")
    print(f"on {sum(p.found for p in scored)} of them the region that was pointed at is of an unknown class")
    by_photo = {name: np.array([photo.photo[name] for photo in scored]) for name in scored[0].photo}
    by_box = {name: np.array([scores[name] for *_, scores in boxes]) for name in boxes[0][2]}
    figures: dict[str, float] = {}
    for what, labels, methods, groups in (
        ("photo", photos, by_photo, enclosures),
        ("box", box_labels, by_box, [enclosure for enclosure, *_ in boxes]),
    ):
        for name, scores in methods.items():
            low, high = interval(labels, scores, groups)
            print(f"by {what:5} {name:42} AUC {auc(labels, scores):.3f} ({low:.3f} to {high:.3f})")
        best = max((name for name in methods if name.startswith(LOWEST)), key=lambda n: auc(labels, methods[n]))
        gain = auc(labels, methods[METHOD]) - auc(labels, methods[best])
        low, high = interval(labels, methods[METHOD], groups, beside=methods[best])
        print(f"by {what:5} {METHOD} above {best}: {gain:+.3f} ({low:+.3f} to {high:+.3f})")
        figures |= {f"auc_by_{what}": auc(labels, methods[METHOD]), f"above_lowest_confidence_by_{what}": gain}
    return figures


def score_photos(
    predictor: OnnxPredictor, references: References, truth: pl.DataFrame, read_photo: Callable[[str], bytes]
) -> list[Scored]:
    """Score photos and their true boxes by every method.

    Args:
        predictor: The open export.
        references: Of the same model.
        truth: One row a true box: photo_id, enclosure_id, unknown, box.
        read_photo: Bytes of a normalised photo.
    """
    rows = {str(key[0]): group for key, group in truth.group_by("photo_id", maintain_order=True)}
    random = np.random.default_rng(0)
    scored = []
    for seen in predictor.observe(rows, read_photo, confidence=min(CONFIDENCES)):
        boxes = rows[seen.photo_id]
        found = most_unknown(seen, references, predictor)
        if found is None or seen.features is None:
            raise RuntimeError("The export has no features")
        photo = {METHOD: found.score, "random": random.random(), **_baselines(seen)}
        places = in_input_pixels(boxes.select(BOX_COLUMNS).to_numpy(), seen.placed)
        pooled = pool(seen.features, places, predictor.image_size, predictor.feature_channels)
        confidence = _confidence_of(places, seen)
        by_box = [
            (
                unknown,
                {METHOD: float(d), "random": random.random(), LOWEST: float(1 - c), "entropy": float(entropy(c))},
            )
            for unknown, d, c in zip(boxes["unknown"], references.distances(pooled), confidence, strict=True)
        ]
        photo[f"{METHOD}, true boxes given"] = max(scores[METHOD] for _, scores in by_box)
        place = in_input_pixels(np.array([found.box or (0.0, 0.0, 0.0, 0.0)]), seen.placed)
        hit = bool((overlaps(place, places)[0][boxes["unknown"].to_numpy()] >= 0.5).any())
        scored.append(Scored(boxes["enclosure_id"][0], bool(boxes["unknown"].any()), photo, by_box, hit))
    return scored


def _baselines(seen: Observation) -> dict[str, float]:
    """Of the detections, and of what is left of them where one place may have one box only, whatever its class."""
    scores: dict[str, float] = {}
    for what, confidence in (
        ("", seen.detections.confidence),
        (", one a place", propose(seen.raw, seen.placed).objectness),
    ):
        for floor in CONFIDENCES:
            kept = confidence[confidence > floor]
            scores[f"{LOWEST} from {floor}{what}"] = float(1 - kept.min(initial=1.0))
            scores[f"entropy from {floor}{what}"] = float(entropy(kept).max(initial=0.0))
    return scores


def entropy(confidence: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Entropy, in nats, of whether there is what the detector says; 0 where it is sure."""
    p = np.clip(np.asarray(confidence, dtype=np.float64), 1e-12, 1 - 1e-12)
    result: npt.NDArray[np.float64] = -(p * np.log(p) + (1 - p) * np.log(1 - p))
    return result


def _confidence_of(places: npt.NDArray[np.float64], seen: Observation) -> npt.NDArray[np.float32]:
    """Confidence of the surest detection that overlaps a true box by half, 0 where there is none."""
    found = in_input_pixels(seen.detections.boxes, seen.placed)
    same = overlaps(places, found) >= 0.5
    surest: npt.NDArray[np.float32] = np.where(same, seen.detections.confidence[None], 0).max(axis=1, initial=0)
    return surest


def _truth(home: Path, labelled: Labelled) -> pl.DataFrame:
    """The true boxes of the day's accepted photos, relative, and whether their class is unknown to the champion."""
    places = next(home.glob("*/landing"), None)
    if places is None:
        raise FileNotFoundError(f"No landing zone under {home}")
    schema = {"landing_uri": pl.String(), "photo_id": pl.String(), "enclosure_id": pl.String(), "status": pl.String()}
    ledger = Tables(root=str(places.parent / "store")).read("raw_photos", schema, DAY)
    photos = ledger.filter(pl.col("status") == "accepted").with_columns(
        file=pl.col("landing_uri").str.split("/").list.last()
    )
    boxes = pl.read_csv(RACKS / "truth" / "boxes.csv", schema_overrides={"day": pl.String()})
    known = list(labelled.class_map.values())
    return (
        boxes.filter(pl.col("day") == DAY)
        .join(photos, on=["enclosure_id", "file"])
        .select(
            "photo_id",
            "enclosure_id",
            unknown=~pl.col("class").is_in(known),
            box_x=(pl.col("x") + pl.col("w") / 2) / pl.col("width"),
            box_y=(pl.col("y") + pl.col("h") / 2) / pl.col("height"),
            box_w=pl.col("w") / pl.col("width"),
            box_h=pl.col("h") / pl.col("height"),
        )
        .sort("photo_id", *BOX_COLUMNS)
    )


def _champion(labelled: Labelled) -> Path:
    """Export of a training on days 1 and 2; an earlier one on the same dataset is taken again."""
    contents = manifest(labelled.dataset, labelled.class_map, "benchmark")
    recipe = {"dataset": contents["fingerprint"], "image_size": IMAGE_SIZE, "minutes": MINUTES}
    record, export = KEPT / "record.json", KEPT / "model.onnx"
    if record.is_file() and json.loads(record.read_text(encoding="utf-8"))["recipe"] == recipe:
        print(f"The champion of an earlier run: {record.read_text(encoding='utf-8')}", flush=True)
        return export
    shutil.rmtree(KEPT, ignore_errors=True)
    KEPT.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        candidate = train_candidate(
            labelled.dataset,
            labelled.class_map,
            contents,
            rules=with_overrides(labelled.use_case.training, {"image_size": IMAGE_SIZE, "max_minutes": MINUTES}),
            machine=PlainMachine(threads=THREADS),
            read_photo=labelled.read_photo,
            folder=Path(folder),
            on_epoch=lambda epoch: print(f"  {epoch.sentence()}", flush=True),
        )
        shutil.copyfile(candidate.files[files.ONNX], export)
    record.write_text(json.dumps({"recipe": recipe, "metrics": candidate.metrics, "seconds": candidate.seconds}))
    return export


def _costs(
    predictor: OnnxPredictor,
    known: References,
    export: Path,
    references: Path,
    day: pl.DataFrame,
    read_photo: Callable[[str], bytes],
) -> dict[str, float]:
    """Seconds of the network with and without the second output in turns, and of scoring; sizes in bytes."""
    photo_ids = day["photo_id"].unique().sort().head(20).to_list()
    seen = list(predictor.observe(photo_ids, read_photo, confidence=min(CONFIDENCES)))
    tensor = np.random.default_rng(0).random((1, 3, predictor.image_size, predictor.image_size), dtype=np.float32)
    ways: dict[str, Callable[[int], object]] = {
        "detections only": lambda _: predictor.raw(tensor),
        "with features": lambda _: predictor.raw_with_features(tensor),
        "scoring": lambda i: most_unknown(seen[i % len(seen)], known, predictor),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(60):
        for name, way in ways.items():
            started = time.perf_counter()
            way(round_)
            seconds[name].append(time.perf_counter() - started)
    medians = {name: float(np.median(values)) for name, values in seconds.items()}
    print(", ".join(f"{name} {value * 1e3:.1f} ms" for name, value in medians.items()), end="; ")
    print(f"export {export.stat().st_size:,} bytes, references {references.stat().st_size:,} bytes")
    base = medians["detections only"]
    return {
        "network_with_features": medians["with features"] / base,
        "scoring_over_network": medians["scoring"] / base,
    }
