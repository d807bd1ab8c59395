"""Pictures and landing folders that the photo tests share."""

import datetime as dt
import io
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import polars as pl
from PIL import Image
from pydantic import PrivateAttr

from mlops_assets.photos.intake import TakenIn, ingest_day
from mlops_assets.photos.schema import PHOTO_MEASURES, RAW_PHOTOS
from mlops_assets.use_case import IntakeRules
from resources.photo_store import PhotoStore

pillow_heif.register_heif_opener()  # to write HEIC

DAY = "2026-10-06"
NO_LEDGER = pl.DataFrame(schema=RAW_PHOTOS)
NO_MEASURES = pl.DataFrame(schema=PHOTO_MEASURES)
NOTHING_YET = TakenIn(NO_LEDGER, NO_MEASURES)
SHARED_DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


class CountingStore(PhotoStore):
    """Remembers what was read and written."""

    _reads: list[str] = PrivateAttr(default_factory=list)
    _writes: list[str] = PrivateAttr(default_factory=list)

    def read(self, uri: str) -> bytes:
        self._reads.append(uri)
        return super().read(uri)

    def read_photo(self, photo_id: str) -> bytes:
        self._reads.append(photo_id)
        return super().read_photo(photo_id)

    def read_original(self, photo_id: str, extension: str) -> bytes:
        self._reads.append(photo_id)
        return super().read_original(photo_id, extension)

    def put_photo(self, photo_id: str, content: bytes) -> str:
        self._writes.append(photo_id)
        return super().put_photo(photo_id, content)


def counting_store(folder: Path) -> CountingStore:
    (folder / "landing").mkdir(exist_ok=True)
    return CountingStore(landing=str(folder / "landing"), root=str(folder / "store"))


def scene(seed: int = 0, width: int = 800, height: int = 600) -> Image.Image:
    """A picture with edges and light, so that it passes the quality verdict; different for every seed."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(30, 220, (height // 40 + 1, width // 40 + 1, 3), dtype=np.uint8)
    return Image.fromarray(np.kron(blocks, np.ones((40, 40, 1), np.uint8))[:height, :width].copy())


def picture(seed: int = 0, fmt: str = "JPEG", size: tuple[int, int] = (800, 600), **options: Any) -> bytes:
    buffer = io.BytesIO()
    scene(seed, *size).save(buffer, fmt, **options)
    return buffer.getvalue()


def land(store: PhotoStore, path: str, content: bytes, day: str = DAY) -> str:
    target = Path(store.landing) / day / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return str(target)


def take_in(
    store: PhotoStore,
    *,
    day: str = DAY,
    previous: TakenIn = NOTHING_YET,
    earlier: pl.DataFrame = NO_LEDGER,
    rules: IntakeRules | None = None,
    first_day: dt.date = dt.date(2026, 10, 1),
    **options: Any,
) -> TakenIn:
    return ingest_day(
        store,
        day,
        previous=previous.ledger,
        measured=previous.measures,
        elsewhere=lambda photo_ids: earlier.filter(pl.col("photo_id").is_in(photo_ids.implode())),
        rules=rules or IntakeRules(),
        timezone="Europe/Budapest",
        first_day=first_day,
        **options,
    )


def ingest(store: PhotoStore, **options: Any) -> pl.DataFrame:
    """The ledger alone."""
    return take_in(store, **options).ledger
