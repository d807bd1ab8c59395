"""Follows the alias `champion`: asks the registry now and then, opens another version beside what serves, and swaps.

Nothing waits for it: a request takes the version that serves when it begins, and keeps it to its end. What fails leaves
the serving version where it is, and is said in the log and in the state.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from mlops_assets.serving.detector import RegisteredVersion, ServedDetector, thresholds_for

LONGEST_PAUSE = 300.0
"""Seconds at most between two tries to open a version that could not be opened."""

POLLS_A_LOOK = 6
"""Every so many polls the serving version itself is looked at too: its thresholds may have been set anew."""

_log = logging.getLogger(__name__)


class VersionError(RuntimeError):
    """A version could not be opened, and is not tried again yet."""


@dataclass(frozen=True)
class _Broken:
    """A version that could not be opened: why, when it is tried again (monotonic clock) and after which pause."""

    version: str
    reason: str
    next_try: float
    pause: float


@dataclass(frozen=True)
class FollowerState:
    """What is to be known from outside.

    Attributes:
        version: That serves, or None before there is one.
        polled_at: Time of the last poll that the registry answered, seconds since 1970; 0 before there was one.
        failure: Why the last poll, or the version that it found, failed; empty if all is well.
        polls: Number of polls.
        failures: Of them failed.
        swaps: Versions that took the place of another.
    """

    version: str | None = None
    polled_at: float = 0.0
    failure: str = ""
    polls: int = 0
    failures: int = 0
    swaps: int = 0


class Follower:
    """The version that serves, kept up to date by a thread.

    Args:
        alias: Asks the registry for the champion's number, None without one; cheap, since it is asked at every poll.
        version: Gives a version by its number.
        open_version: Gives a version open and warm.
        default_threshold: For classes whose threshold the version does not name.
        interval: Seconds between two polls.
        forget_others: Told the versions that may serve on, the present one and the one before, once another serves.
    """

    def __init__(
        self,
        alias: Callable[[], str | None],
        version: Callable[[str], RegisteredVersion],
        open_version: Callable[[RegisteredVersion], ServedDetector],
        *,
        default_threshold: float,
        interval: float,
        forget_others: Callable[[Collection[str]], None] = lambda _versions: None,
    ) -> None:
        self._alias = alias
        self._version = version
        self._open = open_version
        self._default = default_threshold
        self._interval = interval
        self._forget_others = forget_others
        self._serving: ServedDetector | None = None
        self._broken: _Broken | None = None
        self._state = FollowerState()
        self._stop = threading.Event()
        # A daemon, since a poll may hang in the network for a minute when the server is to end.
        self._thread = threading.Thread(target=self._follow, name="follow-champion", daemon=True)

    def start(self) -> None:
        """Begin to follow; at once, and then every `interval` seconds."""
        self._thread.start()

    def stop(self) -> None:
        """Ask for no further poll; what serves goes on serving."""
        self._stop.set()

    def current(self) -> ServedDetector | None:
        """The version that serves now; None before the first is warm."""
        return self._serving

    def state(self) -> FollowerState:
        """A snapshot for health and metrics."""
        return self._state

    def poll(self) -> None:
        """Ask once, and swap if another version or other thresholds are to serve; raises nothing."""
        known, polled_at, failure = self._state, self._state.polled_at, ""
        before = self._serving
        try:
            number = self._alias()
            polled_at = time.time()
            if number is None:
                failure = "The registered model has no alias 'champion'; promote a version"
            elif before is None or number != before.version:
                self._swap(number)
            elif known.polls % POLLS_A_LOOK == 0:
                self._look_again(before)
        except Exception as error:  # noqa: BLE001  whatever fails, what serves goes on, and the state says it
            failure = _sentence(error)
        if failure and failure != known.failure:
            _log.warning("%s goes on serving. %s", _named(before), failure)
        elif known.failure and not failure:
            _log.info("The registry answers again; %s serves", _named(self._serving))
        serving = self._serving
        swapped = before is not None and serving is not None and serving.version != before.version
        self._state = FollowerState(
            version=None if serving is None else serving.version,
            polled_at=polled_at,
            failure=failure,
            polls=known.polls + 1,
            failures=known.failures + bool(failure),
            swaps=known.swaps + swapped,
        )

    def _swap(self, number: str) -> None:
        """Open a version; one that could not be opened is tried again ever more seldom, since a try is a download."""
        broken = self._broken if self._broken and self._broken.version == number else None
        if broken and time.monotonic() < broken.next_try:
            raise VersionError(broken.reason)
        try:
            opened = self._open(self._version(number))
        except Exception as error:
            reason = f"Version {number} cannot be opened: {_sentence(error)}"
            pause = min(2 * broken.pause, LONGEST_PAUSE) if broken else self._interval
            self._broken = _Broken(number, reason, time.monotonic() + pause, pause)
            raise VersionError(reason) from error
        before = self._serving
        _log.info("Version %s serves, after %s", number, _named(before))
        self._broken = None
        self._serving = opened  # what served before goes with the last request that holds it
        self._forget_others({serving.version for serving in (opened, before) if serving})

    def _look_again(self, serving: ServedDetector) -> None:
        thresholds = thresholds_for(self._version(serving.version), self._default)
        if thresholds != serving.thresholds:
            self._serving = serving.with_thresholds(thresholds)
            _log.info("Version %s serves with other thresholds", serving.version)

    def _follow(self) -> None:
        pause = 0.0
        while not self._stop.wait(pause):
            self.poll()
            pause = self._interval


def _sentence(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"


def _named(serving: ServedDetector | None) -> str:
    return "No version" if serving is None else f"Version {serving.version}"
