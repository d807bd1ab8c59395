import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_detector import Trained

from mlops_assets.detector.weights import WeightsError, checkpoint_architecture, fetch_weights, starting_point


def run_afresh(script: str) -> str:
    """Run in a new process that knows nothing of this one's Ultralytics settings, and return what it printed."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("YOLO_", "ULTRALYTICS_"))}
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_first_training_without_weights_starts_from_scratch() -> None:
    start = starting_point(None, None, "yolo11n")
    assert (start.kind, start.path) == ("scratch", None)


def test_the_users_weights_serve_the_first_training_only(trained: Trained, tmp_path: Path) -> None:
    user = tmp_path / "user.pt"
    user.write_bytes(trained.result.weights.read_bytes())
    assert starting_point(user, None, "yolo11n").path == user
    assert starting_point(user, trained.result.weights, "yolo11n").kind == "champion"


def test_the_architecture_is_read_from_the_checkpoint(trained: Trained) -> None:
    assert checkpoint_architecture(trained.result.weights) == "yolo11n"


def test_choosing_the_start_is_the_first_thing_a_process_may_do(trained: Trained) -> None:
    script = (
        "from pathlib import Path\n"
        "from mlops_assets.detector.ultralytics_setup import prepare_ultralytics\n"
        "from mlops_assets.detector.weights import starting_point\n"
        f"assert starting_point(None, Path({str(trained.result.weights)!r}), 'yolo11n').kind == 'champion'\n"
        "prepare_ultralytics(1)\n"
        "from ultralytics import utils\n"
        "assert not utils.ONLINE"
    )
    run_afresh(script)


def test_ultralytics_imported_before_it_was_told_to_stay_offline_is_an_error() -> None:
    script = (
        "import ultralytics\n"
        "from mlops_assets.detector.ultralytics_setup import UltralyticsSetupError, prepare_ultralytics\n"
        "try:\n    prepare_ultralytics(1)\nexcept UltralyticsSetupError as error:\n    print(error)"
    )
    assert "was imported before" in run_afresh(script)


def test_a_champion_of_another_architecture_is_not_gone_on_with(trained: Trained) -> None:
    start = starting_point(None, trained.result.weights, "yolo26n")
    assert start.kind == "scratch"
    assert "yolo11n" in start.reason


def test_user_weights_of_another_architecture_are_refused(trained: Trained) -> None:
    with pytest.raises(WeightsError, match=r"training\.architecture to yolo11n"):
        starting_point(trained.result.weights, None, "yolo26n")


@pytest.mark.parametrize("name", ["yolo11n.pt", "weights.onnx"])
def test_weights_that_are_not_there_or_no_checkpoint_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=name):
        starting_point(tmp_path / name, None, "yolo11n")


def test_a_broken_checkpoint_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"no checkpoint")
    with pytest.raises(WeightsError, match=r"broken\.pt"):
        starting_point(broken, None, "yolo11n")


def test_fetched_weights_are_those_of_the_hash(tmp_path: Path) -> None:
    source, target = tmp_path / "source.pt", tmp_path / "sub" / "target.pt"
    source.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    assert fetch_weights(source.as_uri(), digest, target).read_bytes() == b"weights"
    source.unlink()
    assert fetch_weights(source.as_uri(), digest, target) == target, "what is there already is not fetched again"


def test_fetched_weights_of_another_hash_leave_nothing_behind(tmp_path: Path) -> None:
    source, target = tmp_path / "source.pt", tmp_path / "sub" / "target.pt"
    source.write_bytes(b"other")
    with pytest.raises(WeightsError, match="expected 00"):
        fetch_weights(source.as_uri(), "0" * 64, target)
    assert list(target.parent.iterdir()) == []
