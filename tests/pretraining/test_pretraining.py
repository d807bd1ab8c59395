import json
import subprocess
import sys
from pathlib import Path

import pytest

from mlops_assets.detector.training import build_trainer
from mlops_assets.detector.weights import StartingPoint, checkpoint_architecture, load_model
from mlops_assets.use_case import TrainingRules

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few seconds of the real recipe, by its command."""
    folder = tmp_path_factory.mktemp("pretraining")
    command = [sys.executable, "-m", "pretraining", "--out", str(folder / "out"), "--target", str(folder / "base.pt")]
    command += ["--scenes", "32", "--val-scenes", "4", "--classes", "100", "--minutes", "0.05", "--threads", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "mAP50 on unseen scenes" in done.stdout
    return folder


def test_the_record_says_what_the_weights_are_made_of(made: Path) -> None:
    record = json.loads((made / "base.json").read_text())
    assert record["recipe"]["scenes"] == {"seed": 2026, "classes": 100, "train": 32, "val": 4}
    assert record["bytes"] == (made / "base.pt").stat().st_size
    assert record["bytes"] < 6_000_000
    assert record["recipe"]["epochs"] >= 1


def test_the_checkpoint_names_no_place_of_the_machine_that_made_it(made: Path) -> None:
    assert checkpoint_architecture(made / "base.pt") == "yolo11n"
    content = (made / "base.pt").read_bytes()
    assert str(made).encode() not in content
    assert str(ROOT).encode() not in content


def test_all_but_the_last_layer_of_each_class_branch_passes_on_to_a_use_case_of_ten_classes(
    made: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data.yaml"
    (tmp_path / "images").mkdir()
    data.write_text(
        json.dumps({"path": str(tmp_path), "train": "images", "val": "images", "names": list("abcdefghij")})
    )
    start = StartingPoint("bundled", made / "base.pt", "test")
    trainer = build_trainer(data, tmp_path / "run", start, TrainingRules(), device="cpu", threads=1)
    trainer.setup_model()
    ours, theirs = trainer.model.state_dict(), load_model(made / "base.pt").state_dict()
    differing = {name for name, tensor in ours.items() if not tensor.equal(theirs[name].to(tensor.dtype))}
    assert differing == {f"model.23.cv3.{level}.2.{kind}" for level in range(3) for kind in ("weight", "bias")}
