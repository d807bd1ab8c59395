"""`make check`: every check of the code, as many at once as there are processors, slowest first.

The list stands in `catalogue`; what needs more than a command line has a module of its own beside this one.
"""

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

from scripts.checks.catalogue import ROOT, Check, checks


@dataclass(frozen=True)
class Outcome:
    """How one check ended; `output` is all that it printed."""

    check: Check
    passed: bool
    seconds: float
    output: str


def run(check: Check) -> Outcome:
    """Run the check's commands one after the other, to the end even when one fails: all findings at once."""
    started, passed, printed = time.monotonic(), True, []
    for command in check.commands:
        done = subprocess.run(  # noqa: S603 our own list
            command,
            check=False,
            cwd=ROOT,
            env=check.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        passed = passed and done.returncode == 0
        printed.append(done.stdout)
    return Outcome(check, passed, time.monotonic() - started, "".join(printed).strip())


def report(outcome: Outcome) -> None:
    """One line a check; all of its output if it failed, the last line if it has something to say."""
    state = "ok" if outcome.passed else "FAILED"
    last = outcome.output.splitlines()[-1] if outcome.output else ""
    note = f"  {last}" if outcome.passed and outcome.check.says else ""
    print(f"{outcome.check.name:<12} {state:<7} {outcome.seconds:5.1f} s{note}", flush=True)
    if not outcome.passed:
        print(outcome.output, flush=True)


def main() -> int:
    """Run all checks, or those that are named; 1 if any failed."""
    known = {check.name: check for check in checks()}
    parser = argparse.ArgumentParser(prog="make check")
    parser.add_argument("only", nargs="*", metavar="NAME", help=f"of {', '.join(known)}")
    asked = parser.parse_args().only
    if unknown := sorted(set(asked) - set(known)):
        parser.error(f"no check is called {', '.join(unknown)}; there are {', '.join(known)}")
    chosen = [known[name] for name in asked] or list(known.values())
    failed = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for done in as_completed([pool.submit(run, check) for check in chosen]):
            report(outcome := done.result())
            failed += [] if outcome.passed else [outcome.check.name]
    print(f"failed: {', '.join(failed)}" if failed else f"{len(chosen)} checks passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
