"""Arrow arrays from numpy arrays and from Python values. (`pa.array` imports pandas, which takes half a second.)"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

_DTYPES: Final = {
    pa.int16(): np.int16, pa.int32(): np.int32, pa.int64(): np.int64, pa.float64(): np.float64, pa.bool_(): np.bool_,
}  # fmt: skip


def array(values: np.ndarray[Any, Any], null: np.ndarray[Any, Any] | None = None) -> pa.Array:
    """A numpy array as Arrow, null where `null` is true. It shares the buffer."""
    if values.dtype == bool:
        bits = np.packbits(values, bitorder="little")
        return pa.Array.from_buffers(pa.bool_(), len(values), [_valid(null), pa.py_buffer(bits)])
    kept = np.ascontiguousarray(values)
    return pa.Array.from_buffers(pa.from_numpy_dtype(kept.dtype), len(kept), [_valid(null), pa.py_buffer(kept)])


def dictionary(
    codes: np.ndarray[Any, Any], names: Sequence[str], null: np.ndarray[Any, Any] | None = None
) -> pa.DictionaryArray:
    """The texts `names[code]`, null where `null` is true."""
    return pa.DictionaryArray.from_arrays(array(codes.astype(np.int32), null), texts(names))


def constant(name: str, rows: int) -> pa.DictionaryArray:
    """The same text so many times."""
    return dictionary(np.zeros(rows, np.int32), [name])


def texts(values: Sequence[str], null: np.ndarray[Any, Any] | None = None) -> pa.Array:
    """Texts, null where `null` is true."""
    encoded = [text.encode("utf-8", "replace") for text in values]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    buffers = [_valid(null), pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(encoded), buffers)


def column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Python values of one type, with None for null."""
    null = np.fromiter((value is None for value in values), bool, len(values))
    if pa.types.is_dictionary(kind):
        codes = {text: code for code, text in enumerate(dict.fromkeys(values))}
        names = ["" if text is None else text for text in codes]
        return dictionary(np.fromiter(map(codes.__getitem__, values), np.int32, len(values)), names, null)
    if pa.types.is_string(kind):
        return texts(["" if value is None else value for value in values], null)
    return array(np.array([value or 0 for value in values], _DTYPES[kind]), null)


def _valid(null: np.ndarray[Any, Any] | None) -> pa.Buffer | None:
    return pa.py_buffer(np.packbits(~null, bitorder="little")) if null is not None and null.any() else None
