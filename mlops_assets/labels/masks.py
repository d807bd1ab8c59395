"""Bounds of masks, straight from their run lengths: no picture of the mask is made, however large it says to be."""

from collections.abc import Iterable, Iterator
from itertools import chain

from mlops_assets.labels.items import BoxError, Corners

_REMEDY = "draw the mask again and export again"

Run = tuple[int, int]
"""First pixel of the object, and the first after it."""


def coco_mask_bounds(segmentation: dict[str, object]) -> Corners:
    """Bounds in pixels of a COCO mask, `{"size": [height, width], "counts": […] or "…"}`, by column.

    Counts as text are compressed as in pycocotools (`rleFrString` of cocoapi's maskApi.c).

    Raises:
        BoxError: Damaged, or empty.
    """
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not (isinstance(size, list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)):
        raise BoxError(f"a mask of the size {str(size)[:40]}", _REMEDY)
    height, width = size
    lengths = _uncompressed(counts) if isinstance(counts, str) else counts
    if not isinstance(lengths, list) or not all(type(length) is int and length >= 0 for length in lengths):
        raise BoxError("a mask whose counts are no run lengths", _REMEDY)
    if sum(lengths) > height * width:
        raise BoxError("a mask with more pixels than its size", _REMEDY)
    top, left, bottom, right = _bounds(_object_runs(lengths), height)  # rows and columns change places
    return left, top, right, bottom


def brush_bounds(rle: object, width: int, height: int) -> Corners:
    """Bounds in pixels of what Label Studio's brush has painted.

    `rle` is a list of bytes: a bit stream of the number of values (32 bits), the word size - 1 (5), four run sizes - 1
    (4 each), then blocks of a flag (1: one value repeated), the choice of a run size (2), the length - 1 and the
    values: the picture as RGBA, row by row (label-studio-converter, brush.py). A pixel counts where its alpha is not 0.

    Raises:
        BoxError: Damaged, of another size, or empty.
    """
    if not isinstance(rle, list) or not all(type(byte) is int and 0 <= byte < 256 for byte in rle):
        raise BoxError("a mask that is no list of bytes", _REMEDY)
    bits = _Bits(bytes(rle))
    if bits.take(32) != 4 * width * height:
        raise BoxError("a mask of another size than its picture", _REMEDY)
    return _bounds(_painted(bits, 4 * width * height), width)


class _Bits:
    """Reads numbers from a stream of bits, most significant first."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def take(self, count: int) -> int:
        first, end = self._at, self._at + count
        if end > 8 * len(self._content):
            raise BoxError("a mask that was cut off", _REMEDY)
        self._at = end
        chunk = int.from_bytes(self._content[first // 8 : (end + 7) // 8], "big")
        return (chunk >> (-end % 8)) & ((1 << count) - 1)


def _painted(bits: _Bits, total: int) -> Iterator[Run]:
    """Runs of pixels whose alpha, every fourth value, is not 0."""
    word = bits.take(5) + 1
    sizes = [bits.take(4) + 1 for _ in range(4)]
    at = 0
    while at < total:
        repeated = bits.take(1)
        end = at + 1 + bits.take(sizes[bits.take(2)])
        if end > total:
            raise BoxError("a mask with more pixels than its size", _REMEDY)
        if repeated:
            # alphas stand at 3, 7, 11 …: those within the run belong to these pixels
            if bits.take(word) and (end // 4) > (at // 4):
                yield at // 4, end // 4
        else:
            for position in range(at, end):
                if bits.take(word) and position % 4 == 3:
                    yield position // 4, position // 4 + 1
        at = end


def _object_runs(lengths: list[int]) -> Iterator[Run]:
    """Runs of the object; the first length is of the background, then they take turns."""
    at = 0
    for position, length in enumerate(lengths):
        if position % 2 and length:
            yield at, at + length
        at += length


def _bounds(runs: Iterable[Run], across: int) -> Corners:
    """Left, top, right, bottom of runs in a picture that is `across` pixels wide, row by row."""
    runs = iter(runs)
    first = next(runs, None)
    if first is None:
        raise BoxError("an empty mask", "delete the mask or draw it again")
    top, bottom, left, right = first[0] // across, 0, across, 0
    for start, end in chain([first], runs):
        bottom = max(bottom, (end - 1) // across + 1)
        top = min(top, start // across)
        if start // across == (end - 1) // across:
            left, right = min(left, start % across), max(right, (end - 1) % across + 1)
        else:
            left, right = 0, across
    return float(left), float(top), float(right), float(bottom)


def _uncompressed(text: str) -> list[int]:
    """Run lengths of a text.

    5 bits a character from 48 on, low ones first, the sixth says that more follow; from the fourth length on they are
    differences to the length before last.
    """
    lengths: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise BoxError("a mask whose counts are no run lengths", _REMEDY)
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        lengths.append(value + lengths[-2] if len(lengths) > 2 else value)
        value = shift = 0
    if shift:
        raise BoxError("a mask that was cut off", _REMEDY)
    return lengths
