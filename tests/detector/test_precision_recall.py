import contextlib
import io

import numpy as np
import polars as pl
import pytest
from snapshots import LEFT, TOP, predicted, random_snapshot, truth

from mlops_assets.detector.evaluation import evaluate
from mlops_assets.detector.matching import match_predictions
from mlops_assets.detector.precision_recall import precision_recall_curves
from mlops_assets.detector.schema import DETECTOR_CURVES


@pytest.mark.parametrize("at_once", [200, 5, 1])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_figure_is_that_of_cocoevals_own_accumulate(
    seed: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Precision and confidence at every recall point, and AP at every IoU, however photos are portioned."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    monkeypatch.setattr("mlops_assets.detector.matching._PHOTOS_AT_ONCE", at_once)
    labels, found = random_snapshot(seed)
    photos = sorted({photo for photo, _, _ in labels})
    sides = []
    for rows in ([(p, c, 0.0, b) for p, c, b in labels], found):
        coco = COCO()
        annotations = []
        for number, (photo, class_id, score, box) in enumerate(rows, start=1):
            assert box is not None
            x, y, w, h = (value * 1000 for value in box)  # pixels, unlike our relative boxes
            corner = [x - w / 2, y - h / 2, w, h]
            item = {"id": number, "image_id": photos.index(photo), "category_id": class_id, "bbox": corner}
            annotations.append(item | {"area": w * h, "iscrowd": 0, "score": score})
        images = [{"id": number} for number in range(len(photos))]
        coco.dataset = {"images": images, "categories": [{"id": c} for c in range(3)], "annotations": annotations}
        with contextlib.redirect_stdout(io.StringIO()):
            coco.createIndex()
        sides.append(coco)
    reference = COCOeval(*sides, "bbox")
    with contextlib.redirect_stdout(io.StringIO()):
        reference.evaluate()
        reference.accumulate()
    precision, scores = (reference.eval[name][:, :, :, 0, -1] for name in ("precision", "scores"))

    matches = match_predictions(truth(labels), predicted(found), [0, 1, 2])
    curves = precision_recall_curves(matches, model_version="1")
    assert curves.schema == DETECTOR_CURVES
    thresholds = dict.fromkeys([0, 1, 2], 0.5)
    rows = evaluate(
        truth(labels), predicted(found), model_version="1", split="test", class_ids=[0, 1, 2], thresholds=thresholds
    )
    for class_id in range(3):
        curve = curves.filter(pl.col("class_id") == class_id)
        assert curve["precision"].to_numpy() == pytest.approx(precision[0, :, class_id])
        reached = curve["confidence"].fill_null(0.0).to_numpy()
        assert reached == pytest.approx(scores[0, :, class_id])
        row = rows.filter(pl.col("class_id") == class_id).row(0, named=True)
        assert row["ap50"] == pytest.approx(precision[0, :, class_id].mean())
        assert row["ap50_95"] == pytest.approx(precision[:, :, class_id].mean())
        assert 0.1 < row["ap50"] < 0.9


def test_a_class_that_is_never_found_is_a_curve_at_nought_and_one_without_labels_has_none() -> None:
    matches = match_predictions(truth([("A-1", 0, LEFT)]), predicted([("A-1", 1, 0.9, TOP)]), [0, 1])
    curves = precision_recall_curves(matches, model_version="1")
    assert set(curves["class_id"]) == {0}
    # A recall of nought is reached by nothing too; COCO has precision 0 there when nothing is found.
    assert np.array_equal(curves["precision"].to_numpy(), np.zeros(101))
    assert curves["confidence"].null_count() == 101
    assert precision_recall_curves(match_predictions(truth([]), predicted([]), [0]), model_version="1").is_empty()
