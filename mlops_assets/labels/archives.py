"""Zip archives in the label drop, read member by member in memory: nothing is ever written where a member says.

Archives come from outside, so their size in memory is bounded whatever they claim, and what cannot be trusted is
refused with its reason. The members that hold labels are read; pictures beside them are passed over unread.
"""

import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

from mlops_assets.labels.items import LabelFormatError

ZIP_SUFFIXES = (".zip",)
MAX_MEMBERS = 500_000
MAX_MEMBER_BYTES = 1024**3
"""Of one label file, uncompressed; a million boxes of COCO take about 200 MB."""
MAX_TOTAL_BYTES = 4 * 1024**3
"""Of all label files of one archive, uncompressed."""
MAX_ARCHIVE_BYTES = 2 * 1024**3
"""Of an archive in an object store, which is read whole; one in a folder is read where it lies, however large."""
MAX_RATIO = 250
"""Uncompressed to compressed size of a member above 1 MiB: JSON and XML reach 50, a bomb of one repeated byte 1,000."""

_RATIO_COUNTS_FROM = 1024**2
_ZIP_IN_ZIP = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
_EXPORT_AGAIN = "make the archive again from the exported files"

BROKEN = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, NotImplementedError),
    *(ValueError, LookupError, OverflowError, OSError),
)
"""What zipfile raises on archives that are damaged in one way or another."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive.

    Attributes:
        name: `/`-separated path within the archive.
        read: Gives its content, or raises LabelFormatError.
    """

    name: str
    read: Callable[[], bytes]


def is_archive(source: str) -> bool:
    """Whether a file is taken for a zip archive, by its name."""
    return source.lower().endswith(ZIP_SUFFIXES)


def members(file: BinaryIO, is_wanted: Callable[[str], bool]) -> Iterator[Member]:
    """The wanted members of an archive, by name.

    Args:
        file: The archive, seekable; it must stay open while members are read.
        is_wanted: Whether a member of this name is; the others are neither judged nor read.

    Yields:
        Members; `read` of one that is refused raises LabelFormatError with the reason, and so does one whose content
        is damaged or larger than the limits.

    Raises:
        LabelFormatError: No archive, or one that is too large as a whole.
    """
    try:
        archive = zipfile.ZipFile(file)
        listed = archive.infolist()
    except BROKEN as error:
        raise LabelFormatError(f"a damaged zip archive: {error}", _EXPORT_AGAIN) from error
    if len(listed) > MAX_MEMBERS:
        raise LabelFormatError(f"an archive of {len(listed):,} files, more than {MAX_MEMBERS:,}", "divide the archive")
    wanted = [info for info in listed if not info.filename.endswith("/") and is_wanted(info.filename)]
    total = sum(info.file_size for info in wanted)
    if total > MAX_TOTAL_BYTES:
        raise LabelFormatError(
            f"an archive whose label files have {total:,} bytes, more than {MAX_TOTAL_BYTES:,}", "divide the archive"
        )
    seen: set[str] = set()
    for info in sorted(wanted, key=lambda info: info.filename):
        name = info.filename.replace("\\", "/")
        yield Member(_printable(name), _reader(archive, info, name in seen))
        seen.add(name)


def _reader(archive: zipfile.ZipFile, info: zipfile.ZipInfo, again: bool) -> Callable[[], bytes]:
    def read() -> bytes:
        _refuse(info, again)
        try:
            with archive.open(info) as member:
                content = member.read(MAX_MEMBER_BYTES + 1)
        except BROKEN as error:
            raise LabelFormatError(f"a damaged member of an archive: {error}", _EXPORT_AGAIN) from error
        if len(content) > MAX_MEMBER_BYTES:
            raise LabelFormatError("a member that is larger than it says", _EXPORT_AGAIN)
        return content

    return read


def _refuse(info: zipfile.ZipInfo, again: bool) -> None:
    name = info.filename.replace("\\", "/")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if not name:
        raise LabelFormatError("a member without a name", _EXPORT_AGAIN)
    if info.flag_bits & 0x1:
        raise LabelFormatError("an encrypted member of an archive", "make the archive without a password")
    if name.startswith("/") or ".." in PurePosixPath(name).parts or ":" in name.split("/")[0]:
        raise LabelFormatError("a member whose path leads out of its archive", _EXPORT_AGAIN)
    if kind not in (0, stat.S_IFREG):
        raise LabelFormatError("a member that is a link or device", "put the file itself into the archive")
    if again:
        raise LabelFormatError("a member whose name is in the archive already", "give each file a name of its own")
    if name.lower().endswith(_ZIP_IN_ZIP):
        raise LabelFormatError("an archive within an archive", "put it into the label drop by itself")
    if info.file_size > MAX_MEMBER_BYTES:
        raise LabelFormatError(f"a member of {info.file_size:,} bytes, more than {MAX_MEMBER_BYTES:,}", "divide it")
    if info.file_size > _RATIO_COUNTS_FROM and info.file_size > MAX_RATIO * max(info.compress_size, 1):
        raise LabelFormatError(
            f"a member that says to be {info.file_size // max(info.compress_size, 1)} times as large as it is packed, "
            "as archives are that are made to fill memory",
            "put the file into the label drop without an archive",
        )


def _printable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
