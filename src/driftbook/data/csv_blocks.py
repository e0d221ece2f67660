"""CSV files in blocks that end with a whole record, each of which can be read by itself."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from driftbook.data.files import find_delimiter, refuse_duplicates
from driftbook.errors import UsageError

BLOCK_BYTES = 16 * 2**20
# A record longer than this is rather a quotation mark that is never closed.
_LONGEST_RECORD = 64 * 2**20
_HEAD_BYTES = 65_536
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class CsvDialect:
    """How one file is written: decided once, so that each block is read alike."""

    names: tuple[str, ...]
    delimiter: str
    encoding: str


def cut_blocks(path: str, stream: Any, size: int) -> Iterator[bytes]:
    """Yield the bytes of a file in blocks of about ``size``, each of whole records.

    A line end inside quotation marks is part of a cell.

    Raises:
        UsageError: no record ends within 64 MB.
    """
    rest = b""
    while chunk := stream.read(size):
        block = rest + chunk
        end = _find_record_end(block)
        rest = block[end:]
        if end:
            yield block[:end]
        elif len(rest) > _LONGEST_RECORD:
            raise UsageError(
                f"{path} has a record of more than {len(rest):,} bytes, as if a quotation mark "
                "were never closed; mend or remove the file"
            )
    if rest:
        yield rest


def _find_record_end(block: bytes) -> int:
    """Return where the last whole record of a block ends, which begins with a whole one."""
    end = block.rfind(b"\n") + 1
    while end and block.count(b'"', 0, end) % 2:
        end = block.rfind(b"\n", 0, end - 1) + 1
    return end


def find_dialect(path: str, stream: Any) -> CsvDialect:
    """Return how a file is written, by its first bytes.

    Raises:
        UsageError: UTF-16, or two columns of one name.
    """
    head = stream.read(_HEAD_BYTES)
    if head.startswith(_UTF16):
        raise UsageError(
            f"{path} is written in UTF-16, which cannot be cut into blocks; store it as UTF-8"
        )
    encoding = "utf-8"
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)
    except UnicodeDecodeError:
        text, encoding = head.decode("cp1252"), "cp1252"
    delimiter = find_delimiter(text)
    names = next(csv.reader(io.StringIO(text), delimiter=delimiter), [])
    refuse_duplicates(path, names)
    return CsvDialect(tuple(names), delimiter, encoding)


def parse_block(
    block: bytes, dialect: CsvDialect, columns: list[str], numbers: frozenset[str], first: bool
) -> pd.DataFrame:
    """Return the ``columns`` of a block; those of ``numbers`` as numbers where all cells are.

    All other cells are text, the empty ones missing. ``first``: the block begins with the names.
    """
    options: dict[str, Any] = {
        "sep": dialect.delimiter, "header": None, "names": list(dialect.names), "index_col": False,
        "skiprows": int(first), "usecols": columns, "encoding": dialect.encoding,
        "keep_default_na": False, "na_values": [""], "low_memory": False,
    }  # fmt: skip
    kinds: dict[str, Any] = {name: "float64" if name in numbers else "str" for name in columns}
    try:
        found = pd.read_csv(io.BytesIO(block), dtype=kinds, **options)
    except ValueError:
        # Some cell of a column of numbers holds a word: such a column is read as it is written.
        found = pd.read_csv(io.BytesIO(block), dtype=dict.fromkeys(columns, "str"), **options)
    chosen: pd.DataFrame = found[columns]
    return chosen
