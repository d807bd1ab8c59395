"""When two class names are the same, and when they are so alike that a person should look.

Folded names that are equal are one class. Names that are alike may be a typo, a plural or two things; nothing here
decides which.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

_SEPARATORS = re.compile(r"[\s_\-]+")
_NUMBERS, _LETTERS = re.compile(r"\d+"), re.compile(r"[^\W\d_]")
_PLURALS = ("ies", "y"), ("ses", "s"), ("xes", "x"), ("ches", "ch"), ("shes", "sh"), ("s", "")
_SHORTEST_PLURAL = 4
"""Letters: `bus` and `gas` are no plurals."""

_LONGEST_CODE = 3
"""Letters beside a number, as in `me4024`, that are part of a product's code rather than a word."""


def fold_name(name: str) -> str:
    """Form of a class name that is compared: Unicode NFC; case, spaces, underscores and hyphens make no difference."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
    return _SEPARATORS.sub(" ", folded).strip()


def likeness(first: str, second: str) -> float:
    """How alike two class names are, 0 to 1.

    1 less the edits (a letter added, left out, changed, or two neighbours swapped: optimal string alignment, L. Boytsov
    2011, "Indexing methods for approximate dictionary searching", ACM JEA 16) by the length of the longer, without
    separators and with every word in the singular. Names whose numbers, product codes or single letters differ mean
    different things, `port_24` and `port_48`, and get 0.
    """
    from rapidfuzz.distance import OSA

    (first_marks, first_core), (second_marks, second_core) = _form(first), _form(second)
    if first_marks != second_marks:
        return 0.0
    return float(OSA.normalized_similarity(first_core, second_core))


def closest(name: str, others: Iterable[tuple[int, str]], threshold: float) -> int | None:
    """The class with the name most like one, None without any as alike as `threshold`; of equals the lowest id.

    Args:
        name: Class name.
        others: Ids of other classes with their names; an id may come with several.
        threshold: Least likeness.
    """
    found = [(-score, class_id) for class_id, other in others if (score := likeness(name, other)) >= threshold]
    return min(found)[1] if found else None


@lru_cache(maxsize=10_000)
def _form(name: str) -> tuple[tuple[str, ...], str]:
    folded = fold_name(name)
    return tuple(_variants(folded)), "".join(map(_singular, folded.split(" ")))


def _variants(folded: str) -> list[str]:
    """What tells one maker's products apart: numbers, the few letters beside them, single letters."""
    marks: list[str] = []
    for word in folded.split(" "):
        numbers, letters = _NUMBERS.findall(word), "".join(_LETTERS.findall(word))
        marks += numbers
        if len(letters) == 1 or (numbers and len(letters) <= _LONGEST_CODE):
            marks.append(letters)
    return marks


def _singular(word: str) -> str:
    if len(word) >= _SHORTEST_PLURAL:
        for ending, instead in _PLURALS:
            if word.endswith(ending) and not word.endswith("ss"):
                return word.removesuffix(ending) + instead
    return word
