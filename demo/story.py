"""The whole story on this machine, in one persistent Dagster instance, with Dagster's own daemon.

Photos are rendered and landed day by day; labels arrive and the sensors train the first detector; labels of a class
never seen before arrive and the sensors retrain it. Nothing here calls a training: it lands files and waits.
"""

import argparse
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import dagster as dg

from demo.chapters import CHAPTERS, INGESTION, LEARNING, RELEARNING, RENDERING, Chapter, contents, heading
from demo.daemon import DaemonRunningError, backfill_days, running_daemon
from demo.deliver import deliver
from demo.outcome import catalogue_written, labels_learnt, photos_taken_in
from demo.render.run import RenderError, render_demo
from demo.report import print_next, print_summary, write_summary
from demo.state import State
from demo.watch import StoryError, Watch, say
from mlops_assets.jobs import INGEST_DAY
from mlops_assets.use_case import load_use_case
from resources.locations import location
from resources.settings import PROJECT, load_settings

SENSOR_INTERVAL = 4
"""Seconds between two looks of a sensor while somebody watches; 30 otherwise.

The daemon goes round its sensors every 5 s (not a setting) and leaves out those whose interval is not over by then: at
5 a look came every 10 s as often as not.
"""

PHASES = ("base", "new_equipment")
"""Deliveries of labels, in the order in which annotators drop them."""

INGEST_TIMEOUT = 300.0
TRAINING_TIMEOUT = 1200.0


@dataclass(frozen=True)
class Story:
    """What the chapters need.

    Attributes:
        rendered: Folder of the rendered photos and labels.
        state: How far the system has come.
        watch: Tells what goes on.
        backfill: Asks for the runs of all days from the first to the last, as a person would.
        patience: Times as long as on a laptop that anything may take.
    """

    rendered: Path
    state: State
    watch: Watch
    backfill: Callable[[str, str], None]
    patience: float = 1.0

    def ingest(self) -> None:
        """Technicians upload photos, and the runs of all days are asked for at once; they go one after the other."""
        days = sorted(path.name for path in (self.rendered / "landing").iterdir())
        before = {day: self.state.materialized_at("detections", day) for day in days}
        for day in days:
            new = deliver(self.rendered / "landing" / day, location(self.state.places.landing) / day)
            self.watch.say(f"{day}: {new} files landed" if new else f"{day}: landed before, taken in again")
        self.backfill(days[0], days[-1])
        self.watch.until(
            "every day is taken in",
            lambda: all(self.state.materialized_at("detections", day) > before[day] for day in days),
            INGEST_TIMEOUT * len(days) * self.patience,
        )
        self.watch.came_out(photos_taken_in(self.state))

    def label(self, phase: str) -> None:
        """Annotators drop an export; sensors and conditions do the rest."""
        new = deliver(self.rendered / "labels" / phase, self.state.drop / phase)
        self.watch.say(f"Labels '{phase}': {new} files dropped" if new else f"Labels '{phase}': dropped before")
        self.watch.until(
            f"the labels of '{phase}' are learnt and every day is looked at with the champion",
            self.state.has_learnt,
            TRAINING_TIMEOUT * self.patience,
        )
        self.watch.came_out(labels_learnt(self.state))
        self.watch.came_out(catalogue_written(self.state))


def tell(out: Path, started: float, seed: int, enclosures: int) -> Path:
    """Play the story and write `summary.json`.

    Raises:
        StoryError: A step did not come to its end.
    """
    settings = load_settings()
    use_case = load_use_case(settings.use_case_folder / f"{settings.use_case}.yaml")
    rendered = out / "rendered"
    with dg.DagsterInstance.get() as instance:
        state = State(instance, settings, use_case)
        again = _told_before(state)
        print(contents(CHAPTERS, again=again))
        begin = partial(_begin, started, again)
        begin(RENDERING)
        made = render_demo(rendered, seed=seed, enclosures=enclosures)
        say(
            started,
            f"=> {made.photos} photos and {made.bad_uploads} bad uploads of {made.enclosures} enclosures on "
            f"{len(made.days)} days; {made.boxes} times a device is to be seen",
        )
        log = settings.home / "daemon.log"
        interval = {"MLOPS_SENSOR_INTERVAL": str(SENSOR_INTERVAL)}
        with running_daemon(instance, PROJECT, log, interval) as daemon:
            backfill = partial(backfill_days, PROJECT, INGEST_DAY)
            story = Story(rendered, state, Watch(instance, daemon, started), backfill)
            begin(INGESTION)
            story.watch.say(f"Dagster's daemon runs; its log is {log}")
            story.ingest()
            for chapter, phase in zip((LEARNING, RELEARNING), PHASES, strict=True):
                begin(chapter)
                story.label(phase)
            summary = write_summary(out / "summary.json", state, rendered / "truth", time.time() - started)
    print_summary(summary)
    print_next(summary, out / "summary.json")
    return out / "summary.json"


def _told_before(state: State) -> bool:
    """Whether all labels were delivered and learnt, so that nothing is left to train."""
    return all((state.drop / phase).exists() for phase in PHASES) and state.has_learnt()


def _begin(started: float, again: bool, chapter: Chapter) -> None:
    print()
    say(started, heading(CHAPTERS, chapter, again=again))


def main() -> int:
    """Command line of `make demo`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=PROJECT / "demo-output")
    parser.add_argument("--started", type=float, default=time.time(), help="when set-up began, seconds since 1970")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--enclosures", type=int, default=64)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the daemon is stopped with us
    try:
        tell(arguments.out.resolve(), arguments.started, arguments.seed, arguments.enclosures)
    except (StoryError, DaemonRunningError, RenderError) as error:
        print(f"\nThe story stopped: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped by you; `make demo` goes on from here.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
