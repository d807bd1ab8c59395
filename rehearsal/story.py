"""The demo's story on the production deployment: the same photos, labels and questions, over S3, PostgreSQL and pods.

Nothing here starts a step: days are asked for through Dagster's webserver as a person would, and the rest is for the
deployment's own daemon, sensors and conditions.
"""

import datetime as dt
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from demo.chapters import Chapter, contents, heading
from demo.render.run import render_demo
from demo.report import print_summary, write_summary
from demo.state import State
from demo.story import PHASES, Story
from demo.watch import Watch, say
from mlops_assets.jobs import INGEST_DAY
from mlops_assets.use_case import load_use_case
from rehearsal.backfill import Figures, ask, days_of_asset, days_of_job, fan_out, history, land_history
from rehearsal.deployment import Deployment, deployed
from rehearsal.proofs import prove
from rehearsal.step_pods import print_steps, step_pods, write_steps
from resources.settings import Settings

COMMAND = "make production-rehearsal"
LOCATION = "enclosures"
SENSOR_INTERVAL = 10
"""Seconds between two looks of a sensor: each is asked of the code server, which shares two cores with the steps."""

POLL_SECONDS = 3.0

PATIENCE = 4.0
"""Times as long as on a laptop: a step's process is started from nothing, and a backfill begins when a daemon looks."""

RENDERING = Chapter("Photos of enclosures with known contents are rendered", 20, 20)
DEPLOYING = Chapter("PostgreSQL, an S3 server, the stand-in cluster and the overlay's pods are started", 70, 70)
INGESTION = Chapter("Three days of photos are landed in the bucket and taken in", 300, 300)
LEARNING = Chapter("Labels are dropped; the sensors train the first detector and fill the catalogue", 600, 600)
RELEARNING = Chapter("Labels of equipment never seen before are dropped; the sensors retrain", 500, 500)
HISTORY = Chapter("Many days of history are taken in by one backfill, and looked at again by another", 2400, 2400)
PROVING = Chapter("What was claimed is looked up in PostgreSQL, S3 and the cluster", 10, 10)
CHAPTERS = (RENDERING, DEPLOYING, INGESTION, LEARNING, RELEARNING, HISTORY, PROVING)


@dataclass(frozen=True)
class Outcome:
    """How a rehearsal ended.

    Attributes:
        summary: As the demo's.
        failures: What is not as it must be, in words; empty: all is.
    """

    summary: Mapping[str, Any]
    failures: Sequence[str]


def tell(out: Path, started: float, seed: int, enclosures: int, history_days: int = 0) -> Outcome:
    """Play the story in a fresh deployment, and hold what happened against what must be.

    Args:
        out: Everything goes there.
        started: Seconds since 1970 that lines are timed from.
        seed: Of the renderer.
        enclosures: To render photos of.
        history_days: Days of a few small photos that are taken in after the story, 0: none.

    Raises:
        StoryError: A step of the story did not come to its end.
        ServiceError: A service did not start, or ended.
    """
    chapters = CHAPTERS if history_days else tuple(chapter for chapter in CHAPTERS if chapter is not HISTORY)
    print(contents(chapters, again=False, command=COMMAND), flush=True)
    begin, tell_line = partial(_begin, started, chapters), partial(say, started)
    begin(RENDERING)
    rendered = out / "rendered"
    made = render_demo(rendered, seed=seed, enclosures=enclosures)
    tell_line(f"=> {made.photos} photos of {made.enclosures} enclosures on {len(made.days)} days")
    days = history(made.days[0], history_days)
    begin(DEPLOYING)
    with deployed(out, SENSOR_INTERVAL, tell_line, *days[:1]) as deployment, _instance(deployment, out) as instance:
        tell_line(f"=> Dagster's page is {deployment.webserver}, MLflow's {deployment.mlflow}, while this goes on")
        state = _state(deployment, instance)
        watch = Watch(
            instance,
            deployment.services[0].process,
            started,
            raise_if_unwell=deployment.raise_if_unwell,
            hint=f"logs are below {out}",
            poll_seconds=POLL_SECONDS,
        )
        story = Story(rendered, state, watch, partial(_ask_for_days, deployment), PATIENCE)
        try:
            begin(INGESTION)
            story.ingest()
            for chapter, phase in zip((LEARNING, RELEARNING), PHASES, strict=True):
                begin(chapter)
                story.label(phase)
            figures = []
            if days:
                begin(HISTORY)
                figures = _take_in_history(deployment, story, days)
            begin(PROVING)
            summary = write_summary(out / "summary.json", state, rendered / "truth", time.time() - started)
            proofs = prove(deployment, state)
            failed_runs = [f"run {run} did not succeed" for run in watch.given_up()]
        finally:
            steps = step_pods(deployment.cluster.records(), instance)
            write_steps(steps, out / "step-pods.json")
        for line in proofs.found:
            tell_line(f"  {line}")
    print_summary(summary)
    print_steps(steps, out / "step-pods.json")
    (out / "backfills.json").write_text(json.dumps([asdict(each) for each in figures], indent=1), encoding="utf-8")
    not_as_wanted = [line for each in figures for line in each.failures()]
    return Outcome(summary, [*failed_runs, *not_as_wanted, *proofs.failures])


def _take_in_history(deployment: Deployment, story: Story, days: Sequence[str]) -> list[Figures]:
    """Two backfills over all days: taken in one after the other, then looked at again side by side."""
    state, watch = story.state, story.watch
    count = land_history(story.rendered / "landing", state.places.landing, days)
    watch.say(f"{count} photos landed on {len(days)} days, {days[0]} to {days[-1]}")
    backfills = {
        INGEST_DAY: days_of_job(INGEST_DAY, LOCATION),
        "detections": days_of_asset(state.use_case.name, "detections"),
    }
    figures = []
    for what, selection in backfills.items():
        figures.append(fan_out(deployment, state, watch, days, what, selection))
        watch.came_out(figures[-1].sentence())
    return figures


def _ask_for_days(deployment: Deployment, first: str, last: str) -> None:
    """Take in all days from the first to the last, that one included."""
    begin, end = dt.date.fromisoformat(first), dt.date.fromisoformat(last)
    days = [(begin + dt.timedelta(days=number)).isoformat() for number in range((end - begin).days + 1)]
    ask(deployment, days_of_job(INGEST_DAY, LOCATION), days)


@contextmanager
def _instance(deployment: Deployment, out: Path) -> Iterator[dg.DagsterInstance]:
    """The deployment's Dagster instance to read from; it launches nothing."""
    home = out / "instance"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    config = yaml.safe_load(deployment.manifests.get("ConfigMap", "dagster-instance")["data"]["dagster.yaml"])
    read_only = {"telemetry": {"enabled": False}, "storage": config["storage"]}
    (home / "dagster.yaml").write_text(yaml.safe_dump(read_only))
    settings = deployment.manifests.settings()
    variables = {name: value for name, value in settings.items() if name.startswith(("DAGSTER_PG_", "PGSSL"))}
    variables["DAGSTER_PG_PASSWORD"] = deployment.databases["dagster"].password
    with (
        _environment({**variables, **deployment.store.environment}),
        dg.DagsterInstance.from_config(str(home)) as instance,
    ):
        yield instance


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Variables of this process for a while: what SQLAlchemy and botocore read nowhere else."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _state(deployment: Deployment, instance: dg.DagsterInstance) -> State:
    given = deployment.manifests.settings()
    settings = Settings(
        landing=given["MLOPS_LANDING"],
        labels=given["MLOPS_LABELS"],
        store=given["MLOPS_STORE"],
        pages=given["MLOPS_PAGES"],
        mlflow_tracking_uri=given["MLOPS_MLFLOW_TRACKING_URI"],
        catalog_database=deployment.databases["catalog"].url,
    )
    use_case = load_use_case(settings.use_case_folder / f"{settings.use_case}.yaml")
    return State(instance, settings, use_case)


def _begin(started: float, chapters: Sequence[Chapter], chapter: Chapter) -> None:
    print()
    say(started, heading(chapters, chapter, again=False))
