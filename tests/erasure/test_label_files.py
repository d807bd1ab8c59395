"""What of an erased photo the label drop still holds, in files and archives."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from small_catalogue import sha256
from test_erasing import places, upload, write_ledger
from upload_samples import picture

from mlops_assets.erasure.erasing import announce, erase
from mlops_assets.erasure.label_files import in_label_drop
from mlops_assets.erasure.places import Places, Request
from mlops_assets.labels.schema import PARSED_LABELS

CONTENT = picture(1)
PHOTO_ID = sha256(CONTENT)
NAME = "CAB-1/szekrény 1.jpg"
BOX = "0 0.5 0.5 0.1 0.1\n"
VOC = "<annotation><folder>{}</folder><filename>{}</filename></annotation>"


@pytest.fixture
def here(new_mlflow: Callable[[Path], str], tmp_path: Path) -> Places:
    (tmp_path / "landing").mkdir()
    new_mlflow(tmp_path)
    here = places(tmp_path, str(tmp_path / "landing"), str(tmp_path / "store"))
    upload(here, NAME, CONTENT)
    upload(here, "CAB-2/szekrény 1.jpg", picture(2))
    write_ledger(here)
    announce(here, Request(PHOTO_ID, "ticket"))
    return here


def drop(here: Places, name: str, content: bytes | str) -> None:
    path = Path(str(here.label_drop)) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def packed(files: dict[str, bytes | str]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


HOLDING: dict[str, bytes | str] = {
    "labels/CAB-1/szekrény 1.txt": BOX,
    "voc/a.xml": VOC.format("CAB-1", "szekrény 1.jpg"),
    "coco.json": json.dumps({"images": [{"file_name": NAME}]}),
    "studio.json": json.dumps(
        [{"data": {"image": "/data/local-files/?d=CAB-1/szekr%C3%A9ny%201.jpg"}, "annotations": [{"result": []}]}]
    ),
    "notes.csv": f"{PHOTO_ID},dark",
    "copy.jpg": CONTENT,
}
OTHERS: dict[str, bytes | str] = {
    "labels/CAB-2/szekrény 1.txt": BOX,
    "voc/b.xml": VOC.format("CAB-2", "szekrény 1.jpg"),
    "more/xCAB-1/szekrény 1.txt": BOX,
    "other.jpg": picture(2),
}


def test_every_way_of_naming_a_photo_is_found_and_others_are_not(here: Places) -> None:
    for name, content in {**HOLDING, **OTHERS}.items():
        drop(here, f"set/{name}", content)
    assert in_label_drop(here, PHOTO_ID, [NAME]) == sorted(f"set/{name}" for name in HOLDING)


def test_archives_are_looked_into(here: Places) -> None:
    drop(here, "export.zip", packed({**HOLDING, **OTHERS}))
    assert in_label_drop(here, PHOTO_ID, [NAME]) == sorted(f"export.zip/{name}" for name in HOLDING)


def test_labels_that_mean_the_photo_are_found_when_its_uploads_are_forgotten(here: Places) -> None:
    drop(here, "set/voc/a.xml", VOC.format("CAB-1", "szekrény 1.jpg"))
    drop(here, "export.zip", packed({"coco.json": json.dumps({"images": [], "annotations": []})}))
    assert in_label_drop(here, PHOTO_ID, []) == ["set/voc/a.xml"]


def test_what_cannot_be_looked_into_is_named_with_the_reason(here: Places) -> None:
    drop(here, "torn.zip", b"PK\x03\x04 torn")
    drop(here, "nested.zip", packed({"inner.zip": packed({"a.json": "{}"})}))
    found = in_label_drop(here, PHOTO_ID, [NAME])
    assert found[0] == "nested.zip/inner.zip (cannot be looked into: an archive within an archive)"
    assert found[1].startswith("torn.zip (cannot be looked into: a damaged zip archive")


def test_what_is_kept_of_label_files_is_emptied_and_not_counted_as_the_photos(here: Places) -> None:
    rows = pl.DataFrame({"row": ["photo"], "source": ["set/labels/CAB-1/szekrény 1.txt"]})
    kept = pl.concat([PARSED_LABELS.to_frame(), rows], how="diagonal")
    here.tables.write("parsed_labels", kept, PARSED_LABELS)
    record, files = erase(here, Request(PHOTO_ID, "ticket"))
    assert here.tables.read("parsed_labels", PARSED_LABELS).is_empty()
    assert "rows of parsed_labels" not in record["removed"]
    assert files == []
