"""From the files of the label drop to what they hold; files that did not change since they were read are not opened.

What is kept from import to import, and how, is in `parsed`; which photo a label means is for `matching`.
"""

import gc
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import polars as pl

from mlops_assets.code_versions import code_version
from mlops_assets.labels.archives import MAX_ARCHIVE_BYTES, Member, is_archive, members
from mlops_assets.labels.drop import DropFile, is_companion, is_hidden
from mlops_assets.labels.formats import parse_labels
from mlops_assets.labels.items import LabelFormatError, LabelProblem, ParsedLabels, ReadRules
from mlops_assets.labels.parsed import FILES, KEY, Collector, Parsed
from mlops_assets.labels.yolo import NAMES_REMEDY, is_names_file, read_class_names

READERS = 8
"""Files read at a time; reading from an object store is waiting, mostly."""

LARGE_FILE_BYTES = 256 * 1024
"""A larger file is read by itself: as Python objects JSON takes ten times its size."""

_CHUNK = 50
_AT_ONCE = 40 * _CHUNK

ClassNames = dict[int, str] | LabelFormatError

_Keyed = tuple[DropFile, tuple[object, ...]]
"""A file with its values of KEY."""


def label_files(files: Iterable[DropFile]) -> list[DropFile]:
    """Those that hold labels, or should."""
    return [file for file in files if not is_companion(file.source)]


def read_labels(files: Sequence[DropFile], rules: ReadRules, before: Parsed) -> tuple[Parsed, int]:
    """What the label files of a drop hold.

    Args:
        files: All files of the drop.
        rules: How to read.
        before: What was read earlier; files that are the same are not read again.

    Returns:
        What they hold, and how many of them were read.

    Raises:
        OSError: The drop cannot be read; single files that are gone or forbidden are problems.
    """
    names = _NamesInReach(files, rules)
    labels = label_files(files)
    keys = _keys(labels, rules, names)
    same = before.files.join(keys.drop("position"), on=KEY, how="semi", nulls_equal=True)
    positions = keys.join(same, on=KEY, how="anti", nulls_equal=True).sort("position")["position"]
    kept = before.only(same["file_id"])
    if positions.is_empty():
        return kept, 0
    fresh = [
        (labels[position], key)
        for position, key in zip(positions, keys[positions].select(KEY).iter_rows(), strict=True)
    ]
    with _no_search_for_cycles():
        return kept.with_more(_read_all(fresh, rules, names)), len(fresh)


def _read_all(fresh: Sequence[_Keyed], rules: ReadRules, names: "_NamesInReach") -> Parsed:
    """Large files one after the other, then the small ones, several at a time."""
    collector = Collector()
    for file, key in fresh:
        if file.byte_size > LARGE_FILE_BYTES:
            collector.add(key, read_file(file, rules, names))
    small = [(file, key) for file, key in fresh if file.byte_size <= LARGE_FILE_BYTES]
    read_chunk = partial(_read_chunk, rules=rules, names=names)
    with ThreadPoolExecutor(READERS) as pool:
        for at in range(0, len(small), _AT_ONCE):
            chunks = [small[start : start + _CHUNK] for start in range(at, min(at + _AT_ONCE, len(small)), _CHUNK)]
            for chunk, held in zip(chunks, pool.map(read_chunk, chunks), strict=True):
                for (_, key), parsed in zip(chunk, held, strict=True):
                    collector.add(key, parsed)
    return collector.parsed()


@contextmanager
def _no_search_for_cycles() -> Iterator[None]:
    """What parsers make holds no reference cycles; searching millions of objects for them takes half of the time."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def read_file(file: DropFile, rules: ReadRules, names: "_NamesInReach") -> Iterator[ParsedLabels]:
    """What one label file holds; of an archive, member by member."""
    try:
        if is_archive(file.source):
            yield from _read_archive(file, rules, names)
        else:
            yield parse_labels(file.source, _content(file), names.of(file.source), rules)
    except LabelFormatError as error:
        yield _one_problem(file.source, error)


def _read_chunk(chunk: Sequence[_Keyed], rules: ReadRules, names: "_NamesInReach") -> list[list[ParsedLabels]]:
    return [list(read_file(file, rules, names)) for file, _ in chunk]


def _keys(labels: Sequence[DropFile], rules: ReadRules, names: "_NamesInReach") -> pl.DataFrame:
    """KEY and position in the drop of each file."""
    settings = hashlib.sha256(repr(rules).encode()).hexdigest()[:8]
    version = f"{code_version(__name__, 'read_file', image='cpu')}-{settings}"
    columns = {
        "source": [file.source for file in labels],
        "byte_size": [file.byte_size for file in labels],
        "modified_at": [file.modified_at for file in labels],
        "etag": [file.etag for file in labels],
        "read_by": [
            f"{version}-{names.digest(file.source)}" if _needs_names(file.source) else version for file in labels
        ],
    }
    schema = {column: FILES[column] for column in KEY}
    return pl.DataFrame(columns, schema=schema).with_row_index("position")


def _needs_names(source: str) -> bool:
    return source.lower().endswith(".txt") or is_archive(source)


def _content(file: DropFile) -> bytes:
    try:
        return file.read_bytes()
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise _unreadable(error) from error


def _unreadable(error: OSError) -> LabelFormatError:
    return LabelFormatError(
        f"cannot be read: {type(error).__name__}", "put the file itself into the label drop, readable"
    )


def _one_problem(source: str, error: LabelFormatError) -> ParsedLabels:
    return ParsedLabels(problems=[LabelProblem(source, "", str(error), error.remedy)])


@contextmanager
def open_archive(file: DropFile) -> Iterator[BinaryIO]:
    """An archive as a file in which one can seek.

    Raises:
        LabelFormatError: It cannot be read, or is too large to be taken out of an object store.
    """
    if file.local is not None:
        with ExitStack() as stack:
            try:
                opened = stack.enter_context(Path(file.local).open("rb"))
            except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
                raise _unreadable(error) from error
            yield opened
        return
    if file.byte_size > MAX_ARCHIVE_BYTES:
        raise LabelFormatError(f"an archive of {file.byte_size:,} bytes", "divide it, or leave the pictures out of it")
    yield io.BytesIO(_content(file))


def _read_archive(file: DropFile, rules: ReadRules, names: "_NamesInReach") -> Iterator[ParsedLabels]:
    with open_archive(file) as opened:
        inside = [Member(f"{file.source}/{member.name}", member.read) for member in members(opened, _is_label_or_names)]
        own = names.and_inside([member for member in inside if is_names_file(PurePosixPath(member.name).name)])
        for member in inside:
            if not is_companion(member.name):
                try:
                    yield parse_labels(member.name, member.read(), own.of(member.name), rules)
                except LabelFormatError as error:
                    yield _one_problem(member.name, error)


def _is_label_or_names(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    shown = not any(is_hidden(part) for part in parts if part != "..")
    return shown and (is_names_file(parts[-1]) or not is_companion(name))


class _NamesInReach:
    """Class names for YOLO text: of the nearest folder upwards within the drop entry, else of the use case."""

    def __init__(self, files: Sequence[DropFile], rules: ReadRules) -> None:
        listed = (file for file in files if is_names_file(file.source.rpartition("/")[2]))
        self._by_folder = _class_names(Member(file.source, partial(_content, file)) for file in listed)
        given = dict(enumerate(rules.yolo_class_names))
        self._default: ClassNames = given or LabelFormatError("YOLO labels without class names", NAMES_REMEDY)
        self._known: dict[str, ClassNames] = {}
        self._digests: dict[int, str] = {}

    def of(self, source: str) -> ClassNames:
        """Names for the labels of a file, or why there are none."""
        folder = source.rpartition("/")[0]
        if folder not in self._known:
            parents = [source.rsplit("/", up)[0] for up in range(1, source.count("/") + 1)]
            found = next((self._by_folder[parent] for parent in parents if parent in self._by_folder), self._default)
            self._known[folder] = found
        return self._known[folder]

    def digest(self, source: str) -> str:
        """Digest of what `of` gives for this file, or for what it holds as an archive."""
        names = self.of(source)
        key = id(names)  # those of this object live as long as it does
        if key not in self._digests:
            said = str(names) if isinstance(names, LabelFormatError) else json.dumps(names)
            self._digests[key] = hashlib.sha256(said.encode()).hexdigest()[:8]
        return self._digests[key]

    def and_inside(self, files: Iterable[Member]) -> "_NamesInReach":
        """With the names files of an archive."""
        more = _NamesInReach((), ReadRules())
        more._by_folder = {**self._by_folder, **_class_names(files)}
        more._default = self._default
        return more


def _class_names(files: Iterable[Member]) -> dict[str, ClassNames]:
    """Class names by folder of the drop; files of one folder that disagree are an error for its labels."""
    by_folder: dict[str, ClassNames] = {}
    for file in files:
        folder = file.name.rpartition("/")[0]
        try:
            names = read_class_names(file.name, file.read())
        except LabelFormatError as error:
            by_folder[folder] = error
            continue
        if names is not None and by_folder.setdefault(folder, names) != names:
            by_folder[folder] = LabelFormatError(
                f"the files with class names in {folder} disagree", "leave one of classes.txt, *.names and data.yaml"
            )
    return by_folder
