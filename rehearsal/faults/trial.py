"""Tries a scenario on a deployment and judges how it ended."""

import json
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dagster import AssetKey, DagsterEventType, DagsterRun, EventLogEntry, RunsFilter
from dagster._core.storage.tags import ROOT_RUN_ID_TAG, WILL_RETRY_TAG

from rehearsal.cluster.objects import finished
from rehearsal.cluster.records import PodRecord
from rehearsal.faults.deployment import LOCATION, Deployment, on_own_node
from rehearsal.faults.scenarios import WORKING, Scenario

HOLD_TAG = "faults/hold"
SETTLED_SECONDS = 3.0
"""A run is marked as failed a moment before Dagster tags it as one to be retried."""

CLEAN_SECONDS = 45.0
"""How long what a finished group leaves behind may take to go: a pod's grace of 30 s among it."""
SLACK_SECONDS = 35.0
"""A step may outlive its deadline by its grace, and by what a busy machine needs."""
_LAUNCH = """
mutation($executionParams: ExecutionParams!) {
  launchPipelineExecution(executionParams: $executionParams) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message stack }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
_TERMINATE = """
mutation($runId: String!) {
  terminateRun(runId: $runId) { __typename ... on TerminateRunFailure { message } ... on PythonError { message stack } }
}
"""


@dataclass
class Outcome:
    """What was seen of one scenario."""

    scenario: Scenario
    happened: list[str] = field(default_factory=list)
    state: str = ""
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)


class Trial:
    """One scenario that was begun; `step` it until it is over."""

    def __init__(self, deployment: Deployment, scenario: Scenario) -> None:
        self._deployment, self.scenario = deployment, scenario
        for fault in scenario.faults(scenario.name):
            deployment.cluster.faults.add(fault)
        self._began = time.monotonic()
        self._acted = False
        self._ended: float | None = None
        self._root = self._launch()

    def over(self) -> bool:
        """Whether the group of runs has ended and left nothing behind, or its time is up; acts where it must."""
        runs = self._runs()
        if self.scenario.act == "cancel" and not self._acted and self._works():
            self._acted = True
            self._deployment.graphql(_TERMINATE, {"runId": self._root})
        if time.monotonic() - self._began > self.scenario.seconds:
            return True
        if not all(run.is_finished for run in runs) or self._will_retry(runs):
            self._ended = None
            return False
        self._ended = self._ended or time.monotonic()
        since = time.monotonic() - self._ended
        return since > SETTLED_SECONDS and (not self._left() or since > CLEAN_SECONDS)

    def outcome(self) -> Outcome:
        """Judge it."""
        runs, records, scenario = self._runs(), self._records(), self.scenario
        entries = [entry for run in runs for entry in self._deployment.instance.all_logs(run.run_id)]
        seen = Outcome(
            scenario, state=str(runs[-1].status.value), seconds=(self._ended or time.monotonic()) - self._began
        )
        if not all(run.is_finished for run in runs):
            seen.wrong.append(f"still {', '.join(run.status.value for run in runs)} after {scenario.seconds:.0f} s")
        if seen.state != scenario.ends:
            seen.wrong.append(f"ended {seen.state} instead of {scenario.ends}")
        if len(runs) != scenario.runs:
            seen.wrong.append(f"{len(runs)} runs instead of {scenario.runs}")
        firsts = [record for record in records if record.op == "first"]
        if len(firsts) != scenario.attempts:
            seen.wrong.append(f"{len(firsts)} pods of the first asset instead of {scenario.attempts}")
        seen.wrong += self._judge_materialisations(entries)
        seen.wrong += [f"left behind: {thing}" for thing in self._left()]
        hung = [record for record in records if record.op and record.seconds > scenario.deadline + SLACK_SECONDS]
        seen.wrong += [f"{record.pod} ran {record.seconds:.0f} s, beyond its deadline" for record in hung]
        told = "\n".join(_told(entry) for entry in entries)
        if scenario.cause and not re.search(scenario.cause, told):
            seen.wrong.append(f"the event log does not say {scenario.cause!r}")
        seen.happened = _story(runs, records, entries)
        return seen

    def log(self) -> str:
        """The group's event log, for people."""
        entries = [entry for run in self._runs() for entry in self._deployment.instance.all_logs(run.run_id)]
        return "\n".join(f"{entry.timestamp:.1f} {entry.run_id[:8]} {_told(entry)}" for entry in entries)

    def _launch(self) -> str:
        scenario = self.scenario
        tags: dict[str, Any] = {HOLD_TAG: str(scenario.hold)}
        if scenario.own_node == "run":
            tags["dagster-k8s/config"] = json.dumps({"pod_spec_config": on_own_node(scenario)})
        step: dict[str, Any] = {"job_spec_config": {"active_deadline_seconds": scenario.deadline}}
        if scenario.own_node == "step":
            step["pod_spec_config"] = on_own_node(scenario)
        config = {"execution": {"config": {"steps": {"first": {"k8s": step}}}}}
        selector = {
            "repositoryLocationName": LOCATION,
            "repositoryName": "__repository__",
            "pipelineName": scenario.name,
        }
        parameters = {
            "selector": selector,
            "runConfigData": config,
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
        }
        answer = self._deployment.graphql(_LAUNCH, {"executionParams": parameters})["launchPipelineExecution"]
        if answer["__typename"] != "LaunchRunSuccess":
            raise RuntimeError(f"{scenario.name} was not launched: {answer}")
        return str(answer["run"]["runId"])

    def _runs(self) -> list[DagsterRun]:
        """The run and its retries, in order."""
        instance = self._deployment.instance
        root = instance.get_run_by_id(self._root)
        retries = instance.get_runs(RunsFilter(tags={ROOT_RUN_ID_TAG: self._root}))
        return [*([root] if root else []), *reversed(retries)]

    def _will_retry(self, runs: Sequence[DagsterRun]) -> bool:
        """Whether a failed run is yet to be taken up by run_retries."""
        return len([run for run in runs if run.tags.get(WILL_RETRY_TAG) == "true"]) >= len(runs)

    def _works(self) -> bool:
        logs = [self._deployment.cluster.logs(record.pod) for record in self._records() if record.op == "first"]
        return any(WORKING in log for log in logs)

    def _records(self) -> list[PodRecord]:
        return [record for record in self._deployment.cluster.records() if record.dagster_job == self.scenario.name]

    def _left(self) -> list[str]:
        """Jobs that are not finished and pods that have not ended, of the scenario's runs."""
        labels = {"dagster/job": self.scenario.name}
        cluster = self._deployment.cluster
        jobs = [job["metadata"]["name"] for job in cluster.objects("Job", **labels) if not finished(job)]
        alive = cluster.processes()
        return [*(f"Job {name}" for name in jobs), *(f"process of {r.pod}" for r in self._records() if r.pod in alive)]

    def _judge_materialisations(self, entries: Sequence[EventLogEntry]) -> list[str]:
        counted: Counter[str] = Counter()
        for entry in entries:
            event = entry.dagster_event
            if event and event.event_type == DagsterEventType.ASSET_MATERIALIZATION and event.asset_key:
                counted[event.asset_key.to_user_string()] += 1
        wanted = self.scenario.materialised
        wrong = [
            f"{key} materialised {counted[key]} times instead of {count}"
            for key, count in wanted.items()
            if counted[key] != count
        ]
        for key, count in wanted.items():
            latest = self._deployment.instance.get_latest_materialization_event(AssetKey(key))
            if count and latest is None:
                wrong.append(f"{key} has no materialisation")
        return wrong


def _told(entry: EventLogEntry) -> str:
    event = entry.dagster_event
    if event is None:
        return entry.user_message
    data = event.event_specific_data
    error = getattr(data, "error", None)
    words = [event.event_type_value, event.step_key or "", event.message or entry.user_message or ""]
    return " ".join([*words, error.to_string() if error else ""])


def _story(runs: Sequence[DagsterRun], records: Sequence[PodRecord], entries: Sequence[EventLogEntry]) -> list[str]:
    """What happened, in a few words each."""
    told = []
    for record in records:
        if record.reason or record.notes:
            which = f"{record.op} attempt {record.attempt}" if record.op else f"run pod {record.attempt}"
            told.append(f"{which}: {record.reason or record.phase}")
    kinds = Counter(entry.dagster_event.event_type_value for entry in entries if entry.dagster_event)
    if kinds["STEP_UP_FOR_RETRY"]:
        told.append(f"step retried {kinds['STEP_UP_FOR_RETRY']} times")
    if len(runs) > 1:
        told.append(f"run {runs[0].status.value.lower()}, retried as a new run")
    resumed = [entry for entry in entries if "Resuming run" in (entry.user_message or "")]
    return told + ([f"run resumed {len(resumed)} times"] if resumed else [])
