import cv2
import numpy as np
import polars as pl
import pytest
import yaml

from mlops_assets.dataset.export import DatasetExportError, Photos, export_yolo
from mlops_assets.dataset.schema import TRAINING_DATASET

DATASET = pl.DataFrame(
    [
        ("p0", "E0", "train", 7, 0.5, 0.25, 0.125, 0.1, 8, "a"),
        ("p0", "E0", "train", 2, 0.5, 0.5, 0.5, 0.5, 8, "a"),
        ("p1", "E1", "val", 7, 0.5, 0.5, 0.5, 0.5, 8, "b"),
        ("p2", "E2", "test", None, None, None, None, None, 8, "c"),
    ],
    schema=TRAINING_DATASET,
    orient="row",
)


class Drawn:
    """Reads drawn photos and counts how often."""

    def __init__(self, broken=()):
        self.reads = []
        self.broken = broken

    def __call__(self, photo_id):
        self.reads.append(photo_id)
        if photo_id in self.broken:
            return b"no picture"
        image = np.full((240, 320, 3), 40 * int(photo_id[-1]), np.uint8)
        return cv2.imencode(".jpg", image)[1].tobytes()


def export(folder, read, dataset=DATASET, image_size=160):
    return export_yolo(dataset, [7, 2], Photos(read), folder, image_size=image_size, workers=2)


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_yolo_layout_is_written(tmp_path):
    path = export(tmp_path / "x", Drawn())
    assert files(tmp_path / "x") == {
        "data.yaml",
        "export.json",
        *(f"images/{name}.jpg" for name in ("train/p0", "val/p1", "test/p2")),
        *(f"labels/{name}.txt" for name in ("train/p0", "val/p1", "test/p2")),
    }
    lines = (tmp_path / "x/labels/train/p0.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["0", "1"]  # positions of 2 and 7 among the sorted ids
    assert [float(text) for text in lines[1].split()[1:]] == [0.5, 0.25, 0.125, 0.1]
    assert (tmp_path / "x/labels/test/p2.txt").read_text() == ""
    assert cv2.imread(str(tmp_path / "x/images/val/p1.jpg")).shape == (120, 160, 3)
    assert yaml.safe_load(path.read_text())["names"] == {0: "c0002", 1: "c0007"}


def test_a_second_export_reads_only_what_is_missing(tmp_path):
    export(tmp_path / "x", Drawn())
    (tmp_path / "x/images/val/p1.jpg").unlink()
    again = Drawn()
    export(tmp_path / "x", again)
    assert again.reads == ["p1"]


def test_an_export_that_failed_is_taken_up_and_leaves_no_half_files(tmp_path):
    with pytest.raises(DatasetExportError, match="photo p1 cannot be decoded"):
        export(tmp_path / "x", Drawn(broken=["p1"]))
    assert "data.yaml" not in files(tmp_path / "x")
    assert not [name for name in files(tmp_path / "x") if "/." in name]
    export(tmp_path / "x", Drawn())
    assert "images/val/p1.jpg" in files(tmp_path / "x")


def test_what_is_no_longer_in_the_dataset_goes(tmp_path):
    export(tmp_path / "x", Drawn())
    export(tmp_path / "x", Drawn(), DATASET.filter(pl.col("photo_id") != "p1"))
    assert not {"images/val/p1.jpg", "labels/val/p1.txt"} & files(tmp_path / "x")


def test_a_folder_of_another_export_or_of_other_files_is_refused(tmp_path):
    export(tmp_path / "x", Drawn())
    with pytest.raises(DatasetExportError, match="160 px, not 96 px"):
        export(tmp_path / "x", Drawn(), image_size=96)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(DatasetExportError, match="take an empty folder"):
        export(tmp_path / "mine", Drawn())
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_a_class_that_the_model_lacks_is_refused(tmp_path):
    with pytest.raises(DatasetExportError, match=r"classes \[2\]"):
        export_yolo(DATASET, [7], Photos(Drawn()), tmp_path / "x", image_size=160, workers=1)
