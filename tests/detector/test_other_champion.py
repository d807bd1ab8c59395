"""A first training from another use case's champion: what is taken over, and that no class of it is."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from tiny_detector import RULES, Trained, save_checkpoint, write_dataset

from mlops_assets.detector.other_champion import OtherChampion, other_champion
from mlops_assets.detector.training import build_trainer
from mlops_assets.detector.weights import StartingPoint, starting_point, with_fresh_classes

BRANCHES = {"yolo11n": ["cv3"], "yolo26n": ["cv3", "one2one_cv3"]}


@dataclass
class Registry:
    """One registered model whose champion is a local file."""

    weights: Path | None
    model_name: str = "enclosures-detector"

    @dataclass
    class Version:
        version: str

    def champion(self) -> "Registry.Version | None":
        return self.Version("3") if self.weights else None

    def download(self, version: str, name: str, folder: Path) -> Path:
        assert (version, name) == ("3", "weights/best.pt")
        assert self.weights is not None
        return self.weights


@pytest.fixture
def other(trained: Trained, tmp_path: Path) -> OtherChampion:
    weights = tmp_path / "best.pt"
    weights.write_bytes(trained.result.weights.read_bytes())
    return other_champion(Registry(weights), tmp_path)


def test_it_comes_after_the_own_champion_and_before_all_else(trained: Trained, other: OtherChampion) -> None:
    own = trained.result.weights
    assert starting_point(own, own, "yolo11n", other=other).kind == "champion"
    start = starting_point(own, None, "yolo11n", other=other)
    assert start.kind == "other_champion"
    assert start.sha256 is not None
    assert f"enclosures-detector version 3 (SHA-256 {start.sha256[:12]}) without its classes" in start.reason


def test_without_a_champion_there_the_usual_order_counts_and_says_so(trained: Trained, tmp_path: Path) -> None:
    none = other_champion(Registry(None), tmp_path)
    start = starting_point(trained.result.weights, None, "yolo11n", other=none)
    assert start.kind == "user"
    assert "none of enclosures-detector to start from" in start.reason
    assert starting_point(None, None, "yolo11n", other=none).kind == "scratch"


def test_a_champion_of_another_architecture_is_passed_over(other: OtherChampion) -> None:
    start = starting_point(None, None, "yolo26n", other=other)
    assert start.kind == "scratch"
    assert "enclosures-detector version 3 is yolo11n, yolo26n is asked for" in start.reason


@pytest.mark.parametrize("classes", [3, 4])
@pytest.mark.parametrize("architecture", sorted(BRANCHES))
def test_classes_of_the_same_name_are_other_classes(architecture: str, classes: int, tmp_path: Path) -> None:
    """Two use cases give c0000 … to different things; the rows must not pass on, whether there are as many or not."""
    source = _drawn(architecture, ["c0000", "c0001", "c0002"])
    path = save_checkpoint(source, tmp_path / "best.pt")
    names = [f"c{number:04d}" for number in range(classes)]
    data = write_dataset(tmp_path / "data", names, {"train": 4, "val": 2})

    control = _set_up(StartingPoint("champion", path, "as if they were the same classes"), architecture, data)
    fresh = with_fresh_classes(path, tmp_path / "fresh.pt")
    target = _set_up(StartingPoint("other_champion", fresh, "test"), architecture, data)

    rows = {f"model.{len(source.model) - 1}.{branch}." for branch in BRANCHES[architecture]}
    last = max(int(name.split(".")[4]) for name in source.state_dict() if name.startswith(tuple(rows)))
    is_row = {n for n in source.state_dict() if n.startswith(tuple(rows)) and int(n.split(".")[4]) == last}
    assert len(is_row) == 6 * len(rows)  # weight and bias at three scales
    learnt, taken, wrong = source.state_dict(), target.state_dict(), control.state_dict()
    for name in is_row:
        known = min(3, classes)
        assert torch.equal(wrong[name][:known], learnt[name][:known]), "else this test proves nothing"
        assert all(not torch.equal(row, other) for row in taken[name] for other in learnt[name])
    assert all((taken[name] < -5).all() for name in is_row if name.endswith("bias")), "every class begins as rare"
    assert all(torch.equal(taken[name], learnt[name]) for name in learnt.keys() - is_row), "all else passes on"


def test_it_trains_as_long_as_any_first_training(trained: Trained, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", ["c0000", "c0001"], {"train": 4, "val": 2})
    start = StartingPoint("other_champion", trained.result.weights, "test")
    trainer = build_trainer(data, tmp_path / "run", start, RULES, device="cpu", threads=2, plots=False)
    assert (trainer.args.epochs, trainer.args.lr0) == (RULES.epochs, RULES.learning_rate)


def _drawn(architecture: str, names: list[str]) -> torch.nn.Module:
    from ultralytics.nn.tasks import DetectionModel

    model = DetectionModel(f"{architecture}.yaml", nc=len(names), verbose=False)
    model.names = dict(enumerate(names))
    torch.manual_seed(1)
    for parameter in model.parameters():
        parameter.data.uniform_(-1, 1)
    return model


def _set_up(start: StartingPoint, architecture: str, data: Path) -> torch.nn.Module:
    rules = RULES.model_copy(update={"architecture": architecture})
    trainer = build_trainer(data, data.parent / start.kind, start, rules, device="cpu", threads=2, plots=False)
    trainer.setup_model()
    return trainer.model
