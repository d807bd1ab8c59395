"""The real Label Studio server: a queue goes there, annotators work, a class that nobody knew is trained in the end.

`make test-label-studio` builds the server's environment and runs this.
"""

import base64
import copy
import datetime as dt
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from label_studio_server import LabelStudioServer
from labelling_rows import CLASSES, box, photo, queue, typed_name
from path_support import WholePath, failed_checks, prepare, why

from definitions import build_resources
from demo.render.run import render_demo
from mlops_assets.jobs import ERASE_PHOTO, SYNC_LABEL_STUDIO
from mlops_assets.labelling.interface import UNLISTED
from mlops_assets.labelling.schema import LABEL_STUDIO_TASKS
from mlops_assets.labelling.sync import Inputs, synchronise
from mlops_assets.labels.schema import ANNOTATIONS
from mlops_assets.monitoring.schema import REVIEW_QUEUE
from resources.label_drop import LabelDrop
from resources.label_studio import LabelStudio, Task
from resources.tables import Tables
from scripts.label_studio import SERVER

pytestmark = [
    pytest.mark.production,
    pytest.mark.timeout(1200),  # the first one starts the server and trains
    pytest.mark.skipif(not SERVER.exists(), reason="no Label Studio here: `make test-label-studio` installs it"),
]

FIRST_DAY, LAST_DAY = "2026-10-05", "2026-10-07"
CASE = {
    "name": "small",
    "title": "Small",
    "start": FIRST_DAY,
    "new_class": {"min_boxes": 2, "min_enclosures": 2},
    "training": {"image_size": 160, "epochs": 1, "retrain_epochs": 1, "batch": 2, "mosaic": 0.0, "close_mosaic": 0},
    # Shows that the path works, not that the detector is good: no floor, any fall allowed.
    "promotion": {"floor_ap50": 0.0, "tolerance": 1.0, "max_class_fall": 1.0, "bootstrap_samples": 100},
}
IN_BUCKET = {
    **dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "testing"),
    "AWS_DEFAULT_REGION": "us-east-1",
    "SSRF_PROTECTION_ENABLED": "false",  # or Label Studio refuses an object store on loopback
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudioServer]:
    server = LabelStudioServer(tmp_path_factory.mktemp("home"), IN_BUCKET)
    try:
        server.start()
        yield server
    finally:
        server.stop()


class World:
    """Photos of two days, a champion of the first day's labels, annotators with what they will draw on the last."""

    def __init__(self, path: WholePath, server: LabelStudioServer, rendered: Path) -> None:
        self.path, self.server = path, server
        self.label_studio: LabelStudio = build_resources(path.settings, path.use_case)["label_studio"]  # type: ignore[assignment]
        ledger = path.table("raw_photos", LAST_DAY).filter(pl.col("status") == "accepted")
        by_name = {
            "/".join(uri.split("/")[-2:]): photo_id
            for uri, photo_id in ledger.select("landing_uri", "photo_id").iter_rows()
        }
        self.enclosures = dict(ledger.select("photo_id", "enclosure_id").iter_rows())
        tasks = json.loads((rendered / "labels" / "new_equipment" / "day3.label-studio.json").read_text())
        self.drawn: dict[str, list[Task]] = {}
        for task in tasks:
            photo_id = by_name.get(task["data"]["image"].partition("?d=")[2])
            if photo_id is not None:
                self.drawn[photo_id] = task["annotations"][-1]["result"]
        known = set(path.table("equipment_classes")["class_name"])
        self.new = {self.name(region) for regions in self.drawn.values() for region in regions} - known
        assert self.new

    @staticmethod
    def name(region: Task) -> str:
        return str(region["value"]["rectanglelabels"][0])

    def enqueue(self, photo_ids: list[str], boxes: list[Any], reason: str = "never labelled") -> None:
        rows = [
            row | {"photo_id": each, "enclosure_id": self.enclosures[each], "reason": reason, "suggested_boxes": boxes}
            for each, row in zip(photo_ids, queue(*range(len(photo_ids))).to_dicts(), strict=True)
        ]
        frame = pl.DataFrame(rows, schema=REVIEW_QUEUE)
        Tables(root=self.path.places.store).write("review_queue", frame, REVIEW_QUEUE)

    def tick(self, sensor: str = "label_studio") -> tuple[list[dg.RunRequest], str]:
        from definitions import build_defs

        repository = build_defs(self.path.settings, self.path.use_case).get_repository_def()
        resources = build_resources(self.path.settings, self.path.use_case)
        instance = self.path.instance
        with dg.build_sensor_context(instance=instance, repository_def=repository, resources=resources) as context:
            data = repository.get_sensor_def(sensor).evaluate_tick(context)
        return list(data.run_requests or []), data.skip_message or ""

    def sync(self) -> dict[str, Any]:
        """A synchronisation as the sensor's run does it; returns what it says it did."""
        requests, said = self.tick()
        assert requests, said
        result = self.path.run(SYNC_LABEL_STUDIO)
        assert result.success, why(result)
        (event,) = result.asset_materializations_for_node("label_studio_tasks")
        return {name: value.value for name, value in event.metadata.items()}

    def task(self, photo_id: str) -> Task:
        project = self.label_studio.find_project()
        assert project is not None
        (task,) = [each for each in self.label_studio.tasks(project.project_id) if each["data"]["photo_id"] == photo_id]
        return task

    def submit(self, photo_id: str, **more: Any) -> int:
        """What the labelling page sends: new classes are drawn as unlisted and named."""
        results: list[Task] = []
        for region in copy.deepcopy(self.drawn[photo_id]):
            results.append(region)
            if (name := self.name(region)) in self.new and name not in self.offered():
                region["value"]["rectanglelabels"] = [UNLISTED]
                results.append({**typed_name(name), "id": region["id"]})
        made = self.label_studio._client.annotations.create(id=self.task(photo_id)["id"], result=results, **more)
        return int(made.id or 0)

    def offered(self) -> str:
        project = self.label_studio.find_project()
        return project.label_config if project else ""

    def labelled(self) -> set[str]:
        rows = self.path.table("annotations").filter(pl.col("source").str.starts_with("label-studio-"))
        return set(rows["photo_id"])


@pytest.fixture(scope="module")
def world(server: LabelStudioServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    rendered = tmp_path_factory.mktemp("rendered") / "out"
    render_demo(rendered, seed=3, enclosures=8)
    with dg.instance_for_test() as instance:
        path = prepare(
            server.home, CASE, instance, threads=2, label_studio_url=server.url, label_studio_token=server.token
        )
        for day in (FIRST_DAY, LAST_DAY):
            shutil.copytree(rendered / "landing" / day, Path(path.places.landing) / day)
            assert path.ingest(day).success
        drop = Path(path.places.labels)
        drop.mkdir(parents=True)
        shutil.copy(rendered / "labels" / "base" / "day1.label-studio.json", drop)
        for result in (path.import_labels(), path.retrain()):
            assert result.success, why(result)
            assert failed_checks(result) == {}
        yield World(path, server, rendered)


def test_from_the_review_queue_to_a_retrained_class_map(world: World) -> None:
    path = world.path
    photos = sorted(world.drawn)
    known = path.table("equipment_classes").filter(pl.col("status") == "active")
    suggested = box(known.item(0, "class_name"), known.item(0, "class_id"))
    world.enqueue(photos, [suggested], reason="a device of no known class, so it seems")

    # The queue becomes tasks, once, whose boxes and reasons the annotators see.
    assert world.sync()["tasks added"] == len(photos)
    task = world.task(photos[0])
    (prediction,) = task["predictions"]
    assert prediction["result"][0]["value"]["rectanglelabels"] == [suggested["class_name"]]
    assert prediction["result"][0]["score"] == suggested["confidence"]
    assert task["data"]["reason"] == "a device of no known class, so it seems"
    project = world.label_studio.find_project()
    assert project is not None
    assert (project.tasks, project.model_version) == (len(photos), "champion")

    # The browser gets the normalised photo, and nothing else of the store.
    normalised = Path(path.places.store) / "photos" / photos[0][:2] / f"{photos[0]}.jpg"
    assert world.server.get(task["data"]["image"]) == (200, normalised.read_bytes())
    original = next((Path(path.places.store) / "originals").rglob(f"{photos[0]}.*"))
    outside = f"/data/local-files/?d={original.relative_to(world.server.home)}"
    assert world.server.get(outside)[0] in (403, 404)

    # Annotators submit all but one photo, of which there is a draft, and refuse another.
    draft, refused, *finished = photos
    client = world.label_studio._client
    client._client_wrapper.httpx_client.request(
        f"api/tasks/{world.task(draft)['id']}/drafts", method="POST", json={"result": world.drawn[draft]}
    )
    world.submit(refused, was_cancelled=True)
    submitted = [world.submit(each) for each in finished]
    assert world.sync()["labellings brought back"] == len(finished)
    assert path.import_labels().success
    assert world.labelled() == set(finished)
    states = dict(path.table("label_studio_tasks").select("photo_id", "state").iter_rows())
    assert (states[draft], states[refused], states[finished[0]]) == ("begun", "skipped", "labelled")

    # Names that they typed are classes now; the labelling page offers them, and the detector is trained on them.
    classes = path.table("equipment_classes")
    assert world.new <= set(classes["class_name"])
    assert UNLISTED not in set(classes["class_name"])
    active = set(classes.filter(pl.col("status") == "active")["class_name"]) & world.new
    assert active, classes
    assert world.sync()["labelling page changed"] == 1
    assert all(f'value="{name}"' in world.offered() for name in world.new)
    (request,), _ = world.tick("new_equipment_classes")
    assert request.tags["mlops/new_classes"]
    result = path.retrain()
    assert result.success, why(result)
    learnt = json.loads(path.table("detector_weights").item(0, "class_map"))
    ids = dict(classes.select("class_name", "class_id").iter_rows())
    assert {f"c{ids[name]:04d}" for name in active} <= set(learnt) or {str(ids[name]) for name in active} <= set(learnt)

    # What they change and delete later changes and deletes the labels.
    client.annotations.update(id=submitted[0], result=[])
    assert world.sync()["labellings brought back"] == 1
    gone = world.task(finished[1])
    client.annotations.delete(id=gone["annotations"][0]["id"])
    client.tasks.delete(id=str(world.task(finished[2])["id"]))
    world.enqueue([draft], [suggested])
    assert world.sync()["labellings taken back"] == 1
    assert path.import_labels().success
    assert world.labelled() == set(finished) - {finished[1], finished[2]}
    empty = path.table("annotations").filter(pl.col("photo_id") == finished[0])
    assert empty["class_id"].to_list() == [None]


def test_a_server_that_goes_down_loses_and_doubles_nothing(world: World) -> None:
    photos = sorted(world.drawn)
    world.enqueue(photos[:2], [], reason="asked for while the server is down")
    before = world.path.table("label_studio_tasks").height
    world.server.stop()
    requests, said = world.tick()
    assert (requests, "does not answer" in said) == ([], True), said
    assert not world.path.run(SYNC_LABEL_STUDIO).success
    assert world.path.table("label_studio_tasks").height == before
    world.server.start()
    world.sync()
    project = world.label_studio.find_project()
    assert project is not None
    found = [each["data"]["photo_id"] for each in world.label_studio.tasks(project.project_id)]
    assert len(found) == len(set(found))


def test_an_erased_photos_task_goes_with_the_next_synchronisation(world: World) -> None:
    path = world.path
    erased = next(iter(world.labelled()))
    number = world.task(erased)["id"]
    result = path.run(ERASE_PHOTO, config={"photo_id": erased, "reason": "ticket 7"})
    assert result.success, why(result)
    (op,) = [e for e in result.all_node_events if e.step_key == "erase_files" and e.event_type_value == "STEP_OUTPUT"]
    report = op.step_output_data.metadata["report"].value
    assert "Label Studio" in report
    assert world.sync()["tasks deleted: its photo was erased"] == 1
    assert world.label_studio.task(number) is None
    drop = Path(path.places.labels)
    assert not [file for file in drop.glob("label-studio-*.json") if erased in file.read_text()]


def test_photos_in_an_object_store_reach_the_browser(server: LabelStudioServer, tmp_path: Path) -> None:
    import boto3
    from moto.server import ThreadedMotoServer

    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    try:
        endpoint = f"http://127.0.0.1:{moto.get_host_and_port()[1]}"
        names = {"endpoint_url": endpoint, "aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
        s3 = boto3.client("s3", region_name="us-east-1", **names)
        s3.create_bucket(Bucket="store")
        s3.put_object(Bucket="store", Key=f"case/photos/{photo(1)[:2]}/{photo(1)}.jpg", Body=b"a normalised photo")
        remote = LabelStudio(
            server.url, server.token, "in_bucket", photos="s3://store/case/photos", s3_endpoint=endpoint
        )
        given = Inputs(
            queue=queue(1),
            classes=CLASSES,
            annotations=pl.DataFrame(schema=ANNOTATIONS),
            previous=pl.DataFrame(schema=LABEL_STUDIO_TASKS),
            erased=(),
            keep=dt.timedelta(days=3),
        )
        drop = LabelDrop(address=str(tmp_path / "labels"))
        synced = synchronise(remote, drop, given, lambda: dt.datetime.now(dt.UTC))
        (task_id,) = synced.tasks["task_id"]
        address = base64.b64encode(remote.photo_address(photo(1)).encode()).decode()
        assert server.get(f"/tasks/{task_id}/resolve/?fileuri={address}") == (200, b"a normalised photo")
    finally:
        moto.stop()
