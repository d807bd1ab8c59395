"""Which format a label file has, told by its content, and the one call that reads any of them."""

import codecs
from collections.abc import Mapping

from mlops_assets.labels.coco import is_coco, parse_coco
from mlops_assets.labels.cvat import is_cvat, parse_cvat
from mlops_assets.labels.items import LabelError, LabelFormatError, LabelProblem, ParsedLabels, ReadRules
from mlops_assets.labels.json_text import load_json
from mlops_assets.labels.label_studio import is_json_min, is_label_studio, parse_json_min, parse_label_studio
from mlops_assets.labels.voc import is_voc, parse_voc
from mlops_assets.labels.xml_text import load_xml
from mlops_assets.labels.yolo import parse_yolo

_KNOWN = "Label Studio JSON, COCO JSON, Pascal VOC XML, CVAT XML or YOLO text"
_BOMS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

_OTHER_JSON = (
    ({"image_id", "score"}, "a list of detection results"),
    ({"shapes", "imagePath"}, "LabelMe JSON"),
    ({"assets", "tags"}, "VoTT JSON"),
    ({"image", "annotations"}, "CreateML or Segment Anything JSON"),
)
"""Keys that tell what else JSON is."""


def parse_labels(
    source: str, content: bytes, names: Mapping[int, str] | LabelFormatError, rules: ReadRules | None = None
) -> ParsedLabels:
    """Read a label file of any known format; one that cannot be used gives one problem, never an exception.

    Args:
        source: Path of the file in the label drop.
        content: The file's bytes.
        names: Class names for YOLO text by index, or why there are none.
        rules: How to read.
    """
    try:
        return _parse(source, content, names, rules or ReadRules())
    except LabelError as error:
        return ParsedLabels(problems=[LabelProblem(source, "", str(error), error.remedy)])


def _parse(source: str, content: bytes, names: Mapping[int, str] | LabelFormatError, rules: ReadRules) -> ParsedLabels:
    start = _first_character(content)
    if start in (b"{", b"["):
        return _parse_json(source, content, rules)
    if start == b"<":
        return _parse_xml(source, content, rules)
    if source.lower().endswith(".txt"):
        return parse_yolo(source, content, names, rules)
    reason = f"not {_KNOWN}" if start else "an empty file"
    raise LabelFormatError(reason, f"remove the file, or export the labels as {_KNOWN}")


def _first_character(content: bytes) -> bytes:
    for bom in _BOMS:
        content = content.removeprefix(bom)
    return content.lstrip(b" \t\r\n\0")[:1]


def _parse_json(source: str, content: bytes, rules: ReadRules) -> ParsedLabels:
    parsed = load_json(content)
    if is_coco(parsed):
        return parse_coco(source, parsed, rules)
    if is_label_studio(parsed):
        return parse_label_studio(source, parsed, rules)
    if is_json_min(parsed):
        return parse_json_min(source, parsed, rules)
    first = parsed[0] if isinstance(parsed, list) and parsed else parsed
    keys = set(first) if isinstance(first, dict) else set()
    other = next((what for needed, what in _OTHER_JSON if needed <= keys), "JSON that is neither COCO nor Label Studio")
    raise LabelFormatError(other, "export from Label Studio as JSON, or from another tool as COCO")


def _parse_xml(source: str, content: bytes, rules: ReadRules) -> ParsedLabels:
    root = load_xml(content)
    if is_cvat(root):
        return parse_cvat(source, root, rules)
    if is_voc(root):
        return parse_voc(source, root, rules)
    raise LabelFormatError(
        "XML that is neither Pascal VOC nor CVAT", "export the labels as Pascal VOC or CVAT for images 1.1"
    )
