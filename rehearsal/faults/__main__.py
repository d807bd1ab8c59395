"""The fault table: `python -m rehearsal.faults [scenario …]` tries the faults on production's deployment and prints it.

Writes `demo-output/fault-table.md` and, for a scenario that ended wrong, its event log beside it; then it exits with 1.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rehearsal.faults.deployment import deployed
from rehearsal.faults.scenarios import SCENARIOS, Scenario
from rehearsal.faults.trial import Outcome, Trial

AT_ONCE = 5
"""Scenarios that run at the same time: each is a run with up to two pods that start."""


def try_all(scenarios: Sequence[Scenario], folder: Path, logs: Path | None = None) -> list[Outcome]:
    """Try scenarios, several at a time, each to its final state; returns what was seen, in their order."""
    outcomes: dict[str, Outcome] = {}
    with deployed(folder) as deployment:
        waiting, running = list(scenarios), list[Trial]()
        while waiting or running:
            while waiting and len(running) < AT_ONCE:
                running.append(Trial(deployment, waiting.pop(0)))
            for trial in [trial for trial in running if trial.over()]:
                running.remove(trial)
                outcome = outcomes[trial.scenario.name] = trial.outcome()
                if logs and outcome.wrong:
                    logs.mkdir(parents=True, exist_ok=True)
                    (logs / f"fault-{trial.scenario.name}.log").write_text(trial.log())
            time.sleep(0.5)
        deployment.cluster.write_records(folder / "pods.jsonl")
    return [outcomes[each.name] for each in scenarios]


def as_table(outcomes: Sequence[Outcome]) -> str:
    """Markdown."""
    lines = ["| fault | what happened | final state | seconds |", "| --- | --- | --- | --- |"]
    for each in outcomes:
        happened = "; ".join(each.happened) or "nothing"
        state = each.state + (f" — WRONG: {'; '.join(each.wrong)}" if each.wrong else "")
        lines.append(f"| {each.scenario.title} | {happened} | {state} | {each.seconds:.0f} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Read the arguments, try, print."""
    parser = argparse.ArgumentParser(prog="python -m rehearsal.faults", description=__doc__)
    parser.add_argument("scenarios", nargs="*", help=f"by default all: {', '.join(each.name for each in SCENARIOS)}")
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="folder of the table and logs")
    parser.add_argument(
        "--keep", type=Path, help="folder for logs of pods and services, kept; by default a temporary one"
    )
    arguments = parser.parse_args()
    chosen = [each for each in SCENARIOS if not arguments.scenarios or each.name in arguments.scenarios]
    with tempfile.TemporaryDirectory() as temporary:
        outcomes = try_all(chosen, arguments.keep or Path(temporary), arguments.output)
    table = as_table(outcomes)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "fault-table.md").write_text(table)
    print(table)
    return 1 if any(each.wrong for each in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
