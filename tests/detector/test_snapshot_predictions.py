from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from snapshots import LEFT, Label, truth
from tiny_detector import CLASS_IDS

from mlops_assets.detector import snapshot_predictions
from mlops_assets.detector.snapshot import SPLIT_PREDICTIONS
from mlops_assets.detector.snapshot_predictions import SO_FAR, SnapshotPredictions, earlier_predictions
from mlops_assets.labels.class_links import NO_LINKS, ClassLinks
from resources.tables import Tables


class Snapshot:
    """Val and test photos that count how often they are read."""

    def __init__(self, photos: dict[str, bytes], export: Path) -> None:
        self.photos, self.export = photos, export
        self.read: Counter[str] = Counter()
        names = sorted(photos)
        labels: list[Label] = [(name, CLASS_IDS[0], LEFT) for name in names]
        of_split = [truth(labels[::2], split="val"), truth(labels[1::2]), truth([("other", 0, LEFT)], split="train")]
        sha256 = pl.col("photo_id").replace_strict({name: f"sha-{name}" for name in [*names, "other"]})
        self.dataset = pl.concat(of_split).with_columns(photo_sha256=sha256)
        self.fails_at: str | None = None

    def read_photo(self, photo_id: str) -> bytes:
        self.read[photo_id] += 1
        if photo_id == self.fails_at:
            raise OSError("the pod is gone")
        return self.photos[photo_id]

    def look(self, tables: Tables, version: str = "1", links: ClassLinks = NO_LINKS) -> pl.DataFrame:
        self.read.clear()
        predictions = SnapshotPredictions(
            self.dataset,
            self.read_photo,
            threads=1,
            earlier=earlier_predictions(tables),
            keep=lambda so_far: tables.write(SO_FAR, so_far, SPLIT_PREDICTIONS),
        )
        found = predictions.of(version, self.export, CLASS_IDS, links)
        assert predictions.looked_at == {version: len(self.read)}
        assert len(predictions.runtimes) == bool(self.read)
        return found


@pytest.fixture
def snapshot(photos: dict[str, bytes], onnx_model: Path) -> Snapshot:
    return Snapshot(photos, onnx_model)


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    return Tables(root=str(tmp_path))


def test_what_is_known_is_not_looked_at_again(snapshot: Snapshot, tables: Tables) -> None:
    found = snapshot.look(tables)
    assert found.schema == SPLIT_PREDICTIONS
    assert set(snapshot.read) == set(snapshot.photos) == set(found["photo_id"])
    assert found["class_id"].drop_nulls().len() > 0
    tables.write("detector_predictions", found, SPLIT_PREDICTIONS)
    again = snapshot.look(tables)
    assert not snapshot.read
    assert_frame_equal(again, found)


def test_another_version_photo_merge_or_model_is_looked_at(snapshot: Snapshot, tables: Tables, tmp_path: Path) -> None:
    tables.write("detector_predictions", snapshot.look(tables), SPLIT_PREDICTIONS)
    snapshot.look(tables, version="2")
    assert set(snapshot.read) == set(snapshot.photos)
    merged = snapshot.look(tables, links=ClassLinks({CLASS_IDS[1]: CLASS_IDS[0]}))
    assert set(snapshot.read) == set(snapshot.photos)
    assert set(merged["class_id"].drop_nulls()) == {CLASS_IDS[0]}
    changed = min(snapshot.photos)
    sha256 = pl.when(pl.col("photo_id") == changed).then(pl.lit("new")).otherwise("photo_sha256").alias("photo_sha256")
    snapshot.dataset = snapshot.dataset.with_columns(sha256)
    snapshot.look(tables)
    assert set(snapshot.read) == {changed}
    import onnx

    model = onnx.load(str(snapshot.export))
    model.doc_string = "another registry's version 1"
    snapshot.export = tmp_path / "other.onnx"
    onnx.save(model, str(snapshot.export))
    snapshot.look(tables)
    assert set(snapshot.read) == set(snapshot.photos)


def test_an_evaluation_that_was_killed_goes_on_where_it_was(
    snapshot: Snapshot, tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = snapshot.look(Tables(root=str(tmp_path / "elsewhere")))
    monkeypatch.setattr(snapshot_predictions, "KEEP_EVERY_S", 0.0)
    monkeypatch.setattr(snapshot_predictions, "_AT_ONCE", 1)
    third = sorted(snapshot.photos)[2]
    snapshot.fails_at = third
    with pytest.raises(OSError, match="the pod is gone"):
        snapshot.look(tables)
    snapshot.fails_at = None
    found = snapshot.look(tables)
    assert set(snapshot.read) == set(sorted(snapshot.photos)[2:])
    assert_frame_equal(found, whole)
    tables.write("detector_predictions", found, SPLIT_PREDICTIONS)
    assert earlier_predictions(tables).height == found.height, "what was done and what was so far are not both counted"
