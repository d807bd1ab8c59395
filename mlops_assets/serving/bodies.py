"""Where photos stand in a request's body: raw, as parts of a form, or as base64 in MLflow's JSON.

Whether they are photos is for `photos`.
"""

import base64
import binascii
import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from mlops_assets.detector.mlflow_model import PHOTO
from mlops_assets.serving.refusals import RefusalError

RAW_TYPES = ("application/octet-stream",)
RAW_FAMILY = "image/"
FORM_TYPE = "multipart/form-data"
JSON_TYPE = "application/json"

_FORMS = (
    f'{{"dataframe_records": [{{"{PHOTO}": "<base64>"}}, …]}} or '
    f'{{"dataframe_split": {{"columns": ["{PHOTO}"], "data": [["<base64>"], …]}}}}'
)


def is_raw(content_type: str) -> bool:
    """Whether the body is one photo."""
    kind = media_type(content_type)
    return kind in RAW_TYPES or kind.startswith(RAW_FAMILY)


def media_type(content_type: str) -> str:
    """The type without its parameters, in small letters."""
    return content_type.partition(";")[0].strip().lower()


def form_photos(body: bytes, content_type: str, most: int) -> list[bytes]:
    """Photos of a multipart form: every part, whatever its name.

    Args:
        body: The whole body.
        content_type: With the boundary.
        most: Photos that a request may hold.

    Raises:
        RefusalError: No such form, no photo, or too many.
    """
    from werkzeug.http import parse_options_header

    boundary = parse_options_header(content_type)[1].get("boundary", "")
    if not boundary:
        raise RefusalError(400, f"The Content-Type {content_type[:200]!r} names no boundary.")
    try:
        photos = list(islice(_parts(body, boundary.encode("latin-1")), most + 1))
    except (ValueError, LookupError) as error:  # LookupError: a part's headers name a charset that there is not
        raise RefusalError(400, f"The form cannot be read: {str(error)[:200]}") from error
    return _counted(photos, most)


def _parts(body: bytes, boundary: bytes) -> Iterator[bytes]:
    from werkzeug.sansio.multipart import Data, Epilogue, MultipartDecoder, NeedData

    decoder = MultipartDecoder(boundary, max_form_memory_size=None)
    decoder.receive_data(body)
    decoder.receive_data(None)
    chunks: list[bytes] = []
    while not isinstance(event := decoder.next_event(), (Epilogue, NeedData)):
        if isinstance(event, Data):
            chunks.append(bytes(event.data))
            if not event.more_data:
                yield b"".join(chunks)
                chunks = []


def json_photos(body: bytes, most: int) -> list[bytes]:
    """Photos of a request to MLflow's scoring server.

    Its other formats, `inputs` and `instances`, are refused: MLflow hands on their base64 as if it were the bytes.

    Args:
        body: The whole body.
        most: Photos that a request may hold.

    Raises:
        RefusalError: No JSON, of another shape, no base64, no photo, or too many.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RefusalError(400, f"The body is no JSON: {str(error)[:200]}. Send {_FORMS}.") from error
    texts = _counted(_texts(content), most)
    return [_decoded(index, text) for index, text in enumerate(texts)]


def _texts(content: Any) -> list[Any]:
    if not isinstance(content, dict) or not content.keys() <= {"dataframe_records", "dataframe_split", "params"}:
        raise RefusalError(400, f"The JSON has another shape than {_FORMS}.")
    match content:
        case {"dataframe_records": list(records), **rest} if "dataframe_split" not in rest:
            if all(isinstance(record, dict) and record.keys() == {PHOTO} for record in records):
                return [record[PHOTO] for record in records]
        case {"dataframe_split": {"columns": [column], "data": list(rows), **rest}, **others} if (
            column == PHOTO and not rest and "dataframe_records" not in others
        ):
            if all(isinstance(row, list) and len(row) == 1 for row in rows):
                return [row[0] for row in rows]
    raise RefusalError(400, f"The JSON has another shape than {_FORMS}.")


def _decoded(index: int, text: Any) -> bytes:
    if not isinstance(text, str):
        raise RefusalError(400, f"Photo {index}: {type(text).__name__} instead of a text of base64.")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RefusalError(400, f"Photo {index}: not base64 ({str(error)[:100]}).") from error


def _counted(photos: list[Any], most: int) -> list[Any]:
    if not photos:
        raise RefusalError(400, "The request holds no photo.")
    if len(photos) > most:
        raise RefusalError(413, f"The request holds more photos than the {most} that are taken at most.")
    return photos


def confidence_of(text: Any) -> float | None:
    """A confidence that a request asks for, above 0 and below 1; None for none.

    Raises:
        RefusalError: No such number.
    """
    if text is None:
        return None
    try:
        value = float(text) if not isinstance(text, bool) else -1.0
    except (TypeError, ValueError):
        value = -1.0
    if not 0 < value < 1:
        raise RefusalError(400, f"The confidence {str(text)[:50]!r} is no number between 0 and 1.")
    return value
