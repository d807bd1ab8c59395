import io
import json
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_samples import coco_text, photo_rows, put, read_drop, rectangle, task
from upath import UPath

from mlops_assets.labels import archives
from mlops_assets.labels.archives import members
from mlops_assets.labels.items import LabelFormatError

PHOTOS = photo_rows("E0/p0.jpg", "E0/p1.jpg", "E1/p2.jpg")
BOX = "0 0.5 0.5 0.2 0.2\n"
PACKED = zipfile.ZIP_DEFLATED


def packed(files, **more):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", PACKED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


YOLO = {
    "data/classes.txt": "battery\nfan",
    "data/labels/E0/p0.txt": BOX,
    "data/labels/E0/p1.txt": "",
    "data/images/E0/p0.jpg": "no picture, and not looked at",
    "__MACOSX/data/._p0.txt": "x",
}


def test_an_archive_is_read_as_its_folder_would_be(tmp_path):
    for name, text in YOLO.items():
        put(tmp_path / "folders" / "export" / name, text)
    put(tmp_path / "zips" / "export.zip", packed(YOLO))
    as_folder, as_zip = (read_drop(tmp_path / kind, PHOTOS) for kind in ("folders", "zips"))
    assert as_zip.annotations.drop("source").equals(as_folder.annotations.drop("source"))
    assert as_zip.annotations["source"].to_list() == [
        "export.zip/data/labels/E0/p0.txt",
        "export.zip/data/labels/E0/p1.txt",
    ]
    assert as_zip.quarantine.is_empty()
    assert (as_zip.summary["files"], as_zip.summary["label_files"]) == (1, 1)


@pytest.mark.parametrize("place", ["export.zip", "set/deep/export.ZIP"])
def test_every_format_in_an_archive_anywhere(tmp_path, place):
    voc = "<annotation><filename>p2.jpg</filename><size><width>9</width><height>9</height></size></annotation>"
    files = {
        "a.json": coco_text(["E0/p0.jpg"], [(1, 0, 10, 10, 50, 50)]),
        "b.json": json.dumps([task("E0/p1.jpg", rectangle("fan"))]),
        "c.xml": voc,
    }
    put(tmp_path / place, packed(files))
    result = read_drop(tmp_path, PHOTOS)
    assert result.quarantine.is_empty()
    assert (result.summary["photos"], result.summary["boxes"]) == (3, 2)


def test_names_beside_an_archive_hold_for_it_and_its_own_go_first(tmp_path):
    put(tmp_path / "set" / "classes.txt", "outside")
    put(tmp_path / "set" / "a.zip", packed({"E0/p0.txt": BOX}))
    put(tmp_path / "set" / "b.zip", packed({"E0/p1.txt": BOX, "obj.names": "inside"}))
    result = read_drop(tmp_path, PHOTOS)
    assert dict(result.annotations.select("photo_id", "class_name").iter_rows()) == {"p0": "outside", "p1": "inside"}


def test_an_archive_in_an_object_store():
    drop = UPath("memory://archives-of-test/labels")
    drop.mkdir(parents=True)
    (drop / "export.zip").write_bytes(packed(YOLO))
    assert read_drop(drop, PHOTOS).annotations["photo_id"].to_list() == ["p0", "p1"]


def one_reason(tmp_path, content):
    put(tmp_path / "export.zip", content)
    result = read_drop(tmp_path, PHOTOS)
    assert result.quarantine["remedy"].str.len_chars().min() > 0
    assert list(tmp_path.iterdir()) == [tmp_path / "export.zip"]
    return result, result.quarantine["reason"].to_list()


@pytest.mark.parametrize(
    "name", ["../p0.txt", "/etc/p0.txt", "data/../../p0.txt", "C:/p0.txt", "..\\p0.txt", "\\\\host\\p0.txt"]
)
def test_a_path_that_leads_out_is_refused_and_the_rest_is_read(tmp_path, name):
    result, reasons = one_reason(tmp_path, packed({name: BOX, **YOLO}))
    assert reasons == ["a member whose path leads out of its archive"]
    assert result.annotations["photo_id"].to_list() == ["p0", "p1"]


def test_an_archive_within_an_archive_is_refused(tmp_path):
    _, reasons = one_reason(tmp_path, packed({"inner.zip": packed(YOLO), "more.tar.gz": b"x"}))
    assert reasons == ["an archive within an archive"] * 2


def test_an_encrypted_archive_is_refused(tmp_path):
    content = bytearray(packed({"E0/p0.json": coco_text([], [])}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flags of both headers
        content[content.index(signature) + offset] |= 1
    _, reasons = one_reason(tmp_path, bytes(content))
    assert reasons == ["an encrypted member of an archive"]


def test_a_bomb_is_refused_by_its_ratio(tmp_path):
    _, reasons = one_reason(tmp_path, packed({"a.json": b" " * 20_000_000}))
    assert "times as large as it is packed" in reasons[0]


def test_a_bomb_that_lies_about_its_size_is_cut_off(tmp_path):
    content = bytearray(packed({"a.json": b"[" + b" " * 5_000_000 + b"]"}))
    said, lie = (5_000_002).to_bytes(4, "little"), (1000).to_bytes(4, "little")
    assert content.count(said) == 2
    _, reasons = one_reason(tmp_path, bytes(content.replace(said, lie)))
    assert "damaged member" in reasons[0]


def test_limits_of_members_and_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBERS", 3)
    _, reasons = one_reason(tmp_path, packed(YOLO))
    assert "more than 3" in reasons[0]
    monkeypatch.setattr(archives, "MAX_MEMBERS", 10)
    monkeypatch.setattr(archives, "MAX_MEMBER_BYTES", 10)
    _, reasons = one_reason(tmp_path, packed({"a.json": "[" * 11}))
    assert "of 11 bytes" in reasons[0]
    monkeypatch.setattr(archives, "MAX_TOTAL_BYTES", 10)
    _, reasons = one_reason(tmp_path, packed({"a.json": "[" * 6, "b.json": "[" * 6}))
    assert "have 12 bytes" in reasons[0]


def test_a_member_without_a_name_is_refused(tmp_path):
    content = bytearray(packed({"x": BOX}))
    for signature, offset in ((b"PK\x03\x04", 26), (b"PK\x01\x02", 28)):  # lengths of the name and of what follows it
        at = content.index(signature) + offset
        content[at : at + 4] = b"\x00\x00\x01\x00"
    _, reasons = one_reason(tmp_path, bytes(content))
    assert reasons == ["a member without a name"]


def test_a_link_and_a_second_member_of_one_name_are_refused(tmp_path):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        link = zipfile.ZipInfo("link.json")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("twice.json", coco_text(["E0/p0.jpg"], []))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("twice.json", coco_text(["E0/p1.jpg"], []))
    result, reasons = one_reason(tmp_path, content.getvalue())
    assert sorted(reasons) == ["a member that is a link or device", "a member whose name is in the archive already"]
    assert result.annotations["photo_id"].to_list() == ["p0"]


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_a_damaged_archive_gives_labels_or_reasons(data):
    content = bytearray(packed(YOLO))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(content[: data.draw(st.integers(0, len(content)))])
    for damaged in (bytes(content), cut):
        try:
            for member in members(io.BytesIO(damaged), lambda _: True):
                try:
                    assert isinstance(member.read(), bytes)
                except LabelFormatError as error:
                    assert error.remedy  # noqa: PT017 either outcome is right
        except LabelFormatError as error:
            assert error.remedy  # noqa: PT017
