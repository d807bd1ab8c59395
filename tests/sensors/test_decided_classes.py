"""What people decide about classes asks for an import, once, also when it comes from the use case file."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from test_sensors import CASE, Ticks, drop_label, end

from definitions import build_defs
from mlops_assets.jobs import IMPORT_LABELS
from mlops_assets.labels.class_decisions import declared_decision
from mlops_assets.use_case import UseCase
from resources.class_decisions import ClassDecisionRecords
from resources.settings import Settings

ENTRY = {"decision": "deprecate", "of": "fan", "by": "anna", "at": "2026-10-06", "why": "not ours"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, sensor_interval=1)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


def asked(ticks: Ticks) -> int:
    """Imports asked for until nothing more is, each of which succeeds."""
    count = 0
    for _ in range(2):  # one sees the change, one that it stands still
        for run in ticks.tick():
            assert run.job_name == IMPORT_LABELS
            end(ticks.instance, run, "succeeded")
            count += 1
    return count


def test_a_decision_asks_for_one_import(instance: dg.DagsterInstance, settings: Settings) -> None:
    ticks = Ticks(instance, settings, "new_labels")
    records = ClassDecisionRecords(root=settings.places("case").store)
    records.add("20261005T000000000000Z-0", {"any": "thing"})
    drop_label(settings, "a.json")
    assert asked(ticks) == 1
    records.add("20261006T000000000000Z-1", {"any": "thing"})
    assert asked(ticks) == 1
    decided = UseCase.model_validate({**CASE.model_dump(), "class_decisions": [ENTRY]})
    ticks.case, ticks.definitions = decided, build_defs(settings, decided)
    assert asked(ticks) == 1
    records.add(declared_decision(decided.class_decisions[0]).decision_id, {"any": "thing"})
    assert asked(ticks) == 0  # the import recorded it, which is nothing new
