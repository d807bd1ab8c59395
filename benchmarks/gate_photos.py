"""The labelled set that the gate is tried on: one visit of each rendered enclosure; same seed, same rows."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from demo.render.delivery import write_atomic
from demo.render.equipment import BASE_EQUIPMENT, NEW_EQUIPMENT
from demo.render.exposure import expose, light
from demo.render.plan import Enclosure, plan_demo
from demo.render.scene import Box, Studio
from demo.render.texture import Canvas
from mlops_assets.dataset.schema import TRAINING_DATASET

LONG_SIDE = 640
"""Of the kept photos, pixels: the network's input is smaller still."""

PHOTOS_A_VISIT = 2
CLASS_MAP = {number: kind.name for number, kind in enumerate((*BASE_EQUIPMENT, NEW_EQUIPMENT))}
_IDS = {name: class_id for class_id, name in CLASS_MAP.items()}


@dataclass(frozen=True)
class RenderedSet:
    """Labelled photos: TRAINING_DATASET, and a folder with `<photo_id>.jpg` of each."""

    dataset: pl.DataFrame
    folder: Path

    def read_photo(self, photo_id: str) -> bytes:
        """Bytes of a photo."""
        return (self.folder / f"{photo_id}.jpg").read_bytes()

    def sentence(self) -> str:
        """Photos, enclosures and boxes by split."""
        rows = self.dataset.group_by("split").agg(
            pl.n_unique("photo_id").alias("photos"),
            pl.n_unique("enclosure_id").alias("enclosures"),
            pl.count("class_id").alias("boxes"),
        )
        return "; ".join(
            f"{r['split']}: {r['photos']} photos of {r['enclosures']} enclosures, {r['boxes']} boxes"
            for r in rows.sort("split").to_dicts()
        )


def rendered_set(folder: Path, *, seed: int, enclosures: dict[str, int]) -> RenderedSet:
    """Render the last day of a demo, or take it from `folder`, where an earlier run left it.

    Args:
        folder: Of the photos and of `dataset.parquet`.
        seed: Of the demo.
        enclosures: How many for each split.
    """
    table = folder / f"dataset-{seed}-{'-'.join(map(str, enclosures.values()))}.parquet"
    if not table.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        splits = [split for split, count in enclosures.items() for _ in range(count)]
        plan = plan_demo(seed, len(splits))
        rows = [row for item, split in zip(plan, splits, strict=True) for row in _rows(item, split, folder)]
        dataset = pl.DataFrame(rows, schema=TRAINING_DATASET, orient="row")
        dataset.write_parquet(table)
    return RenderedSet(pl.read_parquet(table), folder)


def _rows(enclosure: Enclosure, split: str, folder: Path) -> Iterator[tuple[object, ...]]:
    visit = enclosure.visits[-1]
    studio = Studio(replace(enclosure, visits=(visit,)))
    for photo in visit.photos[:PHOTOS_A_VISIT]:
        image, boxes = studio.shoot(visit, photo)
        rng = np.random.default_rng([*enclosure.seed, 7, photo.number])
        content = _encoded(expose(light(image, rng), rng))
        photo_id = hashlib.sha256(content).hexdigest()
        write_atomic(folder / f"{photo_id}.jpg", content)
        shown: list[Box | None] = [*boxes] or [None]
        for box in shown:
            yield photo_id, enclosure.enclosure_id, split, *_relative(box, photo.width, photo.height), 10**6, photo_id


def _relative(box: Box | None, width: int, height: int) -> tuple[object, ...]:
    if box is None:
        return (None,) * 5
    centre = (box.x + box.width / 2) / width, (box.y + box.height / 2) / height
    return _IDS[box.equipment], *centre, box.width / width, box.height / height


def _encoded(image: Canvas) -> bytes:
    import cv2

    scale = LONG_SIDE / max(image.shape[:2])
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    done, content = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 90])
    if not done:
        raise RuntimeError("OpenCV could not encode a rendered photo")
    return content.tobytes()
