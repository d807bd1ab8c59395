"""How often better, equal and worse candidates are promoted, by the number of test enclosures: a simulation.

Detections are drawn for models whose AP50 is known, enclosure by enclosure, and go through `comparison.compare_matches`
and `promotion.decide` as they are. Both models look at the same devices: what is hard to find for one is likelier to be
missed by the other, and the devices of one enclosure are alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import polars as pl

from mlops_assets.detector.comparison import compare_matches
from mlops_assets.detector.matching import ClassMatches, Matches, class_average_precision
from mlops_assets.detector.parity import ParityResult
from mlops_assets.detector.promotion import decide
from mlops_assets.detector.schema import DETECTOR_EVALUATION
from mlops_assets.use_case import PromotionRules

ENCLOSURES = (4, 8, 20, 40, 150)
TRIALS = 200
PHOTOS = 2
"""Of each enclosure."""

SHOWN_IN = (0.7, 0.6, 0.5, 0.5, 0.4, 0.4, 0.3, 0.2)
"""Share of the enclosures that have each class; one that has it shows one device, or with even chance two."""

CHAMPION_AP50 = 0.80
KINDS: Mapping[str, tuple[str, tuple[float, ...]]] = {
    "better": ("better (all +0.05)", (0.05,) * 8),
    "equal": ("equal", (0.0,) * 8),
    "worse_all": ("worse (all -0.10)", (-0.10,) * 8),
    "worse_one": ("worse (one class -0.30)", (0.0, 0.0, -0.30, 0.0, 0.0, 0.0, 0.0, 0.0)),
    "worse_rare": ("worse (the rarest -0.30)", (0.0,) * 7 + (-0.30,)),
}
"""Name in the table, and change of the AP50 of each class."""
ENCLOSURE_EFFECT, DEVICE_EFFECT = 0.15, 0.45
"""Share of the variance of how hard a device is to find that its enclosure has, and that all models see in it alike."""

FALSE_A_PHOTO = 0.3
"""False detections of a class a photo, most of them of low confidence."""

THRESHOLD = 0.45
_RULES = PromotionRules()


@dataclass(frozen=True)
class Shown:
    """What the test enclosures show of one class: per device its photo, and how hard it is, standard normal."""

    photo: npt.NDArray[np.int64]
    hardness: npt.NDArray[np.float64]


def run() -> dict[str, float]:
    """Prints the share promoted of each kind by the number of test enclosures, over `TRIALS` trials each."""
    recall = recall_for_ap50()
    print(f"{TRIALS} trials each; champion's AP50 {CHAMPION_AP50} in each of {len(SHOWN_IN)} classes; default rules\n")
    print(f"| {'candidate':26} | " + " | ".join(f"{count:>4}" for count in ENCLOSURES) + " |")
    print("| --- | " + " | ".join("---:" for _ in ENCLOSURES) + " |")
    shares: dict[str, float] = {}
    for number, (key, (name, changes)) in enumerate(KINDS.items()):
        row = [_share_promoted(changes, count, recall, seed=1000 * number + count) for count in ENCLOSURES]
        print(f"| {name:26} | " + " | ".join(f"{share:4.2f}" for share in row) + " |", flush=True)
        shares |= {f"{key}_{count}": share for count, share in zip(ENCLOSURES, row, strict=True)}
    return shares


def recall_for_ap50(points: int = 20, devices: int = 40_000) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """AP50 of models that find each share of the devices, measured on a large test set: (AP50, share), both rising."""
    rng = np.random.default_rng(0)
    shares = np.linspace(0.2, 0.999, points)
    photos = devices // 2
    shown = Shown(rng.integers(0, photos, devices), rng.normal(size=devices))
    found = []
    for share in shares:
        precision = class_average_precision(_matches(shown, photos, float(share), rng))
        found.append(0.0 if precision is None else float(precision[0]))
    return np.maximum.accumulate(np.array(found)), shares


def _share_promoted(
    changes: tuple[float, ...],
    enclosures: int,
    recall: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]],
    seed: int,
) -> float:
    rng = np.random.default_rng(seed)
    return sum(promoted(changes, enclosures, recall, rng, trial) for trial in range(TRIALS)) / TRIALS


def promoted(
    changes: tuple[float, ...],
    enclosures: int,
    recall: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]],
    rng: np.random.Generator,
    seed: int = 0,
) -> bool:
    """One trial: a test set, both models' detections on it, and the decision; `seed` is that of the bootstrap."""
    photos = enclosures * PHOTOS
    shown = [_shown(share, enclosures, rng) for share in SHOWN_IN]
    champion, candidate = (
        {
            c: _matches(shown[c], photos, float(np.interp(CHAMPION_AP50 + change, *recall)), rng)
            for c, change in enumerate(wanted)
        }
        for wanted in ((0.0,) * len(SHOWN_IN), changes)
    )
    names = tuple(f"E{photo // PHOTOS:03d}" for photo in range(photos))
    snapshot = tuple(f"{photo:04d}" for photo in range(photos))
    thresholds = dict.fromkeys(range(len(SHOWN_IN)), THRESHOLD)
    comparison = compare_matches(
        Matches(snapshot, names, candidate),
        Matches(snapshot, names, champion),
        candidate_thresholds=thresholds,
        champion_thresholds=thresholds,
        rules=_RULES,
        seed=seed,
    )
    decision = decide(
        _evaluation(candidate),
        comparison,
        ParityResult(1000, 1000),
        frozenset(),
        _RULES,
        test_enclosures={c.class_id: c.enclosures for c in comparison.classes},
        names={c: f"class {c}" for c in range(len(SHOWN_IN))},
    )
    return decision.promoted


def _shown(share: float, enclosures: int, rng: np.random.Generator) -> Shown:
    has = np.flatnonzero(rng.random(enclosures) < share)
    devices = np.repeat(has, rng.integers(1, 3, has.size))
    of_enclosure = rng.normal(size=enclosures)[devices] * np.sqrt(ENCLOSURE_EFFECT)
    of_device = rng.normal(size=devices.size) * np.sqrt(DEVICE_EFFECT)
    hardness = (of_enclosure + of_device) / np.sqrt(ENCLOSURE_EFFECT + DEVICE_EFFECT)
    # Each device shows on every photo of its visit.
    photo = (devices[:, None] * PHOTOS + np.arange(PHOTOS)).ravel()
    return Shown(photo, np.repeat(hardness, PHOTOS))


def _matches(shown: Shown, photos: int, share: float, rng: np.random.Generator) -> ClassMatches:
    """Detections of a model that finds a share of the devices, the hard ones less."""
    common = ENCLOSURE_EFFECT + DEVICE_EFFECT
    own = rng.normal(size=shown.hardness.size) * np.sqrt(1 - common)
    found = shown.photo[np.sqrt(common) * shown.hardness + own < NormalDist().inv_cdf(share)]
    false = rng.integers(0, photos, rng.poisson(FALSE_A_PHOTO * photos))
    confidence = np.concatenate([rng.beta(5, 2, found.size), rng.beta(1.2, 5, false.size)])
    order = np.argsort(-confidence, kind="stable")
    hit = np.concatenate([np.ones(found.size, dtype=bool), np.zeros(false.size, dtype=bool)])[order]
    return ClassMatches(
        confidence=confidence[order],
        photo=np.concatenate([found, false])[order].astype(np.int64),
        hit=hit[None],
        labels=np.bincount(shown.photo, minlength=photos).astype(np.int64),
    )


def _evaluation(matches: dict[int, ClassMatches]) -> pl.DataFrame:
    rows = [
        {"model_version": "2", "class_id": c, "split": "test", "n": int(m.labels.sum())} for c, m in matches.items()
    ]
    return pl.DataFrame(rows, schema=DETECTOR_EVALUATION)
