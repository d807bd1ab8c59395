"""The catalogue as a folder of HTML pages that open from a disk or any web server.

An overview, one page an enclosure, and the evidence pictures, named by their content: a rerun writes only what
changed. What the pages say is put together in `page_content`, how they look is in `templates/`.
"""

import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from mlops_assets.boxes import BOX_COLUMNS
from mlops_assets.catalog.page_content import change_rows, enclosure_pages, overview, page_name, visit_rows
from mlops_assets.catalog.pictures import Annotate, evidence_picture, picture_name
from mlops_assets.detector.charts import LabelledBox
from mlops_assets.detector.charts import annotate as annotate_boxes
from mlops_assets.photos.pixels import UnreadableImageError

_ENCLOSURES, _PICTURES = "enclosures", "pictures"
_TEMPLATES = Path(__file__).parent / "templates"
_TEMPORARY = ".tmp"


@dataclass(frozen=True)
class PagesResult:
    """What is in the folder now, and what this call did to it."""

    index: Path
    pages: int
    pictures: int
    written: int
    removed: int
    unavailable_photos: tuple[str, ...]


def write_pages(
    folder: Path,
    *,
    title: str,
    catalog: pl.DataFrame,
    changes: pl.DataFrame,
    photos: pl.DataFrame,
    classes: pl.DataFrame,
    read_photo: Callable[[str], bytes | None],
    facts: Mapping[str, str],
    boxes: pl.DataFrame | None = None,
    annotate: Annotate = annotate_boxes,
    workers: int = 2,
) -> PagesResult:
    """Bring the pages in a folder up to date.

    Each file is replaced at once by renaming, pictures before the pages that show them; what no page shows any more is
    removed, among it the pictures of photos that are gone. `folder/enclosures` and `folder/pictures` belong to this
    function.

    Args:
        folder: Created if it is not there.
        title: Name of the catalogue.
        catalog: EQUIPMENT_CATALOG.
        changes: EQUIPMENT_CHANGES.
        photos: VISIT_PHOTO_COLUMNS, one row an accepted photo; gives visits and their days.
        classes: EQUIPMENT_CLASSES.
        read_photo: Normalised photo by photo_id, or None if it is no longer to be had (the page then says so); called
            from several threads, only for pictures that are not there yet.
        facts: Shown on the overview under "How this catalogue was made", in this order: model version, built at …
        boxes: DETECTIONS rows to draw on evidence photos (see `counted_detections`); without them each photo shows the
            boxes of `catalog` and `changes`.
        annotate: Draws boxes on an upright BGR picture.
        workers: Pictures made at a time.

    Raises:
        UnknownClassError: A class_id of the changes is not in `classes`.
        UnreadableImageError: A photo cannot be decoded; the message names it.
    """
    visits = visit_rows(photos)
    named_changes = change_rows(changes, visits, classes)
    for part in (_ENCLOSURES, _PICTURES):
        (folder / part).mkdir(parents=True, exist_ok=True)
    pictures, made = _write_pictures(
        folder / _PICTURES, _boxes_by_photo(catalog, changes, boxes, classes), read_photo, annotate, workers
    )
    photo_days = dict(
        photos.filter(pl.col("photo_id").is_in(list(pictures))).select("photo_id", "visited_on").iter_rows()
    )
    pages = enclosure_pages(catalog, named_changes, visits, pictures, photo_days)
    render = _renderer(title)
    written = made
    for enclosure_id, content in pages.items():
        page = folder / _ENCLOSURES / page_name(enclosure_id)
        written += _write_if_changed(page, render("enclosure.html", content))
    summary = overview(catalog, named_changes, visits, classes) | {"facts": dict(facts)}
    written += _write_if_changed(folder / "index.html", render("index.html", summary))
    shown = {name for name in pictures.values() if name is not None}
    removed = _remove_others(folder / _ENCLOSURES, {page_name(enclosure_id) for enclosure_id in pages})
    removed += _remove_others(folder / _PICTURES, shown)
    return PagesResult(
        index=folder / "index.html",
        pages=len(pages),
        pictures=len(shown),
        written=written,
        removed=removed,
        unavailable_photos=tuple(sorted(photo_id for photo_id, name in pictures.items() if name is None)),
    )


def _boxes_by_photo(
    catalog: pl.DataFrame, changes: pl.DataFrame, boxes: pl.DataFrame | None, classes: pl.DataFrame
) -> dict[str, list[LabelledBox]]:
    """Boxes to draw on each photo that is evidence for something."""
    columns = ["photo_id", "class_id", "confidence", *BOX_COLUMNS]
    unsure = changes.with_columns(pl.lit(None, pl.Float64).alias("confidence"))
    evidence = pl.concat([catalog.select(columns), unsure.select(columns)]).unique(
        ["photo_id", "class_id", *BOX_COLUMNS], keep="first", maintain_order=True
    )
    photo_ids = evidence.select("photo_id").unique(maintain_order=True)
    drawn = evidence if boxes is None else boxes.select(columns).join(photo_ids, on="photo_id", how="semi")
    named = drawn.join(classes.select("class_id", "class_name"), on="class_id").sort("class_id", *BOX_COLUMNS)
    result: dict[str, list[LabelledBox]] = {photo_id: [] for photo_id in photo_ids["photo_id"]}
    for photo_id, *box in named.select("photo_id", "class_name", "confidence", *BOX_COLUMNS).iter_rows():
        label, confidence, x, y, w, h = box
        result[photo_id].append((label, confidence, x, y, w, h))
    return result


def _write_pictures(
    folder: Path,
    boxes_by_photo: Mapping[str, list[LabelledBox]],
    read_photo: Callable[[str], bytes | None],
    annotate: Annotate,
    workers: int,
) -> tuple[dict[str, str | None], int]:
    """Make the pictures that are not there yet; returns file name or None by photo_id, and how many were made."""

    def bring(photo_id: str) -> tuple[str | None, int]:
        boxes = boxes_by_photo[photo_id]
        name = picture_name(photo_id, boxes, annotate)
        if (folder / name).exists():
            return name, 0
        content = read_photo(photo_id)
        if content is None:
            return None, 0
        try:
            picture = evidence_picture(content, boxes, annotate)
        except UnreadableImageError as error:
            raise UnreadableImageError(
                f"photo {photo_id}: {error}; materialise the clean_photos of its day anew"
            ) from error
        _replace(folder / name, picture)
        return name, 1

    with ThreadPoolExecutor(workers) as pool:
        made = dict(zip(boxes_by_photo, pool.map(bring, boxes_by_photo), strict=True))
    return {photo_id: name for photo_id, (name, _) in made.items()}, sum(count for _, count in made.values())


def _renderer(title: str) -> Callable[[str, Mapping[str, object]], bytes]:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def render(template: str, content: Mapping[str, object]) -> bytes:
        return environment.get_template(template).render(title=title, **content).encode()

    return render


def _write_if_changed(path: Path, content: bytes) -> int:
    if path.exists() and path.read_bytes() == content:
        return 0
    _replace(path, content)
    return 1


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f"{uuid.uuid4().hex}{_TEMPORARY}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _remove_others(folder: Path, keep: Iterable[str]) -> int:
    """Remove pages and pictures that are not to be kept, and what an interrupted run left behind."""
    kept = set(keep)
    others = [path for path in folder.iterdir() if path.name not in kept]
    ours = [path for path in others if path.suffix in (".html", ".jpg", _TEMPORARY)]
    for path in ours:
        path.unlink()
    return len(ours)
