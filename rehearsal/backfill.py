"""Many days at once: a history of small photos is landed and taken in, then looked at again as a new champion asks.

Both are asked for as a person would, by a backfill on Dagster's page. What is measured: that all days come to their
end, how many step pods work at once, what a day costs first and last, and how often the catalogue is made again.
"""

import datetime as dt
import io
import random
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import dagster as dg

from demo.state import State
from demo.watch import StoryError, Watch
from rehearsal.cluster.records import PodRecord
from rehearsal.deployment import Deployment
from rehearsal.step_pods import STEP_WORKER
from resources.locations import location

Selection: TypeAlias = dict[str, Any]
"""Fields of GraphQL's LaunchBackfillParams."""

PHOTOS_A_DAY = 3
MOST_STEP_PODS = 4
CATALOGUE_REBUILDS = 5
"""At most, for all days together."""

DAY_SECONDS = 180.0
"""Patience for one day, on two cores."""

_LONG_SIDE = 960
_LAUNCH = """mutation Backfill($parameters: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $parameters) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
    ... on PartitionSetNotFoundError { message }
    ... on UnauthorizedError { message }
  }
}"""


@dataclass(frozen=True)
class Figures:
    """What one backfill came to.

    Attributes:
        what: Job or asset.
        days: Asked for.
        done: That came to their end.
        most_step_pods: At work at the same time.
        first_quarter: Median seconds of step pods a day, over the first quarter of days by when they were done.
        last_quarter: The same, over the last quarter.
        seconds: From asking to the last day's end.
        catalogue_runs: That made the catalogue again meanwhile, and until nothing was left to do.
    """

    what: str
    days: int
    done: int
    most_step_pods: int
    first_quarter: float
    last_quarter: float
    seconds: float
    catalogue_runs: int

    def sentence(self) -> str:
        """For people."""
        return (
            f"{self.what}: {self.done} of {self.days} days in {self.seconds:.0f} s, at most {self.most_step_pods} step "
            f"pods at once, {self.first_quarter:.1f} s of step pods a day in the first quarter and "
            f"{self.last_quarter:.1f} s in the last, catalogue made {self.catalogue_runs} times"
        )

    def failures(self) -> Iterator[str]:
        """What is not as it must be."""
        if self.done != self.days:
            yield f"{self.what}: {self.days - self.done} of {self.days} days were not done"
        if self.most_step_pods > MOST_STEP_PODS:
            yield f"{self.what}: {self.most_step_pods} step pods at once, more than {MOST_STEP_PODS}"
        if self.last_quarter > 1.5 * self.first_quarter:
            yield f"{self.what}: a day cost {self.first_quarter:.1f} s first and {self.last_quarter:.1f} s last"
        if self.catalogue_runs > CATALOGUE_REBUILDS:
            yield f"{self.what}: the catalogue was made {self.catalogue_runs} times"


def days_of_job(job: str, location: str) -> Selection:
    """All steps of a job whose partitions are days."""
    repository = {"repositoryName": "__repository__", "repositoryLocationName": location}
    return {"selector": {"partitionSetName": f"{job}_partition_set", "repositorySelector": repository}}


def days_of_asset(use_case: str, asset: str) -> Selection:
    """One asset, and its checks."""
    return {"assetSelection": [{"path": [use_case, asset]}]}


def ask(deployment: Deployment, selection: Selection, days: Sequence[str]) -> str:
    """Ask Dagster's webserver for a backfill, as its page does; returns its id.

    Raises:
        StoryError: Dagster refused.
    """
    answer = deployment.graphql(_LAUNCH, {"parameters": {**selection, "partitionNames": list(days)}})
    launched = answer["launchPartitionBackfill"]
    if launched["__typename"] != "LaunchBackfillSuccess":
        raise StoryError(f"Dagster refused the backfill: {launched}")
    return str(launched["backfillId"])


def history(last: str, days: int) -> list[str]:
    """As many days as asked for, up to the one before `last`, YYYY-MM-DD."""
    end = dt.date.fromisoformat(last)
    return [(end - dt.timedelta(days=back)).isoformat() for back in range(days, 0, -1)]


def land_history(rendered: Path, landing: str, days: Sequence[str]) -> int:
    """Land a few small photos a day, each of an enclosure of its own; returns how many.

    Args:
        rendered: Landing folder of the demo, whose photos are taken, smaller and in another light.
        landing: Folder or address.
        days: YYYY-MM-DD.
    """
    pictures = list(_pictures(rendered))
    chance = random.Random(len(days))  # noqa: S311 no secret
    count = 0
    for day in days:
        for number in range(PHOTOS_A_DAY):
            place = location(landing) / day / f"HISTORY-{day}-{number}" / "IMG_0001.jpg"
            if isinstance(place, Path):  # an object store needs no folders
                place.parent.mkdir(parents=True)
            place.write_bytes(_smaller(pictures[count % len(pictures)], chance.uniform(0.8, 1.2)))
            count += 1
    return count


def fan_out(
    deployment: Deployment, state: State, watch: Watch, days: Sequence[str], what: str, selection: Selection
) -> Figures:
    """Ask for a backfill, wait until nothing is left to do, and measure.

    Args:
        deployment: Where.
        state: Of the use case.
        watch: That waits.
        days: YYYY-MM-DD.
        what: What to call it.
        selection: A job, or an asset.

    Raises:
        StoryError: Dagster refused, or it took too long.
    """
    begun = time.time()
    backfill = ask(deployment, selection, days)

    def done() -> list[str]:
        return [day for day in days if state.materialized_at("detections", day) > begun]

    watch.until(
        f"{len(days)} days are done and the catalogue follows",
        lambda: len(done()) == len(days) and state.catalogue_follows(),
        DAY_SECONDS * len(days),
    )
    ended = max(state.materialized_at("detections", day) for day in days)
    runs = state.instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": backfill}))
    records = [record for record in deployment.cluster.records() if record.component == STEP_WORKER]
    costs = _cost_of_days(runs, records)
    quarter = max(1, len(costs) // 4)
    return Figures(
        what=what,
        days=len(days),
        done=len(done()),
        most_step_pods=most_at_once(record for record in records if (record.started or 0) > begun),
        first_quarter=statistics.median(costs[:quarter]),
        last_quarter=statistics.median(costs[-quarter:]),
        seconds=ended - begun,
        catalogue_runs=_catalogue_runs(state, begun),
    )


def most_at_once(records: Iterable[PodRecord]) -> int:
    """The most pods whose containers ran at the same time."""
    changes = []
    for record in records:
        if record.started is not None:
            changes += [(record.started, 1), (record.ended or float("inf"), -1)]
    most = running = 0
    for _, change in sorted(changes):  # at one moment ends come before starts
        running += change
        most = max(most, running)
    return most


def _cost_of_days(runs: Sequence[dg.DagsterRun], records: Sequence[PodRecord]) -> list[float]:
    """Seconds of step pods by run, in the order in which the runs' first pods started."""
    by_run: dict[str, list[PodRecord]] = {run.run_id: [] for run in runs}
    for record in records:
        if record.run_id in by_run and record.started is not None:
            by_run[record.run_id].append(record)
    ordered = sorted((pods for pods in by_run.values() if pods), key=lambda pods: min(pod.started or 0 for pod in pods))
    return [sum(pod.seconds for pod in pods) for pods in ordered]


def _catalogue_runs(state: State, since: float) -> int:
    key = dg.AssetKey([state.use_case.name, "visit_inventory"])
    records = state.instance.get_run_records(limit=1000)
    return sum(
        key in (record.dagster_run.asset_selection or set())
        for record in records
        if record.create_timestamp.timestamp() > since
    )


def _pictures(rendered: Path) -> Iterator[bytes]:
    from PIL import Image, UnidentifiedImageError

    for path in sorted(rendered.rglob("*.jpg")):
        try:
            with Image.open(path) as image:
                image.load()  # which verify() does not, and so finds no end that is missing
        except (UnidentifiedImageError, OSError, SyntaxError):
            continue  # one of the demo's bad uploads
        yield path.read_bytes()


def _smaller(content: bytes, light: float) -> bytes:
    from PIL import Image, ImageEnhance, ImageOps

    with Image.open(io.BytesIO(content)) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    upright.thumbnail((_LONG_SIDE, _LONG_SIDE))
    target = io.BytesIO()
    ImageEnhance.Brightness(upright).enhance(light).save(target, "JPEG", quality=85)
    return target.getvalue()
