"""What the server counts, in Prometheus' text format (version 0.0.4), which is a few lines and needs no library."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator

from mlops_assets.serving.following import FollowerState

BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the latency histogram, seconds."""

CONTENT_TYPE = "text/plain; version=0.0.4"


class Metrics:
    """Counts of one server; used from its event loop alone."""

    def __init__(self) -> None:
        self.in_flight = 0
        self._requests: Counter[tuple[str, int]] = Counter()
        self._photos = 0
        self._buckets = [0] * (len(BUCKETS) + 1)
        self._seconds = 0.0

    def count(self, path: str, status: int) -> None:
        """Count an answer."""
        self._requests[path, status] += 1

    def observe(self, seconds: float, photos: int) -> None:
        """Count photos that were answered, and how long their request took."""
        self._photos += photos
        self._seconds += seconds
        self._buckets[bisect_left(BUCKETS, seconds)] += 1

    def text(self, state: FollowerState) -> str:
        """Everything, with what the follower knows."""
        return "\n".join([*self._lines(state), ""])

    def _lines(self, state: FollowerState) -> Iterator[str]:
        yield "# TYPE detector_requests_total counter"
        for (path, status), count in sorted(self._requests.items()):
            yield f'detector_requests_total{{path="{path}",status="{status}"}} {count}'
        yield "# TYPE detector_requests_in_flight gauge"
        yield f"detector_requests_in_flight {self.in_flight}"
        yield "# TYPE detector_photos_total counter"
        yield f"detector_photos_total {self._photos}"
        yield "# TYPE detector_request_seconds histogram"
        total = 0
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), self._buckets, strict=True):
            total += count
            yield f'detector_request_seconds_bucket{{le="{bound}"}} {total}'
        yield f"detector_request_seconds_sum {self._seconds:.6f}"
        yield f"detector_request_seconds_count {total}"
        yield "# TYPE detector_version gauge"
        if state.version is not None:
            yield f'detector_version{{version="{state.version}"}} 1'
        for name, value in (("polls", state.polls), ("poll_failures", state.failures), ("swaps", state.swaps)):
            yield f"# TYPE detector_{name}_total counter"
            yield f"detector_{name}_total {value}"
        yield "# TYPE detector_follows gauge"
        yield f"detector_follows {int(not state.failure)}"
        yield "# TYPE detector_last_poll_timestamp_seconds gauge"
        yield f"detector_last_poll_timestamp_seconds {state.polled_at:.3f}"
