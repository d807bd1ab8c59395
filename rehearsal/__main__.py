"""Command line of `make production-rehearsal`."""

import argparse
import fcntl
import shutil
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from demo.render.run import RenderError
from demo.watch import StoryError
from rehearsal.images.build import ImageBuildError
from rehearsal.processes import ServiceError
from rehearsal.story import tell
from resources.settings import PROJECT


class _Stopped(BaseException):
    """Ctrl-C or SIGTERM; not an Exception, so that nothing takes it for a failure of its own."""

    def __init__(self, number: int) -> None:
        self.number = number


def main() -> int:
    """Play the story; 0 only if all is as it must be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=PROJECT / "rehearsal-output")
    parser.add_argument("--started", type=float, default=time.time(), help="when set-up began, seconds since 1970")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--enclosures", type=int, default=64)
    parser.add_argument(
        "--backfill", type=int, default=0, metavar="DAYS", help="after the story, take in so many days of history"
    )
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop_once)
    try:
        with (out / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _make_room(out)
            outcome = tell(out, arguments.started, arguments.seed, arguments.enclosures, arguments.backfill)
    except BlockingIOError:
        print(f"Another rehearsal works in {out}", file=sys.stderr)
        return 1
    except (StoryError, ServiceError, RenderError, ImageBuildError) as error:
        print(f"\nThe rehearsal stopped: {error}\nLogs of services and pods are below {out}", file=sys.stderr)
        return 1
    except _Stopped as stopped:
        print("\nStopped by you; nothing of it is left running.", file=sys.stderr)
        return 128 + stopped.number
    if outcome.failures:
        print("\nNot as it must be:\n" + "\n".join(f"  {line}" for line in outcome.failures), file=sys.stderr)
        return 1
    print(f"{time.time() - arguments.started:.0f} s in all; all is as it must be")
    return 0


def _stop_once(number: int, frame: FrameType | None) -> None:
    """End in good order; a second Ctrl-C must not break that off."""
    del frame
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise _Stopped(number)


def _make_room(out: Path) -> None:
    """Remove what an earlier rehearsal made, but for its photos: a deployment begins with empty databases."""
    from rehearsal.processes import end_left_over

    for name in end_left_over(out / "services"):
        print(f"Ended {name}, which an earlier rehearsal left behind")
    for path in out.iterdir():
        if path.name not in (".lock", "rendered"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


if __name__ == "__main__":
    sys.exit(main())
