"""How a landed file is refused: a reason and a remedy in words for the person who put it there."""

from collections.abc import Callable


class QuarantineError(ValueError):
    """A landed file cannot become a photo of the catalogue.

    Attributes:
        reason: What is wrong with the file.
        remedy: What a person can do about it.
        width: Pixels, upright, where the file got far enough to tell; else None.
        height: Likewise.
    """

    def __init__(self, reason: str, remedy: str, *, width: int | None = None, height: int | None = None) -> None:
        super().__init__(f"{reason} {remedy}")
        self.reason = reason
        self.remedy = remedy
        self.width = width
        self.height = height

    def __reduce__(self) -> tuple[Callable[..., "QuarantineError"], tuple[object, ...]]:
        """What pickle calls again: an exception alone is rebuilt from its message, which is two arguments here."""
        return _rebuilt, (self.reason, self.remedy, self.width, self.height)


def _rebuilt(reason: str, remedy: str, width: int | None, height: int | None) -> QuarantineError:
    return QuarantineError(reason, remedy, width=width, height=height)


def in_words(error: BaseException) -> str:
    """A library's message as one line that any table can hold."""
    message = " ".join(str(error).split()) or type(error).__name__
    return message.encode("utf-8", "backslashreplace").decode("utf-8")[:300]
