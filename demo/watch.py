"""What goes on in the Dagster instance, told line by line while the demo waits for it."""

import subprocess
import time
from collections.abc import Callable

import dagster as dg
from dagster._core.storage.tags import WILL_RETRY_TAG

from demo.chapters import clock

POLL_SECONDS = 1.0
_ENDED = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
_TOLD = (
    "Epoch ",
    "photos taken in",
    "photos cleaned",
    "photos looked at",
    "(a)",
    "(b)",
    "(c)",
    "(d)",
    "(e)",
    "(f)",
    "(g)",
)


def say(started: float, text: str) -> None:
    """Print one line with the time since `started`, seconds since 1970."""
    print(f"[{clock(time.time() - started):>5}] {text}", flush=True)


class StoryError(RuntimeError):
    """The story cannot go on; the message says what to look at."""


class Watch:
    """Follows every run that starts after it was made, and prints what becomes of it."""

    def __init__(
        self,
        instance: dg.DagsterInstance,
        daemon: "subprocess.Popen[bytes]",
        started: float,
        *,
        raise_if_unwell: Callable[[], None] = lambda: None,
        hint: str = "see `make ui`",
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        """Watch an instance.

        Args:
            instance: Where the runs are.
            daemon: Without it nothing goes on.
            started: Seconds since 1970 that lines are timed from.
            raise_if_unwell: Asked at every look for what else the story cannot go on without.
            hint: Where a reader looks when the story stops.
            poll_seconds: Between two looks.
        """
        self._raise_if_unwell = raise_if_unwell
        self._hint = hint
        self._poll_seconds = poll_seconds
        self._instance = instance
        self._daemon = daemon
        self._started = started
        self._told: dict[str, dg.DagsterRunStatus] = {run.run_id: run.status for run in instance.get_runs()}
        self._cursors: dict[str, str | None] = {}
        self.failed: list[str] = []

    def say(self, text: str) -> None:
        """One line with the time since the start."""
        say(self._started, text)

    def came_out(self, text: str) -> None:
        """What a chapter came to."""
        self.say(f"=> {text}")

    def until(self, what: str, reached: Callable[[], bool], timeout: float) -> None:
        """Wait until something is so and no run is queued or running.

        Raises:
            StoryError: It took too long, too many runs failed, or the daemon ended.
        """
        deadline = time.monotonic() + timeout
        while True:
            busy = self._tell()
            if not busy and reached():
                return
            self._raise_if_unwell()
            if self._daemon.poll() is not None:
                raise StoryError(f"The daemon ended with {self._daemon.returncode} while waiting until {what}")
            if len(given_up := self.given_up()) >= 3:
                raise StoryError(f"Runs failed while waiting until {what}: {', '.join(given_up)}; {self._hint}")
            if time.monotonic() > deadline:
                raise StoryError(f"After {timeout:.0f} s it is still not so that {what}; {self._hint}")
            time.sleep(self._poll_seconds)

    def given_up(self) -> list[str]:
        """Runs that failed and that the instance does not try again, by id.

        Asked anew, since Dagster tags a run for its retry a moment after the run has failed.
        """
        runs = self._instance.get_runs(dg.RunsFilter(run_ids=self.failed)) if self.failed else []
        again = {run.run_id for run in runs if run.tags.get(WILL_RETRY_TAG) == "true"}
        return [run_id for run_id in self.failed if run_id not in again]

    def _tell(self) -> bool:
        """Print what is new; whether anything is queued or running."""
        busy = False
        for run in reversed(self._instance.get_runs()):
            before = self._told.get(run.run_id)
            busy |= run.status not in _ENDED
            if before not in _ENDED:
                self._tell_log(run)
            if run.status != before:
                self._told[run.run_id] = run.status
                self._tell_status(run)
        return busy

    def _tell_status(self, run: dg.DagsterRun) -> None:
        name = f"{_name(run)} {run.tags.get('dagster/partition', '')}".strip()
        if run.status == dg.DagsterRunStatus.STARTED:
            asked_by = run.tags.get("dagster/sensor_name")
            self.say(f"  {name}: started" + (f" by sensor {asked_by}" if asked_by else ""))
        elif run.status == dg.DagsterRunStatus.SUCCESS:
            stats = self._instance.get_run_stats(run.run_id)
            self.say(f"  {name}: done in {(stats.end_time or 0) - (stats.start_time or 0):.0f} s")
        elif run.status in _ENDED:
            self.failed.append(run.run_id)
            self.say(f"  {name}: {run.status.value}, run {run.run_id}")

    def _tell_log(self, run: dg.DagsterRun) -> None:
        connection = self._instance.get_records_for_run(run.run_id, cursor=self._cursors.get(run.run_id), limit=1000)
        self._cursors[run.run_id] = connection.cursor
        for record in connection.records:
            message = record.event_log_entry.user_message
            if record.event_log_entry.dagster_event is None and any(mark in message for mark in _TOLD):
                self.say(f"    {message}")


def _name(run: dg.DagsterRun) -> str:
    if not run.job_name.startswith("__"):
        return run.job_name
    return ", ".join(sorted(key.path[-1] for key in run.asset_selection or ())) or run.job_name
