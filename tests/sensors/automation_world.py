"""A world for the sensors: labels on disk, runs in a real instance, a daemon that honours run keys; the work is played.

Kept here besides, and never read by a sensor: what was really imported and trained, to hold requests against.
"""

import datetime as dt
import json
import shutil
import tempfile
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import polars as pl
from dagster._core.events import StepMaterializationData
from dagster._core.storage.dagster_run import DagsterRun
from dagster._core.storage.tags import RUN_KEY_TAG, SENSOR_NAME_TAG
from dagster._daemon.sensor import fetch_existing_runs

from mlops_assets.detector.decisions import JUDGED, ROLLED_BACK
from mlops_assets.detector.schema import CHAMPION_DETECTOR
from mlops_assets.jobs import IMPORT_LABELS, RETRAIN_DETECTOR, STEPS, USE_CASE_TAG
from mlops_assets.labels.class_decisions import labels_digest
from mlops_assets.labels.drop_state import LABEL_STATE, drop_digest
from mlops_assets.labels.schema import EQUIPMENT_CLASSES
from mlops_assets.use_case import UseCase
from resources.class_decisions import ClassDecisionRecords
from resources.label_drop import LabelDrop
from resources.tables import Tables
from sensors.new_equipment_classes import new_equipment_classes
from sensors.new_labels import new_labels

CASE = UseCase.model_validate(
    {
        "name": "case",
        "title": "Case",
        "start": "2026-10-01",
        "new_class": {"min_boxes": 10, "min_enclosures": 1, "growth_step": 20, "cooldown_hours": 20},
    }
)
STEP, COOLDOWN = CASE.new_class.growth_step, dt.timedelta(hours=CASE.new_class.cooldown_hours)
JOBS = {"new_labels": IMPORT_LABELS, "new_equipment_classes": RETRAIN_DETECTOR}
IN_PROGRESS = ("NOT_STARTED", "STARTED")


@dataclass
class Trained:
    """A training that came to a decision, as it really was."""

    version: str
    boxes: dict[int, int]
    promoted: bool
    at: dt.datetime
    had_champion: bool


@dataclass
class World:
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="world")))
    now: dt.datetime = dt.datetime(2026, 10, 5, 8, tzinfo=dt.UTC)
    cursors: dict[str, str | None] = field(default_factory=dict)
    old_cursors: dict[str, list[str | None]] = field(default_factory=dict)
    held: dict[str, dg.SensorDefinition | Any] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)
    ticks: int = 0
    drops: int = 0
    keys: Counter[str] = field(default_factory=Counter)
    read: dict[str, Any] = field(default_factory=dict)
    trained: list[Trained] = field(default_factory=list)
    imported: str | None = None
    imports: list[str] = field(default_factory=list)
    retired: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.instance = dg.DagsterInstance.ephemeral()
        self.drop = self.folder / "labels"
        self.drop.mkdir()
        self.tables = Tables(root=str(self.folder / "store"))
        self.records = ClassDecisionRecords(root=str(self.folder / "store"))

    def close(self) -> None:
        self.instance.dispose()
        shutil.rmtree(self.folder)

    # what people do ---------------------------------------------------------------------------------------------

    def label(self, class_id: int, boxes: int) -> None:
        self.drops += 1
        (self.drop / f"{self.drops:03d}.json").write_text(json.dumps([class_id, boxes]))

    def withdraw(self, back: int) -> None:
        """A file is taken away again, the last one if `back` is 0."""
        files = sorted(self.drop.iterdir(), reverse=True)
        if files:
            files[back % len(files)].unlink()

    def deprecate(self, class_id: int) -> None:
        self.retired.add(class_id)
        self.records.add(f"d{class_id}", {"deprecate": class_id})

    def roll_back(self) -> None:
        """The version before serves again; no candidate is decided on."""
        before = self._champion_before()
        if before is not None:
            boxes = next((t.boxes for t in self.trained if t.version == before), None)
            self._decide(before, promoted=True, serving=before, boxes=boxes, run="by hand", kind=ROLLED_BACK)

    def by_hand(self, job: str, *, assets: bool) -> None:
        step = STEPS[job][-1]
        selection = frozenset({dg.AssetKey(["case", step])}) if assets else None
        self._create("__ASSET_JOB" if assets else job, {"started": job}, selection)

    # what the daemon does ---------------------------------------------------------------------------------------

    def tick(self, name: str, *, at_once: int = 1, crash: bool = False) -> int:
        """Evaluations at once, their requests put in one after the other; a crash leaves them to the next tick."""
        if name in self.held:  # the daemon resumes what an interrupted tick has still to submit
            data = self.held.pop(name)
            return self._submit(name, data)
        results = [self._evaluate(name) for _ in range(at_once)]
        self.ticks += at_once
        keys = {tuple(request.run_key for request in data.run_requests or []) for data in results}
        assert len(keys) == 1, f"evaluated at once, {name} gives {keys}"
        self._may_ask(name, results[0])
        self.old_cursors.setdefault(name, []).append(self.cursors.get(name))
        self.cursors[name] = results[-1].cursor
        if crash:
            self.held[name] = results[0]
            return 0
        return sum(self._submit(name, data) for data in results)

    def _evaluate(self, name: str) -> Any:
        sensor = new_labels(CASE, 1) if name == "new_labels" else new_equipment_classes(CASE, 1, lambda: self.now)
        resources = {"label_drop": LabelDrop(address=str(self.drop)), "class_decisions": self.records}
        needed = resources if name == "new_labels" else {"tables": self.tables}
        with dg.build_sensor_context(self.instance, cursor=self.cursors.get(name), resources=needed) as context:
            data = sensor.evaluate_tick(context)
        self.said[name] = data.skip_message or ""
        assert bool(data.run_requests) != bool(data.skip_message), "a tick asks for something or says why not"
        return data

    def _submit(self, name: str, data: Any) -> int:
        """As Dagster's daemon: a key that a run of this sensor has is skipped, whatever became of the run."""
        started = 0
        for request in data.run_requests or []:
            used = fetch_existing_runs(self.instance, SimpleNamespace(name=name), [request])  # type: ignore[arg-type]
            if request.run_key in used:
                continue
            self.keys[f"{id(self.instance)} {request.run_key}"] += 1
            self._create(JOBS[name], {**request.tags, RUN_KEY_TAG: request.run_key, SENSOR_NAME_TAG: name}, None)
            started += 1
        return started

    def _create(self, job: str, tags: dict[str, str], selection: frozenset[dg.AssetKey] | None) -> DagsterRun:
        run = DagsterRun(
            job_name=job,
            run_id=str(uuid.uuid4()),
            status=dg.DagsterRunStatus.NOT_STARTED,
            tags={USE_CASE_TAG: "case", **tags},
            asset_selection=selection,
        )
        return self.instance.add_run(run)

    # what runs do -----------------------------------------------------------------------------------------------

    def runs(self, *statuses: str) -> list[DagsterRun]:
        wanted = [dg.DagsterRunStatus(status) for status in statuses]
        return list(self.instance.get_runs(dg.RunsFilter(statuses=wanted)))

    def start(self, job: str | None = None) -> None:
        for run in self.runs("NOT_STARTED"):
            if job not in (None, self._job(run)):
                continue
            self._event(run, dg.DagsterEvent("PIPELINE_START", run.job_name))
            if self._job(run) == IMPORT_LABELS:
                self.read[run.run_id] = (self.state(), self._labelled())
            else:
                self.read[run.run_id] = self.active()

    def end(self, outcome: str, job: str | None = None, *, late: bool = False, promoted: bool = True) -> None:
        """The runs that have started end; a late failure comes after the tables were written."""
        for run in self.runs("STARTED"):
            if job not in (None, self._job(run)):
                continue
            read = self.read.pop(run.run_id)
            if outcome == "succeeded" or late:
                if self._job(run) == IMPORT_LABELS:
                    self._import(run, *read, succeeded=outcome == "succeeded")
                elif outcome == "succeeded" and read:
                    version = str(len(self.trained) + 1)
                    serving = self.champion()
                    self.trained.append(Trained(version, read, promoted, self.now, serving is not None))
                    self._decide(version, promoted, version if promoted else serving, read, run.run_id)
            self._end(run, outcome)

    def _end(self, run: DagsterRun, outcome: str) -> None:
        if outcome == "succeeded":
            self._event(run, dg.DagsterEvent("PIPELINE_SUCCESS", run.job_name))
        elif outcome == "canceled":
            self.instance.report_run_canceled(run)
        elif outcome == "retried":  # by Dagster itself: under the same tags
            self.instance.add_run_tags(run.run_id, {"dagster/will_retry": "true"})
            self.instance.report_run_failed(run)
            again = self._create(run.job_name, dict(run.tags), run.asset_selection)
            self.instance.add_run_tags(run.run_id, {"dagster/auto_retry_run_id": again.run_id})
        else:
            self.instance.report_run_failed(run)

    def _import(self, run: DagsterRun, state: str, labelled: dict[int, int], *, succeeded: bool) -> None:
        metadata = {LABEL_STATE: state}
        self._event(run, self._materialized(run, "annotations", metadata))
        rows = [
            {
                "class_id": class_id,
                "class_name": f"class {class_id}",
                "status": "deprecated" if class_id in self.retired else "active" if boxes >= 10 else "proposed",
                "boxes": boxes,
                "enclosures": 5,
                "reason": f"has {boxes} of 10 boxes",
                "known_since": class_id,
            }
            for class_id, boxes in labelled.items()
        ]
        self.tables.write("equipment_classes", pl.DataFrame(rows, schema=EQUIPMENT_CLASSES), EQUIPMENT_CLASSES)
        self._event(run, self._materialized(run, "equipment_classes", {}))
        self.imported = state if succeeded else None
        if succeeded:
            self.imports.append(state)

    def _materialized(self, run: DagsterRun, asset: str, metadata: dict[str, str]) -> dg.DagsterEvent:
        event = dg.AssetMaterialization(dg.AssetKey(["case", asset]), metadata=metadata)
        return dg.DagsterEvent(
            "ASSET_MATERIALIZATION", run.job_name, event_specific_data=StepMaterializationData(event, [])
        )

    def _event(self, run: DagsterRun, event: dg.DagsterEvent) -> None:
        self.instance.handle_new_event(
            dg.EventLogEntry(
                error_info=None,
                user_message="",
                level="debug",
                run_id=run.run_id,
                timestamp=self.now.timestamp(),
                job_name=run.job_name,
                dagster_event=event,
            )
        )

    def _decide(
        self,
        version: str,
        promoted: bool,
        serving: str | None,
        boxes: dict[int, int] | None,
        run: str,
        kind: str = JUDGED,
    ) -> None:
        known = next((t.boxes for t in self.trained if t.version == serving), None)
        row = {
            "model_version": version,
            "promoted": promoted,
            "reasons": [],
            "champion_version": serving,
            "champion_class_map": json.dumps({c: f"class {c}" for c in known}) if known is not None else None,
            "champion_thresholds": "{}" if known is not None else None,
            "champion_export": "" if known is not None else None,
            "decided_at": self.now,
            "class_boxes": json.dumps(boxes) if boxes is not None else None,
            "run_id": run,
            "kind": kind,
        }
        table = pl.concat([self.decisions(), pl.DataFrame([row], schema=CHAMPION_DETECTOR)])
        self.tables.write("champion_detector", table, CHAMPION_DETECTOR)

    # what is so -------------------------------------------------------------------------------------------------

    def state(self) -> str:
        return labels_digest(drop_digest(self.drop), self.records.ids(), CASE)

    def _labelled(self) -> dict[int, int]:
        boxes: Counter[int] = Counter()
        for file in sorted(self.drop.iterdir()):
            class_id, count = json.loads(file.read_text())
            boxes[class_id] += count
        return dict(boxes)

    def active(self) -> dict[int, int]:
        table = self.tables.read("equipment_classes", EQUIPMENT_CLASSES).filter(pl.col("status") == "active")
        return dict(table.select("class_id", "boxes").iter_rows())

    def decisions(self) -> pl.DataFrame:
        return self.tables.read("champion_detector", CHAMPION_DETECTOR)

    def champion(self) -> str | None:
        table = self.decisions()
        return table.item(-1, "champion_version") if len(table) else None

    def known(self) -> set[int]:
        return next((set(t.boxes) for t in self.trained if t.version == self.champion()), set())

    def missing(self) -> dict[int, int]:
        known = self.known()
        return {class_id: boxes for class_id, boxes in self.active().items() if class_id not in known}

    def is_trained(self) -> bool:
        """Whether the classes that are missing were trained, and none has grown enough since."""
        missing, known = self.missing(), self.known()
        for trained in self.trained:
            before = {class_id: boxes for class_id, boxes in trained.boxes.items() if class_id not in known}
            if before.keys() == missing.keys() and all(missing[c] < boxes + STEP for c, boxes in before.items()):
                return True
        return False

    def new_instance(self) -> None:
        """Dagster's database is lost, with runs, cursors and events; the store is not."""
        self.instance.dispose()
        self.instance = dg.DagsterInstance.ephemeral()
        self.cursors.clear()
        self.old_cursors.clear()
        self.held.clear()
        self.read.clear()
        self.imported = None

    def _champion_before(self) -> str | None:
        serving = [version for version in self.decisions()["champion_version"] if version != self.champion()]
        return serving[-1] if serving else None

    def _job(self, run: DagsterRun) -> str:
        return run.tags.get("started", run.job_name)

    def _may_ask(self, name: str, data: Any) -> None:
        """What must hold of every request, and of every word that there is nothing to do, by what really happened."""
        if not data.run_requests:
            self._is_true(data.skip_message)
            return
        (request,) = data.run_requests
        assert int(request.tags["mlops/attempt"]) >= 1
        of_job = [run for run in self.runs(*IN_PROGRESS) if self._job(run) == JOBS[name]]
        assert not of_job, f"{request.run_key} was asked for beside {of_job}"
        if name == "new_labels":
            assert self.imported != self.state(), "these labels are in the tables"
            return
        assert self.missing(), "the champion knows every class"
        assert not self.is_trained(), "these labels were trained"
        last = self.trained[-1] if self.trained else None
        if last and self.champion() and not (last.promoted and not last.had_champion):
            assert self.now >= last.at + COOLDOWN, "within the cooldown"

    def _is_true(self, said: str) -> None:
        if "imported as it is" in said or "already done" in said:
            assert self.imported == self.state(), said
        if "knows all" in said:
            assert not self.missing(), said
        if "these labels" in said:
            assert self.is_trained(), said

    def check(self) -> None:
        assert all(count == 1 for count in self.keys.values()), "a run key was used twice"
        failed: Counter[str] = Counter()
        for run in self.instance.get_runs():
            if "mlops/request_key" in run.tags:
                failed[run.tags["mlops/request_key"]] += (
                    run.status
                    in (
                        dg.DagsterRunStatus.FAILURE,
                        dg.DagsterRunStatus.CANCELED,
                    )
                    and "dagster/auto_retry_run_id" not in run.tags
                )
        assert all(count <= self._bound(key) for key, count in failed.items()), f"asked for too often: {failed}"

    def _bound(self, key: str) -> int:
        """Three failures; three more for each time that a run for the key came to work on other labels."""
        ended = self.instance.get_runs(
            dg.RunsFilter(tags={"mlops/request_key": key}, statuses=[dg.DagsterRunStatus.SUCCESS])
        )
        return 3 * (1 + len(ended))

    def settle(self) -> None:
        """Everybody is content from now on: the tables must come to hold what was labelled, and the champion too."""
        for _ in range(40):
            still = not self.runs(*IN_PROGRESS) and not self.held
            started = sum(self.tick(name) for name in JOBS)
            self.start()
            self.end("succeeded")
            self.check()
            if still and not started:
                if "cooldown" not in self.said["new_equipment_classes"] and "waiting until" not in str(self.said):
                    break
                self.now += dt.timedelta(hours=7)
        else:
            raise AssertionError(f"does not come to rest: {self.said}")
        if self.state() and "look at the runs" not in self.said["new_labels"]:
            assert self.imported == self.state(), self.said
        if self.missing() and "look at the runs" not in self.said["new_equipment_classes"]:
            assert self.is_trained(), self.said
