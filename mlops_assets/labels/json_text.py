"""JSON of unknown origin: parsed with every failure turned into a reason that a person can act on."""

import json
import re
from typing import Any

from mlops_assets.labels.items import LabelFormatError

_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")


def load_json(content: bytes) -> Any:
    """Parse JSON in UTF-8, UTF-16 or UTF-32.

    Raises:
        LabelFormatError: Broken, nested too deeply, or with text that is no valid Unicode.
    """
    remedy = "export the labels again; the file was cut off or damaged"
    try:
        parsed = json.loads(content)
        if _SURROGATE_ESCAPE.search(content):
            json.dumps(parsed, ensure_ascii=False).encode()
    except RecursionError:
        raise LabelFormatError("JSON nested too deeply", remedy) from None
    except UnicodeError:
        raise LabelFormatError("text that is no valid Unicode", remedy) from None
    except ValueError as error:
        raise LabelFormatError(f"broken JSON: {error}", remedy) from error
    return parsed


def objects(value: object, what: str) -> list[dict[str, Any]]:
    """Check that a value is a list of JSON objects.

    Raises:
        LabelFormatError: It is not.
    """
    if isinstance(value, list) and all(isinstance(element, dict) for element in value):
        return value
    raise LabelFormatError(f"{what} is no list of objects", "export the labels again with an unchanged format")
