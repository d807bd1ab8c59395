import os
from pathlib import Path

import polars as pl
import pytest
import torch
from tiny_detector import IMAGE_SIZE, NAMES, RULES, Trained, save_checkpoint, write_dataset

from mlops_assets.detector.training import train
from mlops_assets.detector.training_errors import HopelessTrainingError
from mlops_assets.detector.ultralytics_setup import prepare_ultralytics
from mlops_assets.detector.weights import StartingPoint, WeightsError, load_model, starting_point

SCRATCH = StartingPoint("scratch", None, "test")


def ignore(_progress: object) -> None:
    return None


def test_a_training_leaves_weights_curves_pictures_and_metrics(trained: Trained) -> None:
    result = trained.result
    assert load_model(result.weights).names == dict(enumerate(NAMES))
    assert pl.read_csv(result.curves).height == result.epochs == 2
    assert set(result.metrics) == {"map50", "map50_95", "precision", "recall"}
    assert all(0 <= value <= 1 for value in result.metrics.values())
    assert "results.png" in {picture.name for picture in result.pictures}


def test_each_epoch_is_reported_once_and_the_final_validation_is_no_epoch(trained: Trained) -> None:
    assert [p.epoch for p in trained.progress] == [1, 2]
    assert all(p.epochs == 2 and p.losses["train/box_loss"] > 0 for p in trained.progress)
    assert trained.progress[0].sentence().startswith("Epoch 1 of 2: box_loss")
    last = trained.progress[-1].sentence()
    assert all(part in last for part in ("mAP50 on val", "mAP50-95", "learning rate", "about 0 s left")), last


def test_ultralytics_stays_offline_with_the_threads_asked_for(trained: Trained) -> None:
    from ultralytics import settings, utils
    from ultralytics.utils.torch_utils import select_device

    assert not utils.ONLINE
    assert not utils.AUTOINSTALL
    assert not any(settings[name] for name in ("sync", "mlflow", "clearml", "comet", "dvc", "raytune"))
    cores = os.cpu_count() or 1
    prepare_ultralytics(cores + 2)
    select_device("cpu")
    assert torch.get_num_threads() == cores + 2
    prepare_ultralytics(2)
    assert torch.get_num_threads() == 2


def test_training_goes_on_from_a_champion_with_one_more_class(trained: Trained, tmp_path: Path) -> None:
    names = [*NAMES, "c0009"]
    data = write_dataset(tmp_path / "data", names, {"train": 4, "val": 2})
    start = starting_point(None, trained.result.weights, "yolo11n")
    result = train(data, tmp_path / "run", start, RULES, names, device="cpu", threads=2, on_epoch=ignore, plots=False)
    assert start.kind == "champion"
    assert result.epochs == RULES.retrain_epochs
    assert list(load_model(result.weights).names.values()) == names


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_empty_split_is_refused(split: str, tmp_path: Path) -> None:
    data = write_dataset(tmp_path, NAMES, {"train": 2, "val": 2} | {split: 0})
    with pytest.raises(HopelessTrainingError, match=f"no {split} photo"):
        train(data, tmp_path / "run", SCRATCH, RULES, NAMES, device="cpu", threads=1, on_epoch=ignore)


def test_a_train_set_without_boxes_is_refused(tmp_path: Path) -> None:
    data = write_dataset(tmp_path, NAMES, {"train": 2, "val": 2})
    for label in (tmp_path / "labels" / "train").iterdir():
        label.write_text("")
    with pytest.raises(HopelessTrainingError, match="no box in its train photos"):
        train(data, tmp_path / "run", SCRATCH, RULES, NAMES, device="cpu", threads=1, on_epoch=ignore)


def test_a_dataset_of_other_classes_is_refused(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(HopelessTrainingError, match="c0003"):
        train(dataset, tmp_path, SCRATCH, RULES, ["c0000", "c0005"], device="cpu", threads=1, on_epoch=ignore)


def test_losses_that_are_no_numbers_end_the_training_with_the_cause(
    dataset: Path, trained: Trained, tmp_path: Path
) -> None:
    model = load_model(trained.result.weights)
    model.model[0].conv.weight.data[0] = float("nan")
    start = starting_point(save_checkpoint(model, tmp_path / "user.pt"), None, "yolo11n")
    with pytest.raises(HopelessTrainingError, match=r"box_loss.* no number; lower the learning rate"):
        train(dataset, tmp_path / "run", start, RULES, NAMES, device="cpu", threads=2, on_epoch=ignore, plots=False)


def test_a_setting_that_ultralytics_refuses_is_a_training_error(dataset: Path, tmp_path: Path) -> None:
    rules = RULES.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(HopelessTrainingError, match="lr0"):
        train(dataset, tmp_path, SCRATCH, rules, NAMES, device="cpu", threads=2, on_epoch=ignore, plots=False)


def test_missing_starting_weights_are_an_error_and_never_looked_for_elsewhere(dataset: Path, tmp_path: Path) -> None:
    start = StartingPoint("user", tmp_path / "yolo11n.pt", "test")
    with pytest.raises(WeightsError, match=r"No weights at .*yolo11n\.pt"):
        train(dataset, tmp_path, start, RULES, NAMES, device="cpu", threads=1, on_epoch=ignore)


def test_the_image_size_trained_with_is_the_one_asked_for(trained: Trained) -> None:
    assert f"imgsz: {IMAGE_SIZE}" in (trained.result.curves.parent / "args.yaml").read_text()
