"""The commands that the operations' chapter on classes gives, on a store that the real import job wrote."""

import datetime as dt
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
import yaml

from definitions import build_defs
from mlops_assets.jobs import IMPORT_LABELS, STEPS
from mlops_assets.labels.__main__ import main
from mlops_assets.labels.schema import CLASS_DECISIONS, EQUIPMENT_CLASSES
from mlops_assets.photos.schema import RAW_PHOTOS
from mlops_assets.use_case import UseCase, load_use_case
from resources.settings import PROJECT, Settings
from resources.tables import Tables

CHAPTER = re.search(r"\n## Classes\n(.*?)\n## ", (PROJECT / "docs" / "operations.md").read_text(), re.DOTALL)[1]
COMMANDS = re.findall(r"^python -m mlops_assets\.labels (.*)$", CHAPTER, re.MULTILINE)
LABELLED = ["power_supply"] * 6 + ["psu", "fan", "fan", "power_suply", "rooter", "router", "router", "modem"]
ASSETS = frozenset(dg.AssetKey(["case", name]) for name in STEPS[IMPORT_LABELS])


class Deployment:
    def __init__(self, home: Path, instance: dg.DagsterInstance) -> None:
        self.home, self.instance = home, instance
        self.settings = Settings(home=home, use_case="case", use_case_folder=home / "use_cases")
        self.places = self.settings.places("case")
        self.tables = Tables(root=self.places.store)

    def configure(self, **more: object) -> UseCase:
        path = self.home / "use_cases" / "case.yaml"
        path.parent.mkdir(exist_ok=True)
        case = {"name": "case", "title": "Case", "start": dt.date(2026, 10, 1)}
        path.write_text(yaml.safe_dump({**case, "new_class": {"min_boxes": 2, "min_enclosures": 1}, **more}))
        return load_use_case(path)

    def land(self) -> None:
        rows = [
            {
                "photo_id": f"{n:064x}",
                "enclosure_id": "E1",
                "landing_uri": f"landing/2026-10-05/E1/IMG_{n}.jpg",
                "status": "accepted",
                "width": 1280,
                "height": 960,
            }
            for n in range(len(LABELLED))
        ]
        self.tables.write("raw_photos", pl.DataFrame(rows, schema=RAW_PHOTOS), RAW_PHOTOS, "2026-10-05")
        for n, name in enumerate(LABELLED):
            folder = Path(self.places.labels) / f"{n:02d}"
            folder.mkdir(parents=True)
            (folder / "classes.txt").write_text(name)
            (folder / f"IMG_{n}.txt").write_text("0 0.5 0.5 0.2 0.2\n")

    def import_labels(self) -> dict[str, object]:
        """Run the job; metadata of equipment_classes."""
        job = build_defs(self.settings, self.configure_as_is()).resolve_job_def(IMPORT_LABELS)
        # Without the checks, whose library takes seconds to import.
        steps = job.get_subset(asset_selection=ASSETS, asset_check_selection=frozenset())
        result = steps.execute_in_process(instance=self.instance)
        assert result.success
        (made,) = result.asset_materializations_for_node("equipment_classes")
        return {name: value.value for name, value in made.metadata.items()}

    def configure_as_is(self) -> UseCase:
        return load_use_case(self.home / "use_cases" / "case.yaml")

    def classes(self) -> dict[str, tuple[str, int]]:
        table = self.tables.read("equipment_classes", EQUIPMENT_CLASSES)
        return {name: (status, boxes) for name, status, boxes in table["class_name", "status", "boxes"].iter_rows()}


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path))
    monkeypatch.setenv("MLOPS_USE_CASE", "case")
    monkeypatch.setenv("MLOPS_USE_CASE_FOLDER", str(tmp_path / "use_cases"))
    with dg.DagsterInstance.ephemeral() as instance:
        made = Deployment(tmp_path, instance)
        made.configure()
        made.land()
        yield made


def test_the_chapter_s_commands_do_what_it_says(deployment: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    metadata = deployment.import_labels()
    close = "has 1 of 2 boxes, 1 of 1 enclosures; its name is close to"
    assert f"- rooter {close} router" in str(metadata["waiting"])
    before = deployment.classes()
    assert before["psu"] == ("proposed", 1)
    assert len(COMMANDS) == 9
    for command in COMMANDS:
        last = deployment_ids(deployment)[-1:] or [""]
        assert main(shlex.split(command.replace("<id>", last[0]))) == 0, capsys.readouterr().err
        assert capsys.readouterr().out.strip()
    assert main(["classes", "list"]) == 0
    assert capsys.readouterr().out.count("waits for the next import: ") == 7
    deployment.import_labels()
    assert deployment.classes() == {
        "power_supply": ("active", 8),
        "psu": ("merged", 0),
        "ventilator": ("active", 2),
        "power_suply": ("merged", 0),
        "rooter": ("proposed", 1),
        "router": ("active", 2),
        "modem": ("proposed", 1),
    }
    kept = deployment.tables.read("class_decisions", CLASS_DECISIONS)
    assert kept.height == 7
    assert set(kept["by"]) == {"A. Kovacs"}
    assert kept.filter(~pl.col("in_force"))["decision"].to_list() == ["deprecate"]


def deployment_ids(deployment: Deployment) -> list[str]:
    return sorted(path.stem for path in (Path(deployment.places.store) / "class_decisions").glob("*.json"))


def test_the_chapter_s_yaml_says_the_same(deployment: Deployment) -> None:
    block = re.search(r"```yaml\n(class_decisions:.*?)```", CHAPTER, re.DOTALL)
    deployment.import_labels()
    deployment.configure(**yaml.safe_load(block[1]))
    deployment.import_labels()
    classes = deployment.classes()
    assert classes["ventilator"] == ("active", 2)
    assert (classes["power_supply"], classes["psu"]) == (("active", 7), ("merged", 0))
    assert len(deployment_ids(deployment)) == 2


def test_what_is_refused_says_why_and_ends_with_1(deployment: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    deployment.import_labels()
    who = ["--by", "anna", "--why", "so"]
    assert main(["classes", "rename", "psu", "fan", *who]) == 1
    assert "is the class c0002 of its own" in capsys.readouterr().err
    assert main(["classes", "history"]) == 0
    assert capsys.readouterr().out == "nothing was decided yet\n"
    assert main(["classes", "--use-case", "none", "list"]) == 1
    assert "No use case file" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["classes", "deprecate", "fan"])
    assert "--by, --why" in capsys.readouterr().err
