"""Renders a whole demo folder: landing zone, label deliveries and truth.

    <out>/landing/<day>/<enclosure_id>/<file>     photos and sidecars, bad uploads among them
    <out>/labels/base, <out>/labels/new_equipment  label deliveries, to be copied into the label drop
    <out>/truth/*.csv                              what is really there, for scoring only
    <out>/render.json                              parameters and summary; finished when it says so

The same seed and number of enclosures give the same bytes, whatever the number of workers.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from demo.render.delivery import Shot, bad_path, write_atomic, write_labels, write_truth
from demo.render.equipment import NEW_EQUIPMENT
from demo.render.exposure import PHONES, darken, defocus, encode, exif, expose, light
from demo.render.plan import DAYS, Enclosure, Photo, Visit, plan_demo
from demo.render.scene import Box, Studio
from demo.render.texture import Canvas

RENDER_VERSION = 1
"""Counts changes that alter the rendered bytes; a folder of another version is not taken over."""

MARKER = "render.json"

_NOT_AN_IMAGE = b"<html><head><title>413</title></head><body>Request Entity Too Large</body></html>\n"

_NOTES = ("routine visit", "door seal worn", "cleaned the fan filter", "customer reported an outage", "")


class RenderError(ValueError):
    """The output folder holds something else; the message names it and the remedy."""


@dataclass(frozen=True)
class RenderSummary:
    """What a demo folder holds: counts, its days (ISO dates), the class that the last day brings, time it took."""

    photos: int
    bad_uploads: int
    boxes: int
    labelled_photos: int
    enclosures: int
    days: tuple[str, ...]
    new_class: str
    seconds: float


def render_demo(
    out: Path,
    *,
    seed: int = 7,
    enclosures: int = 64,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> RenderSummary:
    """Render a demo folder, or return at once if `out` already holds this one.

    An interrupted rendering of the same parameters is rendered again over its files. With more than one worker the
    calling script needs the usual `if __name__ == "__main__":` guard, as processes are spawned.

    Args:
        out: Folder to write; made if missing.
        seed: Same seed, same bytes.
        enclosures: How many cabinets, at least 2.
        workers: Processes; None: one a usable core.
        progress: Called with finished and all enclosures.

    Raises:
        RenderError: `out` holds something other than this demo.
        ValueError: Fewer than 2 enclosures, 0 workers or a negative seed.
    """
    parameters = {"version": RENDER_VERSION, "seed": seed, "enclosures": enclosures}
    finished = _finished(out, parameters)
    if finished is not None:
        return finished
    started = time.monotonic()
    plan = plan_demo(seed, enclosures)
    _write_marker(out, parameters, None)
    shots: list[Shot] = []
    count = len(os.sched_getaffinity(0)) if workers is None else workers
    for done, taken in enumerate(_render_all(plan, out, min(count, enclosures)), start=1):
        shots += taken
        if progress is not None:
            progress(done, enclosures)
    shots.sort(key=lambda shot: shot.photo.number)
    write_truth(out / "truth", plan, shots)
    write_labels(out / "labels", shots)
    summary = RenderSummary(
        photos=len(shots),
        bad_uploads=sum(len(visit.bad) for enclosure in plan for visit in enclosure.visits),
        boxes=sum(len(shot.boxes) for shot in shots),
        labelled_photos=sum(shot.photo.labelled for shot in shots),
        enclosures=enclosures,
        days=tuple(day.isoformat() for day in DAYS),
        new_class=NEW_EQUIPMENT.name,
        seconds=round(time.monotonic() - started, 2),
    )
    _write_marker(out, parameters, summary)
    return summary


def _finished(out: Path, parameters: dict[str, int]) -> RenderSummary | None:
    marker = out / MARKER
    if not marker.is_file():
        if out.is_dir() and any(out.iterdir()):
            raise RenderError(f"{out} is not empty and holds no {MARKER}: name an empty or new folder")
        return None
    content = json.loads(marker.read_text(encoding="utf-8"))
    if content["parameters"] != parameters:
        raise RenderError(
            f"{marker} was rendered with {content['parameters']}, asked for {parameters}: "
            "delete that folder or name another"
        )
    summary = content["summary"]
    return None if summary is None else RenderSummary(**{**summary, "days": tuple(summary["days"])})


def _write_marker(out: Path, parameters: dict[str, int], summary: RenderSummary | None) -> None:
    content = {"parameters": parameters, "summary": None if summary is None else asdict(summary)}
    write_atomic(out / MARKER, json.dumps(content, indent=1).encode())


def _render_all(plan: list[Enclosure], out: Path, workers: int) -> Iterator[list[Shot]]:
    work = partial(_render_enclosure, landing=out / "landing")
    if workers == 1:
        yield from map(work, plan)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), _one_thread) as pool:
        yield from pool.map(work, plan)


def _one_thread() -> None:
    import cv2

    cv2.setNumThreads(1)


def _render_enclosure(enclosure: Enclosure, landing: Path) -> list[Shot]:
    studio = Studio(enclosure)
    shots: list[Shot] = []
    for visit in enclosure.visits:
        day = visit.day.isoformat()
        taken = _shoot_visit(studio, visit)
        folder = landing / day / enclosure.enclosure_id
        contents = []
        for photo, (image, boxes) in zip(visit.photos, taken, strict=True):
            contents.append(_develop(enclosure, visit, photo, image))
            write_atomic(folder / photo.file, contents[-1])
            _write_sidecar(folder, enclosure, visit, photo)
            shots.append(Shot(enclosure.enclosure_id, day, photo, tuple(boxes)))
        for photo in visit.bad:
            content = _bad_content(studio, visit, photo, contents[0])
            write_atomic(landing / bad_path(enclosure, visit, photo), content)
            if photo.bad in ("dark", "blurred", "exact_duplicate"):
                _write_sidecar(folder, enclosure, visit, photo)
    return shots


def _shoot_visit(studio: Studio, visit: Visit) -> list[tuple[Canvas, list[Box]]]:
    """Take the photos of a visit; if an item shows on none, take the first again without anything in the way."""
    taken = [studio.shoot(visit, photo) for photo in visit.photos]
    seen = {box.item for _, boxes in taken for box in boxes}
    if not seen.issuperset(visit.items):
        taken[0] = studio.shoot(visit, visit.photos[0], clear=True)
    return taken


def _develop(enclosure: Enclosure, visit: Visit, photo: Photo, image: Canvas) -> bytes:
    rng = np.random.default_rng([*enclosure.seed, 7, photo.number])
    image = expose(light(image, rng), rng)
    if photo.bad == "dark":
        image = darken(image, rng)
    elif photo.bad == "blurred":
        image = defocus(image, rng)
    jitter = rng.normal(0, 4e-5, 2)
    # One technician has switched the position off.
    place = None if visit.technician == 3 else (enclosure.latitude + jitter[0], enclosure.longitude + jitter[1])
    phone = PHONES[visit.technician % len(PHONES)]
    block = exif(photo.orientation, photo.captured_at, phone, place)
    return encode(image, photo.orientation, block, int(rng.integers(78, 93)))


def _bad_content(studio: Studio, visit: Visit, photo: Photo, first: bytes) -> bytes:
    match photo.bad:
        case "zero_bytes":
            return b""
        case "not_an_image":
            return _NOT_AN_IMAGE + photo.file.encode()
        case "exact_duplicate":
            return first
    content = _develop(studio.enclosure, visit, photo, studio.shoot(visit, photo)[0])
    return content[: len(content) * 2 // 5] if photo.bad == "truncated" else content


def _write_sidecar(folder: Path, enclosure: Enclosure, visit: Visit, photo: Photo) -> None:
    """Write what the technician's app sends: for all photos of a visit with its number, or for a few, without one."""
    rng = np.random.default_rng([*enclosure.seed, 8, photo.number])
    sidecar: dict[str, str] = {"technician": f"technician-{visit.technician:02d}"}
    if visit.visit_id is not None:
        sidecar |= {"visit_id": visit.visit_id, "captured_at": f"{photo.captured_at.isoformat()}+02:00"}
    elif rng.random() > 0.2:
        return
    note = _NOTES[int(rng.integers(len(_NOTES)))]
    if note:
        sidecar["note"] = note
    write_atomic(folder / f"{photo.file}.json", json.dumps(sidecar).encode())
