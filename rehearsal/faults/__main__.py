"""The fault table: `python -m rehearsal.faults [scenario …]` tries the faults on production's deployment and prints it.

Writes `demo-output/fault-table.md` and, for a scenario that ended wrong, its event log beside it; then it exits with 1.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rehearsal.faults.deployment import deployed
from rehearsal.faults.scenarios import SCENARIOS, Scenario
from rehearsal.faults.trial import Outcome, Trial

AT_ONCE = 5
"""Scenarios that run at the same time: each is a run with up to two pods that start."""


def try_all(
    scenarios: Sequence[Scenario],
    folder: Path,
    logs: Path | None = None,
    at_once: int = AT_ONCE,
    tell: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Try scenarios, several at a time, each to its final state.

    Args:
        scenarios: What to try.
        folder: For the files of pods and services, and `pods.jsonl` with a record of every pod.
        logs: Where the event log of one that ended wrong goes.
        at_once: How many at a time.
        tell: Called with each outcome as it comes.

    Returns:
        What was seen, in the order of the scenarios.
    """
    outcomes: dict[str, Outcome] = {}
    with deployed(folder) as deployment:
        waiting, running = list(scenarios), list[Trial]()
        while waiting or running:
            while waiting and len(running) < at_once:
                running.append(Trial(deployment, waiting.pop(0)))
            for trial in [trial for trial in running if trial.over()]:
                running.remove(trial)
                outcome = outcomes[trial.scenario.name] = trial.outcome()
                if tell:
                    tell(outcome)
                if logs and outcome.wrong:
                    logs.mkdir(parents=True, exist_ok=True)
                    (logs / f"fault-{trial.scenario.name}.log").write_text(trial.log())
            time.sleep(0.5)
        deployment.cluster.write_records(folder / "pods.jsonl")
    return [outcomes[each.name] for each in scenarios]


def as_table(outcomes: Sequence[Outcome]) -> str:
    """Markdown."""
    lines = ["| fault | what happened | final state | seconds |", "| --- | --- | --- | --- |"]
    return "\n".join([*lines, *(_row(each) for each in outcomes)]) + "\n"


def _print_row(outcome: Outcome) -> None:
    print(_row(outcome), flush=True)


def _row(outcome: Outcome) -> str:
    happened = "; ".join(outcome.happened) or "nothing"
    state = outcome.state + (f" — WRONG: {'; '.join(outcome.wrong)}" if outcome.wrong else "")
    return f"| {outcome.scenario.title} | {happened} | {state} | {outcome.seconds:.0f} |"


def main() -> int:
    """Read the arguments, try, print."""
    parser = argparse.ArgumentParser(prog="python -m rehearsal.faults", description=__doc__)
    parser.add_argument("scenarios", nargs="*", help=f"by default all: {', '.join(each.name for each in SCENARIOS)}")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="how many are tried at a time")
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="folder of the table and logs")
    parser.add_argument(
        "--keep", type=Path, help="folder for logs of pods and services, kept; by default a temporary one"
    )
    arguments = parser.parse_args()
    chosen = [each for each in SCENARIOS if not arguments.scenarios or each.name in arguments.scenarios]
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        outcomes = try_all(chosen, folder, arguments.output, arguments.at_once, _print_row)
    table = as_table(outcomes)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "fault-table.md").write_text(table)
    return 1 if any(each.wrong for each in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
