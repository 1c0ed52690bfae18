"""One look over the bytes of a text file: its size, encoding, first and last lines."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from pathlib import Path

from modelwright.core.errors import DataError
from modelwright.core.spec_data import ReadSpec
from modelwright.data.streams import blocks

HEAD = 1 << 18
LONGEST_RECORD = 1 << 26
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class Scanned:
    """What one look over all bytes tells: their number, encoding, first and last lines."""

    size: int
    encoding: str
    head: str
    tail: str
    note: str = ""


def scan(path: Path, read: ReadSpec) -> Scanned:
    """One pass over the bytes: size, encoding, first and last lines."""
    start = _first_bytes(path, read)
    encoding, note = read.encoding or _marked(start), ""
    _refuse_other_formats(start, path)
    size, tail, line, decoder = 0, b"", 1, codecs.getincrementaldecoder("utf-8")()
    guess = encoding is None
    for block in blocks(path, read.member):
        size += len(block)
        tail = (tail + block)[-HEAD:]
        if guess and encoding is None and not (block.isascii() and not decoder.getstate()[0]):
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                line += block[: error.start].count(b"\n")
                encoding = _single_byte(start + block)
                note = f"{encoding} (line {line} is not UTF-8)"
        if encoding is None:
            line += block.count(b"\n")
    encoding = encoding or "utf-8"
    return Scanned(size, encoding, *_ends(start, tail, size, encoding, path), note)


def _first_bytes(path: Path, read: ReadSpec) -> bytes:
    """The head of the file, and more of it where one line is longer."""
    start = b""
    for block in blocks(path, read.member, HEAD):
        start += block
        if start.count(b"\n") > 1 or b"\r" in start or len(start) > LONGEST_RECORD:
            break
    return start


def _ends(start: bytes, tail: bytes, size: int, encoding: str, path: Path) -> tuple[str, str]:
    """First and last lines as text; a line that was cut is left out."""
    try:
        codecs.lookup(encoding)
        head = codecs.getincrementaldecoder(encoding)(errors="replace").decode(start)
    except (LookupError, UnicodeError) as error:
        raise DataError(
            f"data.read.encoding {encoding!r} does not fit {path.name}: {error}.",
            hint="Wanted a name such as utf-8, cp1252 or utf-16.",
        ) from error
    head = one_newline(head.removeprefix("\ufeff").encode()).decode()
    if size > len(start):
        head = head.rpartition("\n")[0] + "\n"
    wide = 2 if "16" in encoding else 4 if "32" in encoding else 1
    last = tail[-(len(tail) // wide * wide) :].decode(_without_mark(encoding, start), "replace")
    lines = one_newline(last.encode()).decode().rstrip("\n").split("\n")
    complete = lines if size <= len(tail) else lines[1:]
    return head, "\n".join(complete[-60:])


def _without_mark(encoding: str, start: bytes) -> str:
    """The encoding for text from the middle of a file, where no mark tells the byte order."""
    if encoding == "utf-16":
        return "utf-16-be" if start.startswith(codecs.BOM_UTF16_BE) else "utf-16-le"
    return encoding


def _marked(start: bytes) -> str | None:
    """The encoding that a byte-order mark, or the zero bytes of UTF-16, give away."""
    for mark, encoding in _BOMS:
        if start.startswith(mark):
            return encoding
    sample = start[:4096]
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if odd > 0.3 * len(sample) / 2 and even < 0.05 * len(sample):
        return "utf-16-le"
    if even > 0.3 * len(sample) / 2 and odd < 0.05 * len(sample):
        return "utf-16-be"
    return None


def _single_byte(data: bytes) -> str:
    """cp1252, unless the text has bytes that mean nothing there."""
    return "latin-1" if re.search(rb"[\x81\x8d\x8f\x90\x9d]", data) else "cp1252"


def _refuse_other_formats(start: bytes, path: Path) -> None:
    if not start.strip():
        raise DataError(f"{path.name} is empty.", hint="Wanted a header line and data below it.")
    if start[:4] == b"PAR1":
        raise DataError(f"{path.name} is Parquet, not text.", hint="Rename it to .parquet.")
    if start[:6] == b"ARROW1":
        raise DataError(f"{path.name} is Arrow, not text.", hint="Rename it to .arrow.")
    if start[:4] in (b"PK\x03\x04", b"\xd0\xcf\x11\xe0"):
        raise DataError(f"{path.name} is a workbook, not text.", hint="Rename it to .xlsx.")
    if b"\x00" in start[:4096] and _marked(start) is None:
        raise DataError(
            f"{path.name} is not text: it holds zero bytes.", hint="Save it as CSV in UTF-8."
        )


def one_newline(text: bytes) -> bytes:
    """Lines end with a line feed only; a lone carriage return was one on old Macs."""
    if b"\r" not in text:
        return text
    return text.replace(b"\r\n", b"\n") if b"\n" in text else text.replace(b"\r", b"\n")
