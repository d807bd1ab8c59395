"""The dataset as files in YOLO layout: images/<split>/<photo_id>.jpg, labels/<split>/<photo_id>.txt and data.yaml.

An export that was cut off is taken up where it stopped: each file appears complete or not at all. Photos that need no
scaling are hard links to the kept bytes where the file system allows it. Which exports stay on a machine is decided in
`exports`.
"""

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from mlops_assets.boxes import BOX_COLUMNS
from mlops_assets.dataset.canonical import digest_of
from mlops_assets.dataset.schema import SPLITS, TRAINING_DATASET
from mlops_assets.dataset.versions import data_yaml
from mlops_assets.photos.pixels import UnreadableImageError, decode_scaled, fit_long_side

JPEG_QUALITY = 95
"""High, since training photos should not be a second lossy generation that inference never sees."""

MARKER = "export.json"
DATA_YAML = "data.yaml"

_JPEG_END = b"\xff\xd9"


class DatasetExportError(RuntimeError):
    """The dataset cannot be exported; the message names the photo or folder and what to do."""


@dataclass(frozen=True)
class Photos:
    """Where an export takes photos from.

    Attributes:
        read: Bytes of the normalised photo of a photo_id; called from several threads.
        file: Its local file, to link to, or None; the file is never written into.
        scaled: Folder of scaled photos that exports of one image size share; None: each makes its own.
    """

    read: Callable[[str], bytes]
    file: Callable[[str], Path | None] = lambda _photo_id: None
    scaled: Path | None = None


def export_yolo(
    dataset: pl.DataFrame,
    class_ids: Sequence[int],
    photos: Photos,
    folder: Path,
    *,
    image_size: int | None,
    workers: int,
) -> Path:
    """Write what is missing of the dataset; what the folder holds of another one goes first.

    Args:
        dataset: TRAINING_DATASET.
        class_ids: Classes of the model; a label's index is the position in the sorted ids.
        photos: Where they come from.
        folder: Local folder of this export alone.
        image_size: Long side of the exported photos, pixels; smaller photos stay as they are, byte for byte, and so do
            all where it is None.
        workers: Threads.

    Returns:
        Path of data.yaml, which is written last.

    Raises:
        DatasetExportError: A photo cannot be read, a box has a class that is none of `class_ids`, or the folder holds
            an export of another size or other files.
    """
    positions = {class_id: index for index, class_id in enumerate(sorted(class_ids))}
    unknown = set(dataset["class_id"].drop_nulls().unique()) - positions.keys()
    if unknown:
        raise DatasetExportError(
            f"boxes of classes {sorted(unknown)}, which are none of the model's: rebuild the dataset"
        )
    _claim(folder, image_size, contents_of(dataset, class_ids))
    of_dataset = _photos_of(dataset)
    _remove_others(folder, of_dataset)
    missing = _missing(folder, of_dataset)
    labels = _label_texts(missing, dataset, positions)

    def write(row: dict[str, str | None]) -> None:
        split, photo_id = str(row["split"]), str(row["photo_id"])
        if row["no_image"]:
            _place(folder / "images" / split / f"{photo_id}.jpg", photo_id, row["photo_sha256"], photos, image_size)
        if row["no_label"]:
            _write(folder / "labels" / split / f"{photo_id}.txt", labels.get((split, photo_id), "").encode())

    pool = ThreadPoolExecutor(workers)
    try:
        for _ in pool.map(write, missing.iter_rows(named=True)):
            pass
    finally:
        pool.shutdown(cancel_futures=True)
    path = folder / DATA_YAML
    if not path.exists():
        _write(path, data_yaml(folder, sorted(class_ids)).encode())
    return path


def contents_of(dataset: pl.DataFrame, class_ids: Sequence[int]) -> str:
    """Name of what an export holds: SHA-256, hex, of its rows and the model's classes."""
    rows = digest_of(dataset.select(TRAINING_DATASET.names()))
    return (digest_of(pl.DataFrame({"class_id": sorted(class_ids)}, {"class_id": pl.Int64})) + rows).hex()


def is_complete(dataset: pl.DataFrame, contents: str, folder: Path, image_size: int | None) -> bool:
    """Whether the folder holds a whole export, of `contents_of` the dataset, and nothing else; changes nothing."""
    if not (folder / DATA_YAML).exists() or _said(folder) != _saying(image_size, contents):
        return False
    photos = _photos_of(dataset)
    return all(
        _present(path) == {name + suffix for name in photos.filter(pl.col("split") == split)["photo_id"]}
        for path, split, suffix in _folders(folder)
    )


def _saying(image_size: int | None, contents: str) -> dict[str, object]:
    return {"image_size": image_size, "contents": contents}


def _said(folder: Path) -> dict[str, object] | None:
    try:
        said: dict[str, object] = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return said


def _claim(folder: Path, image_size: int | None, contents: str) -> None:
    """Mark the folder as an export of this size and these contents, emptied of other ones."""
    said = _said(folder)
    if said is None and folder.exists() and any(not path.name.startswith(".") for path in folder.iterdir()):
        raise DatasetExportError(f"{folder} holds files that are no export: take an empty folder")
    if said is not None and said.get("image_size") != image_size:
        raise DatasetExportError(
            f"{folder} holds an export of {said.get('image_size')} px, not {image_size} px: take another folder"
        )
    if said != _saying(image_size, contents):
        (folder / DATA_YAML).unlink(missing_ok=True)
        for other in (path for path in (folder / "images", folder / "labels") if path.exists()):
            shutil.rmtree(other)
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / MARKER, json.dumps(_saying(image_size, contents)).encode())


def _photos_of(dataset: pl.DataFrame) -> pl.DataFrame:
    return dataset.select("split", "photo_id", "photo_sha256").unique().sort("split", "photo_id")


def _folders(folder: Path) -> Iterator[tuple[Path, str, str]]:
    """Each folder of the layout with its split and the suffix of its files."""
    for kind, suffix in (("images", ".jpg"), ("labels", ".txt")):
        for split in SPLITS:
            yield folder / kind / split, split, suffix


def _present(folder: Path) -> set[str]:
    """Names of the files in a folder; an image without bytes, as a power failure leaves one, counts as not there."""
    if not folder.is_dir():
        return set()
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries if not entry.name.endswith(".jpg") or entry.stat().st_size}


def _remove_others(folder: Path, photos: pl.DataFrame) -> None:
    """A trainer reads whatever lies in the folders, so what is not of this dataset, or half of a file, must go."""
    for path, split, suffix in _folders(folder):
        path.mkdir(parents=True, exist_ok=True)
        wanted = {name + suffix for name in photos.filter(pl.col("split") == split)["photo_id"]} & _present(path)
        for other in path.iterdir():
            if other.name not in wanted:
                other.unlink()


def _missing(folder: Path, photos: pl.DataFrame) -> pl.DataFrame:
    """Photos of which a file is missing, with no_image and no_label."""
    there = {"images": [""], "labels": [""]}
    for path, split, suffix in _folders(folder):
        there[path.parent.name] += [f"{split}/{name.removesuffix(suffix)}" for name in _present(path)]
    name = pl.col("split") + "/" + pl.col("photo_id")
    absent = {kind: ~name.is_in(pl.Series(names).implode()) for kind, names in there.items()}
    marked = photos.with_columns(no_image=absent["images"], no_label=absent["labels"])
    return marked.filter(pl.col("no_image") | pl.col("no_label"))


def _label_texts(missing: pl.DataFrame, dataset: pl.DataFrame, positions: dict[int, int]) -> dict[tuple[str, str], str]:
    """Text of the label file of each (split, photo_id) with a box that has none yet."""
    files: dict[tuple[str, str], list[str]] = {}
    rows = (
        dataset.drop_nulls("class_id")
        .join(missing.filter(pl.col("no_label")), on="photo_id", how="semi")
        .select("split", "photo_id", "class_id", *BOX_COLUMNS)
        .sort("photo_id", "class_id", *BOX_COLUMNS)
    )
    for split, photo_id, class_id, x, y, w, h in rows.iter_rows():
        line = f"{positions[class_id]} {x:.8f} {y:.8f} {w:.8f} {h:.8f}\n"
        files.setdefault((split, photo_id), []).append(line)
    return {key: "".join(lines) for key, lines in files.items()}


def _place(target: Path, photo_id: str, sha256: str | None, photos: Photos, image_size: int | None) -> None:
    """Put one photo into the export: linked to scaled or kept bytes where that works, else written."""
    shared = photos.scaled / photo_id[:2] / f"{photo_id}-{sha256}.jpg" if photos.scaled and sha256 else None
    if shared is not None and _link(shared, target):
        return
    content = photos.read(photo_id)
    if image_size is None or _long_side(photo_id, content) <= image_size:
        # Ultralytics writes into a JPEG whose end is missing, which must not be the store's own file.
        file = photos.file(photo_id) if content.endswith(_JPEG_END) else None
        if file is None or not _link(file, target):
            _write(target, content)
        return
    scaled = _scaled(photo_id, content, image_size)
    if shared is None:
        _write(target, scaled)
        return
    shared.parent.mkdir(parents=True, exist_ok=True)
    _write(shared, scaled)
    if not _link(shared, target):
        shared.unlink()
        _write(target, scaled)


def _link(source: Path, target: Path) -> bool:
    """Whether the link could be made; not where there is no source, on another file system, or without such links."""
    try:
        os.link(source, target)
    except OSError:
        return False
    return True


def _long_side(photo_id: str, content: bytes) -> int:
    """Pixels, from the header."""
    import io

    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as image:
            return max(image.size)
    except OSError as error:
        raise DatasetExportError(f"photo {photo_id} cannot be decoded ({error}): ingest its day again") from error


def _scaled(photo_id: str, content: bytes, image_size: int) -> bytes:
    import cv2

    try:
        image = fit_long_side(decode_scaled(content, image_size), image_size)
    except UnreadableImageError as error:
        raise DatasetExportError(f"photo {photo_id} cannot be decoded ({error}): ingest its day again") from error
    encoded, written = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not encoded:
        raise DatasetExportError(f"photo {photo_id} cannot be encoded as JPEG")
    return bytes(written.tobytes())


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
