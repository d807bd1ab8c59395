"""The asset as Dagster runs it: settings of the use case, photos from the store, tables beside its own."""

import io
import json
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest
from label_samples import coco_text, put, rectangle, task
from path_support import prepare, why
from PIL import Image

from mlops_assets.labels.schema import LABEL_CONFLICTS, PARSED_LABELS
from resources.tables import Tables

DAY = "2026-10-05"


@pytest.fixture
def path(tmp_path):
    labels = {"outside_tolerance": 0.1, "yolo_class_names": ["battery", "fan"]}
    case = {"name": "case", "title": "Case", "start": DAY, "labels": labels}
    return prepare(tmp_path, case, dg.DagsterInstance.ephemeral())


def photo(orientation, seed):
    pixels = np.random.default_rng(seed).integers(0, 255, (480, 640, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", exif=exif)
    return content.getvalue()


def metadata_of(result):
    (event,) = [e for e in result.get_asset_materialization_events() if e.asset_key.path[-1] == "annotations"]
    return {key: value.value for key, value in event.materialization.metadata.items()}


def test_the_asset_reads_with_the_use_cases_settings_and_turns_labels_by_the_stored_original(path):
    landing, drop = Path(path.places.landing), Path(path.places.labels)
    for number, orientation in enumerate((1, 6)):
        put(landing / DAY / "CAB-1" / f"IMG_{number}.jpg", photo(orientation, number))
    result = path.ingest(DAY)
    assert result.success, why(result)
    put(drop / "set" / "IMG_0.txt", "1 0.5 0.5 1.1 0.5\n")
    put(drop / "sideways.json", coco_text(["CAB-1/IMG_1.jpg"], [(1, 0, 64, 48, 64, 48)], width=640, height=480))
    crowd = [task("CAB-1/IMG_0.jpg", rectangle("fan"), created_at="1970-01-01T00:00:00Z", by=by) for by in ("a", "b")]
    crowd[0]["annotations"][0]["result"].append({"type": "keypointlabels", "value": {"keypointlabels": ["fan"]}})
    put(drop / "studio.json", json.dumps(crowd))
    result = path.import_labels()
    assert result.success, why(result)
    rows = (
        path.table("annotations")
        .select("class_name", "box_x", "box_y", "box_w", "box_h", "drawn_as")
        .sort("class_name")
    )
    assert rows.row(1) == ("fan", 0.5, 0.5, 1.0, 0.5, "box")
    # a tenth from the left and top of the stored picture: from the right and top of the upright one
    assert rows.row(0) == ("device", *(pytest.approx(side) for side in (0.85, 0.15, 0.1, 0.1)), "box")
    metadata = metadata_of(result)
    assert (metadata["turned_upright"], metadata["left_out"], metadata["drawn_as"]) == (
        1,
        {"key points": 1},
        {"box": 2},
    )
    tables = Tables(root=path.places.store)
    assert tables.read("label_conflicts", LABEL_CONFLICTS)["annotators"].to_list() == [["a", "b"]]
    assert tables.read("parsed_labels", PARSED_LABELS).filter(pl.col("row") == "file").height == 3
    again = metadata_of(path.import_labels())
    assert (metadata["label_files_read"], again["label_files_read"]) == (3, 0)
