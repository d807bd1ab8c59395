"""Which files of the label drop, also in archives, name a photo or are a copy of it; they are the annotators' own."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import PurePosixPath
from urllib.parse import quote

import polars as pl

from mlops_assets.erasure.places import Places
from mlops_assets.labels.archives import is_archive, members
from mlops_assets.labels.drop import DropFile, list_drop
from mlops_assets.labels.items import IMAGE_SUFFIXES, LabelFormatError, ReadRules
from mlops_assets.labels.matching import match_photos
from mlops_assets.labels.parsed import Parsed
from mlops_assets.labels.reading import open_archive, read_labels
from mlops_assets.photos.schema import RAW_PHOTOS

_LARGEST_LABEL_FILE = 512 * 1024**2


def in_label_drop(places: Places, photo_id: str, names: Sequence[str]) -> list[str]:
    """Files of the label drop that mean the photo, hold its name or are a copy of it, sorted.

    A file within an archive is `<archive>/<member>`; a file that cannot be looked into is named with the reason.

    Args:
        places: Whose label drop.
        photo_id: Of the photo.
        names: `<enclosure>/<file>` of its uploads, as far as they are still known.
    """
    files = list_drop(places.label_drop)
    found = {source for file in files for source in _holding(file, photo_id, names)}
    return sorted(found | _meaning(places, files, photo_id))


def _meaning(places: Places, files: Sequence[DropFile], photo_id: str) -> set[str]:
    """Label files that the import would find to be of this photo if it were still there."""
    tombstone = places.photos.tombstones().get(photo_id)
    if tombstone is None:
        return set()
    rules = ReadRules(**places.use_case.labels.model_dump())
    parsed, _ = read_labels(files, rules, Parsed.empty())
    columns = ["photo_id", "landing_uri"]
    landed = pl.col("status").is_in(["accepted", "duplicate"]) & (pl.col("photo_id") != photo_id)
    photos = places.tables.read_days("raw_photos", RAW_PHOTOS, columns=columns, where=landed).drop("day")
    labelled = pl.concat(part.select("source", "reference") for part in (parsed.photos, parsed.problems)).drop_nulls()
    matched = match_photos(labelled["reference"], photos, dict.fromkeys(tombstone.names, photo_id))
    return set(labelled.join(matched.filter(pl.col("photo_id") == photo_id), on="reference", how="semi")["source"])


def _holding(file: DropFile, photo_id: str, names: Sequence[str]) -> Iterator[str]:
    if _is_named(file.source, photo_id, names):
        yield file.source
    elif is_archive(file.source):
        yield from _in_archive(file, photo_id, names)
    elif file.byte_size > _LARGEST_LABEL_FILE:
        yield f"{file.source} (too large to be looked into)"
    else:
        try:
            content = file.read_bytes()
        except OSError as error:
            yield f"{file.source} (cannot be looked into: {type(error).__name__})"
        else:
            if _holds(file.source, content, photo_id, names):
                yield file.source


def _in_archive(file: DropFile, photo_id: str, names: Sequence[str]) -> Iterator[str]:
    try:
        with open_archive(file) as opened:
            for member in members(opened, lambda _: True):
                source = f"{file.source}/{member.name}"
                try:
                    if _is_named(source, photo_id, names) or _holds(source, member.read(), photo_id, names):
                        yield source
                except LabelFormatError as error:
                    yield f"{source} (cannot be looked into: {error})"
    except LabelFormatError as error:
        yield f"{file.source} (cannot be looked into: {error})"


def _is_named(source: str, photo_id: str, names: Sequence[str]) -> bool:
    """Whether a path says the photo's name, with any suffix: a YOLO file has that of its photo."""
    stem = f"/{PurePosixPath(source).with_suffix('')}"
    return photo_id in source or any(stem.endswith(f"/{PurePosixPath(name).with_suffix('')}") for name in names)


def _holds(source: str, content: bytes, photo_id: str, names: Sequence[str]) -> bool:
    if source.lower().endswith(IMAGE_SUFFIXES):
        return hashlib.sha256(content).hexdigest() == photo_id
    return any(text in content for name in (photo_id, *names) for text in _spellings(name))


def _spellings(name: str) -> set[bytes]:
    """A name as text, JSON, XML and addresses spell it."""
    return {
        text.encode()
        for text in (name, json.dumps(name)[1:-1], escape(name, quote=False), quote(name), quote(name, safe=""))
    }
