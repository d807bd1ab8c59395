"""The dataset as files in YOLO layout: images/<split>/<photo_id>.jpg, labels/<split>/<photo_id>.txt and data.yaml.

An export that was cut off is taken up where it stopped: each file appears complete or not at all.
"""

import json
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl

from mlops_assets.boxes import BOX_COLUMNS
from mlops_assets.dataset.schema import SPLITS
from mlops_assets.dataset.versions import data_yaml
from mlops_assets.photos.pixels import UnreadableImageError, decode_scaled, fit_long_side

JPEG_QUALITY = 95
"""High, since training photos should not be a second lossy generation that inference never sees."""

_MARKER = "export.json"


class DatasetExportError(RuntimeError):
    """The dataset cannot be exported; the message names the photo or folder and what to do."""


def export_yolo(
    dataset: pl.DataFrame,
    class_ids: Sequence[int],
    read_photo: Callable[[str], bytes],
    folder: Path,
    *,
    image_size: int,
    workers: int,
) -> Path:
    """Write what is missing of the dataset, and remove exported files that are no longer part of it.

    Args:
        dataset: TRAINING_DATASET.
        class_ids: Classes of the model; a label's index is the position in the sorted ids.
        read_photo: Gives the bytes of the normalised photo of a photo_id; called from several threads.
        folder: Local folder of this export alone.
        image_size: Long side of the exported photos, pixels; smaller photos stay as they are.
        workers: Threads.

    Returns:
        Path of data.yaml, which is written last.

    Raises:
        DatasetExportError: A photo cannot be read, a box has a class that is none of `class_ids`, or the folder holds
            an export of another size or other files.
    """
    positions = {class_id: index for index, class_id in enumerate(sorted(class_ids))}
    _claim(folder, image_size)
    labels = _label_files(dataset, positions)
    expected = {folder / kind / split for kind in ("images", "labels") for split in SPLITS}
    for directory in expected:
        directory.mkdir(parents=True, exist_ok=True)
    wanted = {folder / "labels" / split / f"{photo_id}.txt" for split, photo_id in labels}
    wanted |= {folder / "images" / split / f"{photo_id}.jpg" for split, photo_id in labels}
    _remove_others(expected, wanted)

    def write(entry: tuple[tuple[str, str], str]) -> None:
        (split, photo_id), lines = entry
        target = folder / "images" / split / f"{photo_id}.jpg"
        if not target.exists():
            _write(target, _image(photo_id, read_photo, image_size))
        _write(folder / "labels" / split / f"{photo_id}.txt", lines.encode())

    pool = ThreadPoolExecutor(workers)
    try:
        for _ in pool.map(write, labels.items()):
            pass
    finally:
        pool.shutdown(cancel_futures=True)
    path = folder / "data.yaml"
    _write(path, data_yaml(folder, sorted(class_ids)).encode())
    return path


def _claim(folder: Path, image_size: int) -> None:
    """Mark the folder as an export of this size, or make sure that it is one."""
    marker = folder / _MARKER
    if marker.exists():
        size = json.loads(marker.read_text(encoding="utf-8")).get("image_size")
        if size != image_size:
            raise DatasetExportError(f"{folder} holds an export of {size} px, not {image_size} px: take another folder")
        return
    if folder.exists() and any(not path.name.startswith(".") for path in folder.iterdir()):
        raise DatasetExportError(f"{folder} holds files that are no export: take an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    _write(marker, json.dumps({"image_size": image_size}).encode())


def _label_files(dataset: pl.DataFrame, positions: dict[int, int]) -> dict[tuple[str, str], str]:
    """Text of the label file of each (split, photo_id); empty for background."""
    unknown = set(dataset["class_id"].drop_nulls()) - positions.keys()
    if unknown:
        raise DatasetExportError(
            f"boxes of classes {sorted(unknown)}, which are none of the model's: rebuild the dataset"
        )
    files: dict[tuple[str, str], list[str]] = {}
    rows = dataset.select("split", "photo_id", "class_id", *BOX_COLUMNS).sort("photo_id", "class_id", *BOX_COLUMNS)
    for split, photo_id, class_id, *box in rows.iter_rows():
        lines = files.setdefault((split, photo_id), [])
        if class_id is not None:
            lines.append(f"{positions[class_id]} " + " ".join(f"{value:.8f}" for value in box) + "\n")
    return {key: "".join(lines) for key, lines in files.items()}


def _image(photo_id: str, read_photo: Callable[[str], bytes], image_size: int) -> bytes:
    import cv2

    try:
        image = fit_long_side(decode_scaled(read_photo(photo_id), image_size), image_size)
    except UnreadableImageError as error:
        raise DatasetExportError(f"photo {photo_id} cannot be decoded ({error}): ingest its day again") from error
    encoded, content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not encoded:
        raise DatasetExportError(f"photo {photo_id} cannot be encoded as JPEG")
    return bytes(content.tobytes())


def _remove_others(directories: Iterable[Path], wanted: set[Path]) -> None:
    """A trainer reads whatever lies in the folders, so what is not of this dataset must go."""
    for directory in directories:
        for path in set(directory.iterdir()) - wanted:
            path.unlink()


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
