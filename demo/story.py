"""The whole story on this machine, in one persistent Dagster instance, with Dagster's own daemon.

Photos are rendered and landed day by day; labels arrive and the sensors train the first detector; labels of a class
never seen before arrive and the sensors retrain it. Nothing here calls a training: it lands files and waits.
"""

import argparse
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from demo.daemon import DaemonRunningError, launch_day, running_daemon
from demo.deliver import deliver
from demo.render.run import RenderError, render_demo
from demo.report import print_summary, write_summary
from demo.state import State
from demo.watch import StoryError, Watch
from mlops_assets.jobs import INGEST_DAY
from mlops_assets.use_case import load_use_case
from resources.settings import PROJECT, Places, load_settings

SENSOR_INTERVAL = 5
"""Seconds between two looks of a sensor while somebody watches; 30 otherwise."""

INGEST_TIMEOUT = 300.0
TRAINING_TIMEOUT = 1200.0


@dataclass(frozen=True)
class Story:
    """What the chapters need."""

    rendered: Path
    places: Places
    state: State
    watch: Watch

    def ingest(self, day: str) -> None:
        """Technicians upload a day's photos, and its run is asked for."""
        new = deliver(self.rendered / "landing" / day, Path(self.places.landing) / day)
        self.watch.say(f"{day}: {new} files landed" if new else f"{day}: landed before, taken in again")
        before = self.state.materialized_at("detections", day)
        launch_day(PROJECT, INGEST_DAY, day)
        self.watch.until(
            f"{day} is taken in", lambda: self.state.materialized_at("detections", day) > before, INGEST_TIMEOUT
        )

    def label(self, phase: str) -> None:
        """Annotators drop an export; sensors and conditions do the rest."""
        new = deliver(self.rendered / "labels" / phase, Path(self.places.labels) / phase)
        self.watch.say(f"Labels '{phase}': {new} files dropped" if new else f"Labels '{phase}': dropped before")
        self.watch.until(
            f"the labels of '{phase}' are learnt and every day is looked at with the champion",
            lambda: self.state.has_learnt(Path(self.places.labels)),
            TRAINING_TIMEOUT,
        )
        self.watch.say(self.state.last_decision())


def tell(out: Path, started: float, seed: int, enclosures: int) -> Path:
    """Play the story and write `summary.json`.

    Raises:
        StoryError: A step did not come to its end.
    """
    settings = load_settings()
    use_case = load_use_case(settings.use_case_folder / f"{settings.use_case}.yaml")
    rendered = out / "rendered"
    print(f"Rendering photos of {enclosures} enclosures (seed {seed}) …", flush=True)
    render_demo(rendered, seed=seed, enclosures=enclosures)
    log = settings.home / "daemon.log"
    interval = {"MLOPS_SENSOR_INTERVAL": str(SENSOR_INTERVAL)}
    with dg.DagsterInstance.get() as instance, running_daemon(instance, PROJECT, log, interval) as daemon:
        places = settings.places(use_case.name)
        state = State(instance, settings, use_case)
        story = Story(rendered, places, state, Watch(instance, daemon, started))
        story.watch.say(f"Dagster's daemon runs; its log is {log}")
        for day in sorted(path.name for path in (rendered / "landing").iterdir()):
            story.ingest(day)
        for phase in ("base", "new_equipment"):
            story.label(phase)
        summary = write_summary(out / "summary.json", state, rendered / "truth", time.time() - started)
    print_summary(summary, out / "summary.json")
    return out / "summary.json"


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
