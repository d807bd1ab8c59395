"""Which format a label file has, told by its content, and the one call that reads any of them."""

import codecs
from collections.abc import Mapping

from mlops_assets.labels.coco import is_coco, parse_coco
from mlops_assets.labels.cvat import is_cvat, parse_cvat
from mlops_assets.labels.items import LabelError, LabelFormatError, LabelProblem, ParsedLabels
from mlops_assets.labels.json_text import load_json
from mlops_assets.labels.label_studio import is_label_studio, parse_label_studio
from mlops_assets.labels.voc import is_voc, parse_voc
from mlops_assets.labels.xml_text import load_xml
from mlops_assets.labels.yolo import parse_yolo

_KNOWN = "Label Studio JSON, COCO JSON, Pascal VOC XML, CVAT for images XML or YOLO text"
_BOMS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def parse_labels(source: str, content: bytes, names: Mapping[int, str] | LabelFormatError) -> ParsedLabels:
    """Read a label file of any known format; one that cannot be used gives one problem, never an exception.

    Args:
        source: Path of the file in the label drop.
        content: The file's bytes.
        names: Class names for YOLO text by index, or why there are none.
    """
    try:
        return _parse(source, content, names)
    except LabelError as error:
        return ParsedLabels(problems=[LabelProblem(source, "", str(error), error.remedy)])


def _parse(source: str, content: bytes, names: Mapping[int, str] | LabelFormatError) -> ParsedLabels:
    start = _first_character(content)
    if start in (b"{", b"["):
        return _parse_json(source, content)
    if start == b"<":
        return _parse_xml(source, content)
    if source.lower().endswith(".txt"):
        return parse_yolo(source, content, names)
    reason = f"not {_KNOWN}" if start else "an empty file"
    raise LabelFormatError(reason, f"remove the file, or export the labels as {_KNOWN}")


def _first_character(content: bytes) -> bytes:
    for bom in _BOMS:
        content = content.removeprefix(bom)
    return content.lstrip(b" \t\r\n\0")[:1]


def _parse_json(source: str, content: bytes) -> ParsedLabels:
    parsed = load_json(content)
    if is_coco(parsed):
        return parse_coco(source, parsed)
    if is_label_studio(parsed):
        return parse_label_studio(source, parsed)
    raise LabelFormatError(
        "JSON that is neither COCO nor Label Studio", "export from Label Studio as JSON (not JSON-MIN) or as COCO"
    )


def _parse_xml(source: str, content: bytes) -> ParsedLabels:
    root = load_xml(content)
    if is_cvat(root):
        return parse_cvat(source, root)
    if is_voc(root):
        return parse_voc(source, root)
    raise LabelFormatError(
        "XML that is neither Pascal VOC nor CVAT", "export the labels as Pascal VOC or CVAT for images 1.1"
    )
