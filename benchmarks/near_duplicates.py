"""Near-duplicates of real photos beside imagededup's pHash, and what the search among a million photos takes.

Copies are uploaded anew: each is encoded, normalised and cleaned as a photo of its own, on the day after its original.
imagededup runs its own code, in a process of its own: `make bench` installs it beside the project
(`.tools/bench`), without the packages that both have in common.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from benchmarks.photo_copies import BEYOND, EVERYWHERE, RACKS, WITHIN, RealPhoto, jpeg, reported_photos
from mlops_assets.photos.candidates import COMPARED, HITS, all_of
from mlops_assets.photos.examination import examine
from mlops_assets.photos.hash_index import HashIndex
from mlops_assets.photos.near_duplicates import MARKS, mark_near_duplicates
from mlops_assets.photos.perceptual_hashes import as_integers, hamming_distances
from mlops_assets.photos.pixels import decode_scaled
from mlops_assets.photos.quality import MEASURED_LONG_SIDE, measure
from mlops_assets.use_case import IntakeRules, NearDuplicateRules
from resources.settings import PROJECT

TOOLS = PROJECT / ".tools" / "bench"
RULES = NearDuplicateRules()
YESTERDAY, TODAY = "2026-10-05", "2026-10-06"
ORIGINAL = "original"
COPIES = {**WITHIN, **BEYOND}

_ENCODE = (
    "import json, sys\n"
    "from imagededup.methods import PHash\n"
    "json.dump(PHash(verbose=False).encode_images(sys.argv[1], num_enc_workers=0), open(sys.argv[2], 'w'))\n"
)


@dataclass
class Score:
    """Copies that were traced to their original, or to another photo, of how many."""

    right: int = 0
    wrong: int = 0
    copies: int = 0

    def __add__(self, other: "Score") -> "Score":
        return Score(self.right + other.right, self.wrong + other.wrong, self.copies + other.copies)

    @property
    def recall(self) -> float:
        """Share of the copies that were traced to their original."""
        return self.right / self.copies

    @property
    def precision(self) -> float:
        """Share of what was found that is right."""
        return self.right / max(1, self.right + self.wrong)


def run() -> dict[str, float]:
    """Print the table by transformation and the search times; returns the ratios."""
    return {**recall_and_precision(), **_search_times()}


def recall_and_precision() -> dict[str, float]:
    """Print the table by transformation; returns the ratios, which the section `photos` has as well.

    Raises:
        FileNotFoundError: The photos are not there.
    """
    photos = reported_photos()
    versions = _versions(photos)
    store = {photo_id: content for contents in versions.values() for photo_id, content in contents}
    rows = {name: _rows(photos, contents) for name, contents in versions.items()}
    within = {name: _ours(rows[ORIGINAL], rows[name], store) for name in COPIES}
    away = pl.lit("elsewhere ") + pl.col("enclosure_id")
    everywhere = {name: _ours(rows[ORIGINAL], rows[name].with_columns(enclosure_id=away), store) for name in COPIES}
    alone = _mark(rows[ORIGINAL], {}, store)["near_duplicate_of"]
    theirs = _imagededup(photos, versions)
    _print_table(within, everywhere, theirs)
    print(f"different photos taken for one shot: {alone.count()} of {len(alone)} photos")
    _print_racks(photos, rows[ORIGINAL], theirs)
    required = sum((within[name] for name in WITHIN), Score(wrong=alone.count()))
    required_everywhere = sum((everywhere[name] for name in EVERYWHERE), Score(wrong=alone.count()))
    return {
        "near_duplicate_recall": min(within[name].recall for name in WITHIN),
        "near_duplicate_precision": required.precision,
        "near_duplicate_recall_everywhere": min(everywhere[name].recall for name in EVERYWHERE),
        "near_duplicate_precision_everywhere": required_everywhere.precision,
    }


def _versions(photos: Sequence[RealPhoto]) -> dict[str, list[tuple[str, bytes]]]:
    """photo_id and normalised photo of every photo as it is and after each transformation."""
    versions: dict[str, list[tuple[str, bytes]]] = {ORIGINAL: []}
    for name, transformation in {ORIGINAL: None, **COPIES}.items():
        rng = np.random.default_rng(0)
        images = [photo.image if transformation is None else transformation(photo.image, rng) for photo in photos]
        uploads = [jpeg(image, 92) for image in images]
        versions[name] = [(hashlib.sha256(upload).hexdigest(), _normalised(upload)) for upload in uploads]
    return versions


def _normalised(upload: bytes) -> bytes:
    return examine(upload, IntakeRules(), ZoneInfo("UTC")).photo


def _rows(photos: Sequence[RealPhoto], contents: Sequence[tuple[str, bytes]]) -> pl.DataFrame:
    rows = [
        (photo_id, photo.enclosure, None, measure(decode_scaled(content, MEASURED_LONG_SIDE)).perceptual_hash)
        for photo, (photo_id, content) in zip(photos, contents, strict=True)
    ]
    return pl.DataFrame(rows, schema=COMPARED, orient="row")


def _mark(photos: pl.DataFrame, earlier: Mapping[str, pl.DataFrame], store: Mapping[str, bytes]) -> pl.DataFrame:
    nothing = pl.DataFrame(schema={"photo_id": pl.String(), **MARKS})
    return mark_near_duplicates(
        TODAY, photos, all_of(earlier), previous=nothing, read_photo=store.__getitem__, rules=RULES
    )


def _ours(originals: pl.DataFrame, copies: pl.DataFrame, store: Mapping[str, bytes]) -> Score:
    found = _mark(copies, {YESTERDAY: originals}, store)["near_duplicate_of"]
    right = int((found == originals["photo_id"]).sum())
    return Score(right, found.count() - right, len(found))


# -- imagededup --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Theirs:
    """imagededup's hashes, by transformation, in the order of the photos."""

    hashes: Mapping[str, Sequence[str]]
    same_enclosure: np.ndarray[tuple[int, int], np.dtype[np.bool_]]

    def score(self, name: str, distance: int, *, within: bool) -> Score:
        """Pairs of a copy and an original within a distance."""
        near = hamming_distances(as_integers(self.hashes[name]), as_integers(self.hashes[ORIGINAL])) <= distance
        if within:
            near &= self.same_enclosure
        right = int(near.diagonal().sum())
        return Score(right, int(near.sum()) - right, len(near))

    def best_distance(self, names: Sequence[str], *, within: bool) -> int:
        """The largest distance of a precision of 0.99 over all these, in hindsight: its own default finds less."""
        precise = [
            distance
            for distance in range(33)
            if sum((self.score(name, distance, within=within) for name in names), Score()).precision >= 0.99
        ]
        return max(precise)


def _imagededup(photos: Sequence[RealPhoto], versions: Mapping[str, Sequence[tuple[str, bytes]]]) -> Theirs:
    (packages,) = TOOLS.glob("lib/python3*/site-packages")
    with tempfile.TemporaryDirectory() as folder:
        pictures, answer = Path(folder) / "photos", Path(folder) / "hashes.json"
        pictures.mkdir()
        for name, contents in versions.items():
            for number, (_, content) in enumerate(contents):
                (pictures / f"{name} {number}.jpg").write_bytes(content)
        environment = {**os.environ, "PYTHONPATH": str(packages)}
        command = [sys.executable, "-W", "ignore", "-c", _ENCODE, str(pictures), str(answer)]
        subprocess.run(command, env=environment, check=True)  # noqa: S603 our own code
        found = json.loads(answer.read_text(encoding="utf-8"))
    hashes = {name: [found[f"{name} {number}.jpg"] for number in range(len(photos))] for name in versions}
    enclosures = np.array([photo.enclosure for photo in photos])
    return Theirs(hashes, enclosures[:, None] == enclosures[None, :])


# -- what is printed ---------------------------------------------------------------------------------------------


def _print_table(within: Mapping[str, Score], everywhere: Mapping[str, Score], theirs: Theirs) -> None:
    near = theirs.best_distance(list(WITHIN), within=True)
    far = theirs.best_distance(list(EVERYWHERE), within=False)
    print(f"imagededup's pHash at its best distance of precision 0.99: {near} bits within, {far} everywhere")
    print("| recall, precision | within an enclosure | imagededup | everywhere | imagededup |")
    print("| --- | --- | --- | --- | --- |")
    for name, score in within.items():
        scores = (
            score,
            theirs.score(name, near, within=True),
            everywhere[name],
            theirs.score(name, far, within=False),
        )
        print(f"| {name} | " + " | ".join(f"{one.recall:.3f}, {one.precision:.3f}" for one in scores) + " |")


def _print_racks(photos: Sequence[RealPhoto], originals: pl.DataFrame, theirs: Theirs) -> None:
    """Different shots of one cabinet: how many of them a hash alone takes for one."""
    cabinets = np.array([RACKS in photo.path.parts for photo in photos])
    pairs = theirs.same_enclosure & cabinets & cabinets[:, None] & ~np.eye(len(photos), dtype=bool)
    for distance in (theirs.best_distance(list(WITHIN), within=True), RULES.nearby_distance):
        ours = as_integers(originals["perceptual_hash"].to_list())
        near = int((pairs & (hamming_distances(ours, ours) <= distance)).sum()) // 2
        print(f"racks: {near} of {int(pairs.sum()) // 2} pairs of shots of one cabinet are within {distance} bits")


def _search_times() -> dict[str, float]:
    """Seconds to search 10,000 hashes among a million, and among ten million."""
    rng = np.random.default_rng(0)
    wanted = rng.integers(0, 2**64, 10_000, dtype=np.uint64)
    times = {}
    for millions in (1, 10):
        days = ((f"day {day}", rng.integers(0, 2**64, 5_000, dtype=np.uint64)) for day in range(200 * millions))
        index = HashIndex(days)
        queries = wanted[: 10_000 // millions]
        started, cpu = time.perf_counter(), time.process_time()
        index.near(queries, RULES.everywhere_distance, limit=HITS)
        seconds = time.perf_counter() - started
        print(
            f"search of {len(queries):,} among {len(index):,}: {seconds:.1f} s, "
            f"{time.process_time() - cpu:.1f} s of CPU"
        )
        times[f"search_seconds_10000_in_{millions}m"] = seconds * 10_000 / len(queries)
    return times
