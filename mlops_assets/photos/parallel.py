"""Work on many photos at once, with no more of them in memory than the threads need."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

Progress = Callable[[int, int], None]
"""Called with how many are done and how many there are."""


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int | None = None
) -> Iterator[Result]:
    """Yield results as they finish; at most two calls a thread are begun and not yet taken.

    Threads suit photos, since their codecs and the network let other threads run.

    Args:
        function: Called once an item, from several threads.
        items: Taken only as fast as they are worked on.
        workers: Threads; as many as there are cores where None.

    Raises:
        Exception: The first that `function` raises; what was not begun is then not called.
    """
    workers = workers or available_cores()
    pending: set[Future[Result]] = set()
    waiting = iter(items)
    with opencv_alone(), ThreadPoolExecutor(workers, thread_name_prefix="photos") as pool:
        try:
            while True:
                pending |= {pool.submit(function, item) for item in islice(waiting, 2 * workers - len(pending))}
                if not pending:
                    return
                finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in finished:
                    yield future.result()
        finally:
            for future in pending:
                future.cancel()


@contextmanager
def opencv_alone() -> Iterator[None]:
    """OpenCV's own threads within each call would only stand in the way of those that work on other photos."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
