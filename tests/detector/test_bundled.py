import json
from pathlib import Path

import pytest
from tiny_detector import Trained

from mlops_assets.detector import bundled
from mlops_assets.detector.bundled import BundledWeights, BundledWeightsError, bundled_weights
from mlops_assets.detector.weights import checkpoint_architecture, load_model, starting_point


@pytest.mark.parametrize("record", sorted(bundled.FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_what_is_bundled_is_what_its_record_says(record: Path) -> None:
    facts = json.loads(record.read_text())
    weights = bundled_weights(record.stem)
    assert weights is not None
    assert (weights.sha256, weights.path.stat().st_size) == (facts["sha256"], facts["bytes"])
    assert checkpoint_architecture(weights.path) == record.stem == facts["architecture"]
    assert len(load_model(weights.path).names) == facts["recipe"]["scenes"]["classes"] >= 100
    assert facts["recipe"]["scenes"]["train"] >= 1000


def test_an_architecture_without_bundled_weights_has_none() -> None:
    assert bundled_weights("yolo26m") is None


@pytest.mark.parametrize("content", [b"other", None])
def test_a_file_that_is_not_the_recorded_one_is_refused(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "yolo11n.json").write_text(json.dumps({"sha256": "0" * 64}))
    if content:
        (tmp_path / "yolo11n.pt").write_bytes(content)
    monkeypatch.setattr(bundled, "FOLDER", tmp_path)
    with pytest.raises(BundledWeightsError, match=r"yolo11n\.pt should have SHA-256 0000"):
        bundled_weights("yolo11n")


def test_bundled_weights_come_after_the_champion_and_the_users(trained: Trained, tmp_path: Path) -> None:
    ours = BundledWeights(tmp_path / "yolo11n.pt", "ab" * 32)
    weights = trained.result.weights
    assert starting_point(None, weights, "yolo11n", ours).kind == "champion"
    assert starting_point(weights, None, "yolo11n", ours).kind == "user"
    first = starting_point(None, None, "yolo11n", ours)
    assert (first.kind, first.path) == ("bundled", ours.path)
    assert "abababababab" in first.reason
    assert starting_point(None, weights, "yolo26n", ours).kind == "bundled"
