"""Progress of long work in Dagster's log, at most every few seconds."""

import logging
import time
from collections.abc import Callable

INTERVAL_S = 5.0


def logged_progress(log: logging.Logger, what: str) -> Callable[[int, int], None]:
    """A callback (done, total) that writes a line with the share done and the time left, at the end the time taken."""
    started = last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < INTERVAL_S and done < total:
            return
        last = now
        taken = now - started
        if done >= total:
            log.info("%d of %d %s in %.0f s", done, total, what, taken)
        else:
            pace = done / taken if taken else float(done)
            log.info("%d of %d %s, %.1f a second, about %.0f s left", done, total, what, pace, (total - done) / pace)

    return report
