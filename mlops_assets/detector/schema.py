"""Columns of the tables that the detector stage writes."""

import polars as pl

DETECTOR_WEIGHTS = pl.Schema(
    {
        "model_version": pl.String(),
        "dataset_fingerprint": pl.String(),
        "class_map": pl.String(),
        "mlflow_run_id": pl.String(),
        "started_from": pl.String(),
        "seconds": pl.Float64(),
        "class_boxes": pl.String(),
    }
)
"""One record, the newest trained version; class_map is JSON {class_id: class_name}, started_from the first weights.

class_boxes is JSON {class_id: boxes}: how many were labelled of each class when it was trained.
"""

DETECTOR_EVALUATION = pl.Schema(
    {
        "model_version": pl.String(),
        "class_id": pl.Int32(),
        "split": pl.String(),
        "ap50": pl.Float64(),
        "ap50_95": pl.Float64(),
        "precision": pl.Float64(),
        "recall": pl.Float64(),
        "threshold": pl.Float64(),
        "n": pl.Int64(),
    }
)
"""One row a model, split and class, n in boxes; class_id null: macro AP, micro precision and recall."""

CHAMPION_DETECTOR = pl.Schema(
    {
        "model_version": pl.String(),
        "promoted": pl.Boolean(),
        "reasons": pl.List(pl.String()),
        "test_snapshot": pl.String(),
        "champion_version": pl.String(),
        "champion_class_map": pl.String(),
        "champion_thresholds": pl.String(),
        "champion_export": pl.String(),
        "champion_references": pl.String(),
        "decided_at": pl.Datetime("us", "UTC"),
        "class_boxes": pl.String(),
        "run_id": pl.String(),
        "kind": pl.String(),
        "decided_by": pl.String(),
        "why": pl.String(),
    }
)
"""One row a decision, append only; the champion's columns say what serves after it (null: nothing yet).

class_boxes is the candidate's, as in DETECTOR_WEIGHTS, and run_id Dagster's run that decided. kind is one of those in
`decisions.py` (null: a row of before, judged by the rules); decided_by and why are what a person said, null elsewhere.
test_snapshot is null where nothing was measured (a rollback, an alias moved outside Dagster).
champion_class_map and champion_thresholds are JSON by class_id; champion_export and champion_references are the SHA-256
of the ONNX file and of what known equipment looks like to it (null: a version of before there were any).
"""

CHAMPION_HISTORY = pl.Schema(
    {
        "version": pl.String(),
        "served_from": pl.Datetime("us", "UTC"),
        "served_until": pl.Datetime("us", "UTC"),
        "because": pl.String(),
        "ended_because": pl.String(),
        "forced": pl.Boolean(),
        "decided_by": pl.String(),
        "run_id": pl.String(),
        "dataset_fingerprint": pl.String(),
        "test_map50": pl.Float64(),
        "test_map50_95": pl.Float64(),
        "test_precision": pl.Float64(),
        "test_recall": pl.Float64(),
    }
)
"""One row a time of serving, the latest first; served_until null: it serves. forced: not by the rules alone.

The figures are those of its own test snapshot, when it was a candidate; two versions' are not to be compared.
"""

DETECTOR_INTERVALS = pl.Schema(
    {
        "model_version": pl.String(),
        "class_id": pl.Int32(),
        "measure": pl.String(),
        "low": pl.Float64(),
        "high": pl.Float64(),
        "enclosures": pl.Int64(),
    }
)
"""Beside the evaluation: 95 % bootstrap interval on test of ap50, precision, recall or f1.

class_id null: as in DETECTOR_EVALUATION. enclosures: test enclosures that show the class, or all.
"""

DETECTOR_CURVES = pl.Schema(
    {
        "model_version": pl.String(),
        "class_id": pl.Int32(),
        "recall": pl.Float64(),
        "precision": pl.Float64(),
        "confidence": pl.Float64(),
    }
)
"""Beside the evaluation: precision at COCO's 101 recall points on test, IoU 0.5, of each class with test boxes.

confidence: of the prediction by which the recall is reached; null, with precision 0, where none reaches it.
"""

DETECTOR_CONFUSION = pl.Schema(
    {"model_version": pl.String(), "class_id": pl.Int32(), "found_class_id": pl.Int32(), "boxes": pl.Int64()}
)
"""Beside the evaluation: labelled class against found class on test, at IoU 0.5 and the stored thresholds.

class_id null: nothing is labelled there; found_class_id null: the label was not found.
"""

DETECTOR_RELIABILITY = pl.Schema(
    {
        "model_version": pl.String(),
        "confidence_from": pl.Float64(),
        "confidence_to": pl.Float64(),
        "n": pl.Int64(),
        "confidence": pl.Float64(),
        "precision": pl.Float64(),
    }
)
"""Beside the evaluation: test predictions by confidence, their mean confidence, and the share that found a label."""

DETECTOR_SLICES = pl.Schema(
    {
        "model_version": pl.String(),
        "kind": pl.String(),
        "slice": pl.String(),
        "definition": pl.String(),
        "photos": pl.Int64(),
        "enclosures": pl.Int64(),
        "n": pl.Int64(),
        "ap50": pl.Float64(),
        "ap50_low": pl.Float64(),
        "ap50_high": pl.Float64(),
        "precision": pl.Float64(),
        "recall": pl.Float64(),
        "judgeable": pl.Boolean(),
    }
)
"""Beside the evaluation: a part of the test photos, over the classes that all models of the evaluation know.

n in boxes, ap50 macro with its 95 % bootstrap interval, precision and recall micro at the stored thresholds; judgeable
says whether there are photos and enclosures enough to read anything from it.
"""

OLD_CLASS_CHANGE = pl.Schema(
    {
        "model_version": pl.String(),
        "champion_version": pl.String(),
        "class_id": pl.Int32(),
        "old": pl.Boolean(),
        "champion_ap50": pl.Float64(),
        "candidate_ap50": pl.Float64(),
        "change": pl.Float64(),
        "n": pl.Int64(),
    }
)
"""Beside the evaluation, one row a class of candidate or champion on test: what the retraining did to it.

old: the champion knows the class; change and figures are null where there is no test box, or no champion's figure.
"""
