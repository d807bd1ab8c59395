"""A table as canonical bytes, by which the same content has the same SHA-256 on every machine and with every library.

Nothing of polars' own memory layout or hashes goes in: only values, as written down in `digest_of`.
"""

import hashlib
from collections.abc import Iterator

import numpy as np
import polars as pl

_SLICE = 65_536
"""Rows that are written out at once; part of the format."""


def digest_of(frame: pl.DataFrame) -> bytes:
    """SHA-256 of a table whose order of rows and columns makes no difference.

    Columns go by name, rows sorted by all of them, nulls first. Of every 65,536 rows each column is written in turn: a
    bit a row for nulls (first row highest), then the values, null as zero or empty. Integers are 8 bytes, floats IEEE
    754 in 8 bytes with -0.0 as 0.0, both little-endian; texts are their lengths in bytes as integers, then UTF-8.

    Raises:
        ValueError: A float is NaN, which would not compare.
        TypeError: A column is neither text nor number.
    """
    names = sorted(frame.columns)
    plain = frame.select(_plain(frame, name) for name in names)
    types = ",".join(f"{name}:{_kind(plain[name])}" for name in names)
    digest = hashlib.sha256(f"{frame.height} {types}\n".encode())
    for rows in plain.sort(names, nulls_last=False).iter_slices(_SLICE):
        for column in rows.iter_columns():
            for part in _written(column):
                digest.update(part)
    return digest.digest()


def _kind(column: pl.Series) -> str:
    if column.dtype.is_integer():
        return "integer"
    if column.dtype.is_float():
        return "float"
    if column.dtype == pl.String:
        return "text"
    raise TypeError(f"Column {column.name} is {column.dtype}: only texts and numbers have canonical bytes")


def _plain(frame: pl.DataFrame, name: str) -> pl.Expr:
    if not frame[name].dtype.is_float():
        return pl.col(name)
    if frame[name].is_nan().any():
        raise ValueError(f"Column {name} holds NaN, which has no canonical form: correct or leave out these rows")
    return pl.col(name).cast(pl.Float64) + 0.0


def _written(column: pl.Series) -> Iterator[bytes]:
    yield np.packbits(column.is_null().to_numpy()).tobytes()
    kind = _kind(column)
    if kind == "text":
        text = column.fill_null("")
        yield text.str.len_bytes().to_numpy().astype("<i8").tobytes()
        yield str(text.str.join("").item()).encode()
    else:
        yield column.fill_null(0).to_numpy().astype("<i8" if kind == "integer" else "<f8").tobytes()
