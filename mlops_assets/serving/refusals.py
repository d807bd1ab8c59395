"""Why a request is not answered with boxes: an HTTP status and a reason in words, as MLflow's server says it."""

import json

_CODES = {
    400: "INVALID_PARAMETER_VALUE",
    404: "ENDPOINT_NOT_FOUND",
    408: "REQUEST_TIMEOUT",
    405: "METHOD_NOT_ALLOWED",
    413: "REQUEST_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
}

FAILED = "The server failed; its log says why."


class RefusalError(Exception):
    """A request is refused.

    Attributes:
        status: HTTP status.
        reason: What is wrong, and what would be right.
        headers: Of the answer, such as Retry-After.
    """

    def __init__(self, status: int, reason: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers or {}

    def body(self) -> bytes:
        """JSON with the keys of MLflow's own errors."""
        return json.dumps({"error_code": _CODES[self.status], "message": self.reason}).encode()
