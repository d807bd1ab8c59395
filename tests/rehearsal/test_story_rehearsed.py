"""The rehearsal as a reader would run it, with few enclosures; the whole one is `make production-rehearsal`."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from resources.settings import PROJECT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(5400),
    pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed"),
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed"),
]

ENCLOSURES = 24


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rehearsal")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLOPS_", "DAGSTER_", "MAKE"))}
    done = subprocess.run(
        ["make", "production-rehearsal", f"REHEARSAL=--enclosures {ENCLOSURES} --out {folder}"],
        cwd=PROJECT,
        env={**kept, "MLOPS_HOME": str(folder / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return folder


def test_the_story_is_told_to_its_end(out: Path) -> None:
    summary = json.loads((out / "summary.json").read_text())
    photos = summary["photos"]
    assert photos["landed"] == photos["accepted"] + photos["duplicate"] + photos["quarantined"] > 0
    assert summary["retrain"]["triggered_by"] == "new_equipment_classes"
    assert summary["catalogue"]["rows"] > 0
    assert summary["catalogue"]["f1"] > 0.8


def test_gpus_are_asked_for_by_training_alone(out: Path) -> None:
    steps = json.loads((out / "step-pods.json").read_text())
    assert {step["step"] for step in steps if step["gpus"]} == {"detector_weights"}
    assert {step["step"] for step in steps if "enclosure-catalog-gpu" in step["image"]} == {"detector_weights"}
    assert {"raw_photos", "detections", "catalog_pages"} <= {step["step"] for step in steps}
    assert all(step["outcome"] == "Succeeded" for step in steps)
    assert all(step["seconds_to_work"] is not None for step in steps)
    assert all("none" not in (step["cpu_limit"], step["memory_limit"]) for step in steps)


def test_nothing_is_left_running(out: Path) -> None:
    assert list((out / "services").glob("*.pid")) == []
