"""The one MLflow run of a Dagster run and its retries, whoever of its steps comes first.

MLflow cannot start a run under a name of our choice, so steps that start at the same time may each start one. They
agree afterwards on which counts, by what each of them saw; see `join_run`.
"""

import random
import time
from collections.abc import Sequence
from typing import Any

from resources.mlflow_client import each
from resources.mlflow_status import DAGSTER_RUN_TAG, DAGSTER_STATUS_TAG, FIRST_RUN_TAG, UNSETTLED

_SEEN_TAG = "dagster_runs_seen"
"""On a run just started: how many runs of the same Dagster run its starter saw, and the first of them by id."""

_SILENCE_S = 60.0
"""A starter that has not told what it saw for so long was killed between two requests."""


def join_run(client: Any, experiment_id: str, attempts: Sequence[str], name: str, silence_s: float = _SILENCE_S) -> str:
    """The id of the MLflow run that a Dagster run logs to; started if there is none, reopened for a new attempt.

    Whoever finds none starts one, and then looks again and tells how many it saw. Of two starters the later one sees
    the earlier one's run, as it looks after it has started its own. So what they saw is nested, and the first run of
    whoever saw the fewest is the same for everybody; the others delete theirs. Whoever looks waits for starters that
    have not told yet, but not for those that are silent for `silence_s`.

    Args:
        client: What `open_client` gave.
        experiment_id: Where to look and to start.
        attempts: Ids of the Dagster run and of those that it goes on from, the newest first.
        name: Of a new run.
        silence_s: Seconds after which a silent starter is taken for killed.

    Raises:
        RuntimeError: Somebody deleted the run in MLflow.
    """
    found = _started(client, experiment_id, attempts[-1])
    own = None
    if not found:
        own = str(_start(client, experiment_id, attempts, name).info.run_id)
        found = _started(client, experiment_id, attempts[-1])
        client.set_tag(own, _SEEN_TAG, f"{len(found)} {min(run.info.run_id for run in found)}")
    chosen = _chosen(client, [run.info.run_id for run in found], silence_s)
    if own not in (None, chosen.info.run_id):
        client.delete_run(own)
    if chosen.info.lifecycle_stage != "active":
        raise RuntimeError(
            f"MLflow run {chosen.info.run_id} of this Dagster run was deleted; restore it "
            f"(`mlflow runs restore --run-id {chosen.info.run_id}`), or re-execute all steps to start another"
        )
    _take_over(client, chosen, attempts[0])
    return str(chosen.info.run_id)


def _started(client: Any, experiment_id: str, first: str) -> list[Any]:
    """Runs of a Dagster run, deleted ones among them: what starters saw must not depend on what was deleted since."""
    from mlflow.entities import ViewType

    condition = f"tags.{FIRST_RUN_TAG} = '{first}'"
    return list(each(lambda token: client.search_runs([experiment_id], condition, ViewType.ALL, page_token=token)))


def _start(client: Any, experiment_id: str, attempts: Sequence[str], name: str) -> Any:
    tags = {
        FIRST_RUN_TAG: attempts[-1],
        DAGSTER_RUN_TAG: attempts[0],
        DAGSTER_STATUS_TAG: UNSETTLED,
        "mlflow.source.name": name,
        "mlflow.source.type": "JOB",
    }
    # With its tags at once: dagster-mlflow tags later, and a kill in between would orphan the run.
    return client.create_run(experiment_id, run_name=name, tags=tags)


def _chosen(client: Any, run_ids: Sequence[str], silence_s: float) -> Any:
    runs = {run_id: client.get_run(run_id) for run_id in run_ids}
    deadline = time.monotonic() + silence_s
    while time.monotonic() < deadline:
        silent = [i for i, run in runs.items() if _SEEN_TAG not in run.data.tags and _is_active(run)]
        if not silent:
            break
        time.sleep(random.uniform(0.1, 0.3))  # noqa: S311 - spreads requests
        runs |= {run_id: client.get_run(run_id) for run_id in silent}
    told = [run.data.tags[_SEEN_TAG].split() for run in runs.values() if _SEEN_TAG in run.data.tags]
    if told:
        _, first = min((int(count), first) for count, first in told)
        return runs.get(first) or client.get_run(first)
    # Its starter was killed before it could tell, so whoever comes next tells for it.
    first = min((run_id for run_id, run in runs.items() if _is_active(run)), default=min(runs))
    client.set_tag(first, _SEEN_TAG, f"1 {first}")
    return runs[first]


def _is_active(run: Any) -> bool:
    return bool(run.info.lifecycle_stage == "active")


def _take_over(client: Any, run: Any, attempt: str) -> None:
    """Let a new attempt's end decide how the run ends; dagster-mlflow sets it to RUNNING again."""
    if run.data.tags.get(DAGSTER_RUN_TAG) == attempt:
        return
    client.set_tag(run.info.run_id, DAGSTER_RUN_TAG, attempt)  # first, or the last attempt's sensor could settle it
    client.set_tag(run.info.run_id, DAGSTER_STATUS_TAG, UNSETTLED)
