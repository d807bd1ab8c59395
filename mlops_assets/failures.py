"""Failures that no retry mends: Dagster's RetryPolicy is told to leave them."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg


@contextmanager
def final_failures(*kinds: type[Exception]) -> Iterator[None]:
    """Turn exceptions of these kinds into failures that are not tried again, with their message as the cause."""
    try:
        yield
    except kinds as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error
