"""Tensors of the Open Inference Protocol as Python values and back, in JSON and in binary form."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

from driftbook.prediction_request import describe
from driftbook.problems import invalid

# struct's code by datatype; BYTES is told apart below.
CODES = {
    "BOOL": "?",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}
BYTES = "BYTES"
NUMBERS = frozenset(CODES) - {"BOOL"}


def decode(datatype: str, raw: bytes, field: str) -> list[Any]:
    """Return the values of a tensor in binary form: little-endian, row by row.

    A NaN is a missing value, ``None``: the binary form has no other way to say so.

    Raises:
        ProblemError: the bytes are no whole number of values, or no UTF-8 text.
    """
    if datatype == BYTES:
        return _decode_texts(raw, field)
    size = struct.calcsize(f"<{CODES[datatype]}")
    if len(raw) % size:
        raise invalid(
            [
                {
                    "field": field,
                    "expected": f"a multiple of {size} bytes",
                    "found": f"{len(raw)} bytes",
                }
            ]
        )
    values = struct.unpack(f"<{len(raw) // size}{CODES[datatype]}", raw)
    if datatype.startswith("FP"):
        return [None if math.isnan(value) else value for value in values]
    return list(values)


def _decode_texts(raw: bytes, field: str) -> list[str]:
    texts: list[str] = []
    position = 0
    while position < len(raw):
        start = position + 4
        # A cut-off length reads as a short number, which the next check refuses.
        size = int.from_bytes(raw[position:start], "little")
        position = start + size
        try:
            if position > len(raw):
                raise ValueError("cut off")
            texts.append(raw[start:position].decode())
        except ValueError as error:
            expected = "four bytes of length, then as many bytes of UTF-8 text, for each value"
            found = "other bytes"
            raise invalid([{"field": field, "expected": expected, "found": found}]) from error
    return texts


def encode(datatype: str, values: Sequence[Any]) -> bytes:
    r"""Return the values in binary form.

    >>> encode("BYTES", ["ab"]), encode("INT32", [1])
    (b'\x02\x00\x00\x00ab', b'\x01\x00\x00\x00')
    """
    if datatype == BYTES:
        texts = [str(value).encode() for value in values]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return struct.pack(f"<{len(values)}{CODES[datatype]}", *values)


def shape_of(tensor: dict[str, Any], field: str) -> list[int]:
    """Return the tensor's shape: one or two numbers of at least 1.

    Raises:
        ProblemError: the shape is missing or another.
    """
    shape = tensor.get("shape")
    if type(shape) is not list or len(shape) not in (1, 2) or not all(map(_is_length, shape)):
        expected = "the number of rows, or of rows and columns, each at least 1"
        found = describe(shape)
        raise invalid([{"field": f"{field}.shape", "expected": expected, "found": found}])
    return [int(n) for n in shape]


def _is_length(value: Any) -> bool:
    return type(value) in (int, float) and 1 <= value <= 2**53 and value == int(value)
