"""How a text file is encoded: UTF-8, GB18030 (read, with a note), or something that must not be guessed."""

from __future__ import annotations

import codecs
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

CHUNK = 1 << 22
MIN_PAIRED = 0.9
"""Share of the bytes above ASCII that must come in GB2312 pairs before a file is taken for Chinese."""


@dataclass(frozen=True)
class Encoding:
    """What was found."""

    name: str
    """"utf-8", "gb18030", or "" where the file must be refused."""
    row: int | None = None
    """First data row that is not UTF-8."""
    shown: str = ""
    """The offending bytes."""
    problem: str = ""


def detect(path: Path) -> Encoding:
    """Find the encoding of a text file (or one inside .gz).

    A file is GB18030 when no line of it holds Chinese as UTF-8, it decodes from first to last byte, and what lies above
    ASCII comes in pairs; a file with both kinds of lines, or of another encoding, is named with its first such row.

    Raises:
        OSError: the file cannot be read, also where the compressed file is cut short (EOFError for gzip).
    """
    with open_binary(path) as stream:
        head = stream.read(2)
    if head in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return Encoding("", None, head.hex(" "), "the file is UTF-16")
    return Encoding("utf-8") if _is_utf8(path) else _other(path)


def open_binary(path: Path) -> BinaryIO:
    """The bytes of the file, unpacked where its name ends in .gz."""
    return cast("BinaryIO", gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def to_utf8(path: Path, target: Path) -> None:
    """Write the GB18030 file `path` as UTF-8 to `target`."""
    decoder = codecs.getincrementaldecoder("gb18030")()
    with open_binary(path) as source, target.open("wb") as out:
        for chunk in _chunks(source):
            out.write(decoder.decode(chunk).encode("utf-8"))
        out.write(decoder.decode(b"", final=True).encode("utf-8"))


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK):
        yield chunk


def _is_utf8(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with open_binary(path) as stream:
            for chunk in _chunks(stream):
                decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _other(path: Path) -> Encoding:
    """A file that is not UTF-8 throughout."""
    first: Encoding | None = None
    chinese_utf8 = False
    paired = above = 0
    with open_binary(path) as stream:
        for number, line in enumerate(stream):
            if line.isascii():
                continue
            if _utf8(line):
                chinese_utf8 = chinese_utf8 or _has_three_byte(line)
                continue
            first = first or _named(number, line)
            above += sum(byte >= 0x80 for byte in line)
            paired += _paired(line)
    assert first is not None  # noqa: S101 - _is_utf8 said that some line is not
    if chinese_utf8:
        return Encoding("", first.row, first.shown, "encodings are mixed: other rows are UTF-8, this one is not")
    if paired >= MIN_PAIRED * above and _decodes(path):
        return Encoding("gb18030", first.row, first.shown)
    return Encoding("", first.row, first.shown, "the row is not UTF-8")


def _utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _has_three_byte(line: bytes) -> bool:
    return any(character > "\u07ff" for character in line.decode("utf-8"))


def _named(number: int, line: bytes) -> Encoding:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        shown = f"byte 0x{line[error.start]:02x} at position {error.start + 1} of the line"
        return Encoding("", number or None, shown, "")
    return Encoding("")


def _paired(line: bytes) -> int:
    """Bytes that belong to a GB2312 pair (both bytes 0xA1…0xFE)."""
    count = position = 0
    while position < len(line) - 1:
        if 0xA1 <= line[position] <= 0xFE and 0xA1 <= line[position + 1] <= 0xFE:
            count += 2
            position += 2
        else:
            position += 1
    return count


def _decodes(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("gb18030")()
    try:
        with open_binary(path) as stream:
            for chunk in _chunks(stream):
                decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True
