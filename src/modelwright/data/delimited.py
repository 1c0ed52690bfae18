"""Delimited text files: every cell as text, whole or in batches of constant memory."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import polars as pl

from modelwright.core.errors import DataError
from modelwright.core.records import Finding
from modelwright.core.spec_data import ReadSpec
from modelwright.data.dialect import NAMES_OF, Dialect, sniff, squeeze, unwrap
from modelwright.data.streams import BLOCK, blocks

HEAD = 1 << 18
LONGEST_RECORD = 1 << 26
BROKEN_SHARE = 0.01
_OVER = "\x00over"
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass
class Broken:
    """Rows that could not be used, counted while reading."""

    rows: int = 0
    blank: int = 0
    over: int = 0
    first: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Scanned:
    """What one look over all bytes tells: their number, encoding, first and last lines."""

    size: int
    encoding: str
    head: str
    tail: str
    note: str = ""


class DelimitedFile:
    """A text table whose way of writing is known, before its rows are read.

    Attributes:
        size: bytes of text, decompressed.
        detected: what `data.read` would pin.
    """

    def __init__(self, path: Path, read: ReadSpec) -> None:
        self._path, self._read = path, read
        scanned = _scan(path, read)
        self.size = scanned.size
        self._encoding = scanned.encoding
        self.dialect: Dialect = sniff(scanned.head, scanned.tail, read, path.name)
        self.notes = _notes(path.name, scanned, self.dialect)
        self._broken = Broken()

    @property
    def detected(self) -> dict[str, object]:
        """Keys of `data.read` with what was found, defaults left out."""
        d = self.dialect
        found: dict[str, object] = {"encoding": self._encoding, "delimiter": d.delimiter}
        if d.quote != '"':
            found["quote"] = d.quote
        if not d.header:
            found["header"] = False
        for key in ("skip_rows", "skip_footer", "comment"):
            if getattr(d, key):
                found[key] = getattr(d, key)
        return found

    def batches(self, size: int = BLOCK) -> Iterator[pl.DataFrame]:
        """Frames of text columns, blank rows left out, in file order.

        Raises:
            DataError: over 1 % of the rows have more fields than there are columns.
        """
        self._broken = Broken()
        held: pl.DataFrame | None = None
        for text in self._records(size):
            frame = self._parsed(text)
            if self.dialect.skip_footer:
                frame = pl.concat([held, frame]) if held is not None else frame
                held = frame.tail(self.dialect.skip_footer)
                frame = frame.head(frame.height - held.height)
            if frame.height:
                yield frame
        self._judge()

    def findings(self) -> tuple[Finding, ...]:
        """What reading all rows showed; complete after `batches` has ended."""
        notes = list(self.notes)
        b = self._broken
        if b.over:
            rows = tuple(b.first)
            notes.append(
                Finding("broken rows", self._path.name, "fail", f"{b.over:,} of {b.rows:,}", "",
                        "they have more fields than there are columns, and are left out",
                        "mend them; or is data.read.delimiter or quote another?", "warning",
                        rows=rows)
            )  # fmt: skip
        if b.blank:
            notes.append(_note("blank rows", self._path.name, f"{b.blank:,} left out"))
        return tuple(notes)

    def _records(self, size: int) -> Iterator[bytes]:
        """Blocks of UTF-8 text that begin and end with a record, without what is above the rows."""
        decoder = codecs.getincrementaldecoder(self._encoding)(errors="replace")
        d = self.dialect
        plain = self._encoding in ("utf-8", "utf-8-sig") and not (d.wrapped or d.collapse)
        to_skip, rest = d.skip_rows + (1 if d.header else 0), b""
        first, held = True, b""
        for block in blocks(self._path, self._read.member, size):
            if plain:
                text = block.removeprefix(codecs.BOM_UTF8) if first else block
            else:
                text = decoder.decode(block).encode()
            first = False
            text, held = (held + text[:-1], b"\r") if text.endswith(b"\r") else (held + text, b"")
            rest += _one_newline(text)
            if to_skip:
                rest, to_skip = self._skipped(rest, to_skip, d)
            cut = _last_record_end(rest, d.quote)
            if cut == 0 or to_skip:
                if len(rest) > LONGEST_RECORD:
                    raise DataError(
                        f"{self._path.name} has a quote that never ends.",
                        hint="Look for an open quote, or set data.read.quote to ''.",
                    )
                continue
            yield self._shaped(rest[:cut])
            rest = rest[cut:]
        rest += b"\n" if held else b""
        if not plain:
            rest += decoder.decode(b"", final=True).encode()
        if to_skip:
            rest, to_skip = self._skipped(rest + b"\n", to_skip, d)
        if rest.strip():
            yield self._shaped(rest)

    @staticmethod
    def _skipped(text: bytes, lines: int, d: Dialect) -> tuple[bytes, int]:
        """Drop the lines above the rows; the header may go over several lines in quotes."""
        while lines > 1 or (lines == 1 and not d.header):
            _, found, after = text.partition(b"\n")
            if not found:
                return text, lines
            text, lines = after, lines - 1
        while lines == 1:
            end = _first_record_end(text, d.quote)
            if end == 0:
                return text, lines
            head, text = text[:end], text[end:]
            comment = d.comment.encode()
            if head.strip() and not (comment and head.startswith(comment)):
                lines = 0
        return text, lines

    def _shaped(self, text: bytes) -> bytes:
        if self.dialect.wrapped:
            text = unwrap(text.decode()).encode()
        return squeeze(text.decode()).encode() if self.dialect.collapse else text

    def _parsed(self, text: bytes) -> pl.DataFrame:
        """One block as text columns; rows with too many fields are counted and left out."""
        d, width = self.dialect, len(self.dialect.names)
        names = [f"c{i}" for i in range(width)] + [_OVER]
        frame = _by_polars(text, d, names)
        if frame is None:
            frame = _by_csv(text, d, names)
        before = self._broken.rows
        named = [f"c{i}" for i, name in enumerate(d.names) if name] or [_OVER]
        blank = frame.select(pl.all_horizontal(pl.col(named).is_null())).to_series()
        frame = frame.filter(~blank) if blank.any() else frame
        over = frame[_OVER].is_not_null() & (frame[_OVER].str.strip_chars(" ,;\t|\r") != "")
        self._broken.blank += int(blank.sum())
        self._broken.rows += frame.height
        if over.any():
            self._broken.over += int(over.sum())
            self._broken.first += [before + int(i) for i in over.arg_true()[:20]]
            del self._broken.first[20:]
            frame = frame.filter(~over)
        return frame.drop(_OVER)

    def _judge(self) -> None:
        b = self._broken
        if b.over > max(3, BROKEN_SHARE * b.rows):
            raise DataError(
                f"{self._path.name}: {b.over:,} of {b.rows:,} rows have more than "
                f"{len(self.dialect.names)} fields, the first of them row {b.first[0]}.",
                hint="Set data.read.delimiter, quote or skip_rows, or mend the rows.",
            )


def _by_polars(text: bytes, d: Dialect, names: list[str]) -> pl.DataFrame | None:
    """The fast road; None where polars finds the text malformed."""
    if len(d.delimiter.encode()) != 1 or len(d.quote.encode()) > 1:
        return None
    try:
        return pl.read_csv(
            io.BytesIO(text),
            has_header=False,
            separator=d.delimiter,
            quote_char=d.quote or None,
            comment_prefix=d.comment or None,
            schema=dict.fromkeys(names, pl.String),
            extra_columns="ignore",
            missing_columns="insert",
        )
    except (pl.exceptions.PolarsError, OSError):
        return None


def _by_csv(text: bytes, d: Dialect, names: list[str]) -> pl.DataFrame:
    """The patient road: stray quotes inside fields are text."""
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if d.quote else csv.QUOTE_NONE
    source = io.StringIO(text.decode("utf-8", "replace").replace("\x00", ""), newline="")
    reader = csv.reader(source, delimiter=d.delimiter, quotechar=d.quote or None, quoting=quoting)
    rows: list[list[str | None]] = []
    try:
        for row in reader:
            if d.comment and row and row[0].startswith(d.comment):
                continue
            cells: list[str | None] = [cell or None for cell in row[: len(names)]]
            rows.append(cells + [None] * (len(names) - len(cells)))
    except csv.Error as error:
        raise DataError(
            f"The text is broken near line {reader.line_num}: {error}.",
            hint="Look for an open quote, or set data.read.quote to ''.",
        ) from error
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")


def _scan(path: Path, read: ReadSpec) -> Scanned:
    """One pass over the bytes: size, encoding, first and last lines."""
    start = next(blocks(path, read.member, HEAD), b"")
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
    head = _one_newline(head.removeprefix("\ufeff").encode()).decode()
    if size > len(start):
        head = head.rpartition("\n")[0] + "\n"
    wide = 2 if "16" in encoding else 4 if "32" in encoding else 1
    last = tail[-(len(tail) // wide * wide) :].decode(_without_mark(encoding, start), "replace")
    lines = _one_newline(last.encode()).decode().rstrip("\n").split("\n")
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


def _one_newline(text: bytes) -> bytes:
    """Lines end with a line feed only; a lone carriage return was one on old Macs."""
    if b"\r" not in text:
        return text
    return text.replace(b"\r\n", b"\n") if b"\n" in text else text.replace(b"\r", b"\n")


def _last_record_end(text: bytes, quote: str) -> int:
    """Where the last whole record ends: after a line feed with an even number of quotes before."""
    end, mark = text.rfind(b"\n") + 1, quote.encode()
    if not mark or end == 0:
        return end
    odd = text.count(mark, 0, end) % 2
    while odd and end:
        earlier = text.rfind(b"\n", 0, end - 1) + 1
        odd ^= text.count(mark, earlier, end) % 2
        end = earlier
    return end


def _first_record_end(text: bytes, quote: str) -> int:
    end, mark, odd, start = 0, quote.encode(), 0, 0
    while True:
        end = text.find(b"\n", start) + 1
        if end == 0:
            return 0
        odd ^= (text.count(mark, start, end) % 2) if mark else 0
        if not odd:
            return end
        start = end


def _notes(name: str, scanned: Scanned, dialect: Dialect) -> tuple[Finding, ...]:
    notes = []
    if dialect.delimiter != ",":
        shown = NAMES_OF.get(dialect.delimiter, repr(dialect.delimiter))
        notes.append(_note("delimiter", name, shown))
    if scanned.encoding != "utf-8":
        notes.append(_note("encoding", name, scanned.note or scanned.encoding))
    if dialect.skip_rows:
        notes.append(_note("lines above the table", name, f"{dialect.skip_rows} left out"))
    if dialect.skip_footer:
        notes.append(_note("footer", name, f"{dialect.skip_footer} row(s) left out"))
    if dialect.comment:
        notes.append(_note("comments", name, f"lines that begin with {dialect.comment}"))
    if dialect.wrapped:
        notes.append(_note("quoted lines", name, "each whole line was in quotes"))
    for check, subject, measured in dialect.warnings:
        advice = "set data.read, or mend the header"
        notes.append(Finding(check, subject, "fail", measured, "", "detected in the file", advice,
                             "warning"))  # fmt: skip
    return tuple(notes)


def _note(check: str, subject: str, measured: str) -> Finding:
    return Finding(check, subject, "pass", measured, why="detected in the file", severity="info")
