"""The asset in its definitions: table, checks, what stands beside it, and what a person sees."""

import datetime as dt
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import dagster as dg
import numpy as np
import polars as pl
import pytest
from path_support import WholePath, checks_run, failed_checks, prepare, why
from small_store import SmallStore, detection, label, photo, photo_id

from mlops_assets.erasure.rows import without
from mlops_assets.monitoring.schema import LABEL_ERRORS, REVIEW_HISTORY
from resources.photo_store import PhotoStore
from resources.settings import PROJECT
from resources.tables import Tables

ERASED_AT = dt.datetime(2026, 10, 8, tzinfo=dt.UTC)
CASE = {"name": "small", "title": "Small", "start": "2026-10-05", "review": {"budget": 3}}
PHOTOS = {"labelled": "CAB-1", "swapped": "CAB-1", "doubt": "CAB-2", "sure": "CAB-3", "strange": "CAB-4"}


@pytest.fixture
def path(tmp_path: Path) -> Iterator[WholePath]:
    with dg.DagsterInstance.ephemeral() as instance:
        path = prepare(tmp_path, CASE, instance)
        store = SmallStore(Path(path.places.store))
        photos = PhotoStore(landing=path.places.landing, root=path.places.store)
        for number, name in enumerate(PHOTOS):
            _, content = cv2.imencode(".jpg", np.full((300, 400, 3), 40 * number, np.uint8))
            photos.put_photo(photo_id(name), content.tobytes())
        store.classes()
        store.champion()
        store.labels(label("labelled", 0), label("swapped", 0))
        found = [detection("labelled", 0, 0.9), detection("swapped", 1, 0.95), detection("doubt", 0, 0.35)]
        found += [detection("sure", 1, 0.95), detection("strange", None)]
        store.day("2026-10-06", [photo(name, enclosure) for name, enclosure in PHOTOS.items()], found)
        yield path


def test_the_queue_is_made_checked_and_shown(path: WholePath) -> None:
    result = path.materialize("review_queue")
    assert result.success, why(result)
    assert checks_run(result) == {"queue"}
    assert failed_checks(result) == {}
    queue = path.table("review_queue")
    kinds = dict(queue.select("photo_id", "kind").iter_rows())
    assert kinds[photo_id("swapped")] == "label_error"
    assert kinds[photo_id("doubt")] == "uncertain"
    assert queue.height == 3
    tables = Tables(root=path.places.store)
    assert tables.read("label_errors", LABEL_ERRORS)["photo_id"].to_list() == [photo_id("swapped")]
    assert tables.read("review_history", REVIEW_HISTORY)["photo_id"].to_list() == [photo_id("swapped")]
    (event,) = result.get_asset_materialization_events()
    shown = event.materialization.metadata
    assert {"kinds", "offered", "preview", "done_without", "first_photos"} <= set(shown)
    # By their ids an erasure finds the picture in the event log.
    assert all(name in str(shown["first_photos"].value) for name in queue["photo_id"])
    again = path.materialize("review_queue")
    assert again.success, why(again)
    assert path.table("review_queue").equals(queue)


def test_an_erased_photo_leaves_the_queue_and_what_stands_beside_it(path: WholePath) -> None:
    assert path.materialize("review_queue").success
    gone = photo_id("swapped")
    for name, schema in {"label_errors": LABEL_ERRORS, "review_history": REVIEW_HISTORY}.items():
        table = Tables(root=path.places.store).read(name, schema)
        assert gone not in without(name, table, {gone: ERASED_AT})["photo_id"].to_list()
    kept = without("review_queue", path.table("review_queue"), {gone: ERASED_AT})
    assert gone not in kept["photo_id"].to_list()
    assert kept.height == 2


def test_the_queue_goes_to_a_spreadsheet(path: WholePath) -> None:
    assert path.materialize("review_queue").success
    done = subprocess.run(
        [sys.executable, "-m", "mlops_assets.monitoring", "small"],
        cwd=PROJECT,
        env={"PATH": "", "HOME": str(path.settings.home), "MLOPS_HOME": str(path.settings.home)},
        capture_output=True,
        check=True,
    )
    listed = pl.read_csv(done.stdout)
    queue = path.table("review_queue")
    assert listed["photo_id"].to_list() == queue["photo_id"].to_list()
    assert listed["reason"].to_list() == queue["reason"].to_list()
    assert all(Path(address).is_file() for address in listed["photo"])
