"""The shipped example: what workspace.yaml says as a comment loads, and a careless copy of a use case does not."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from mlops_assets.use_case import UseCase, UseCaseError, load_use_case
from resources.settings import PROJECT

WORKSPACE = PROJECT / "workspace.yaml"


def with_the_example() -> str:
    """The workspace with its commented entry put into force."""
    return re.sub(r"^  # (- python_module:|    \w)", r"  \1", WORKSPACE.read_text(), flags=re.MULTILINE)


def test_a_fresh_user_sees_one_code_location() -> None:
    (entry,) = yaml.safe_load(WORKSPACE.read_text())["load_from"]
    assert entry["python_module"]["location_name"] == "enclosures"


def test_the_example_loads_beside_the_first(tmp_path: Path) -> None:
    entries = yaml.safe_load(with_the_example())["load_from"]
    named = {e["python_module"]["location_name"]: e["python_module"]["attribute"] for e in entries}
    assert named == {"enclosures": "defs", "blood_cells": "blood_cells"}
    workspace = tmp_path / "workspace.yaml"
    workspace.write_text(with_the_example().replace("working_directory: .", f"working_directory: {PROJECT}"))
    env = {**os.environ, "MLOPS_HOME": str(tmp_path), "DAGSTER_HOME": str(tmp_path)}
    done = subprocess.run(
        [PROJECT / ".venv" / "bin" / "dagster", "definitions", "validate", "-w", workspace],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-2000:]
    for location in named:
        assert f"Validation successful for code location {location}" in said


def test_the_page_shows_the_example_as_it_is() -> None:
    (block,) = re.findall(r"^```yaml\n(.*?)^```", (PROJECT / "docs" / "reuse.md").read_text(), re.MULTILINE | re.DOTALL)
    shown = yaml.safe_load(block)
    shipped = yaml.safe_load((PROJECT / "use_cases" / "blood_cells.yaml").read_text())
    assert {**shipped, **shown, "training": {**shipped["training"], **shown["training"]}} == shipped


def test_a_copy_that_kept_the_name_is_refused(tmp_path: Path) -> None:
    copy = tmp_path / "street_lamps.yaml"
    copy.write_text((PROJECT / "use_cases" / "enclosures.yaml").read_text())
    with pytest.raises(UseCaseError, match=r"street_lamps\.yaml has the name 'enclosures': write name: street_lamps"):
        load_use_case(copy)


def test_a_use_case_cannot_start_from_itself() -> None:
    case = {"name": "cells", "title": "Cells", "start": "2026-10-01", "training": {"start_from": "cells"}}
    with pytest.raises(ValueError, match="names another use case"):
        UseCase.model_validate(case)
