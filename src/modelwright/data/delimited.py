"""Delimited text files: every cell as text, whole or in batches of constant memory."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import polars as pl

from modelwright.core.errors import DataError, first_rows
from modelwright.core.records import Finding
from modelwright.core.spec_data import ReadSpec
from modelwright.data.dialect import NAMES_OF, Dialect, sniff, squeeze, unwrap
from modelwright.data.encoding import LONGEST_RECORD, Scanned, one_newline, scan
from modelwright.data.streams import BLOCK, blocks

BROKEN_SHARE = 0.01
_OVER = "\x00over"


@dataclass
class Broken:
    """Rows that could not be used, counted while reading."""

    rows: int = 0
    blank: int = 0
    over: int = 0
    first: list[int] = field(default_factory=list)
    inner: int = 0
    """Blank rows with a row below them."""
    short: list[int] = field(default_factory=list)
    """Rows with fewer fields than there are columns."""


class DelimitedFile:
    """A text table whose way of writing is known, before its rows are read.

    A strict one leaves out no row: each gets an answer, or the file is refused.

    Attributes:
        size: bytes of text, decompressed.
        detected: what `data.read` would pin.
    """

    def __init__(self, path: Path, read: ReadSpec, *, strict: bool = False) -> None:
        self._path, self._read, self._strict = path, read, strict
        scanned = scan(path, read)
        self.size = scanned.size
        self._encoding = scanned.encoding
        self.dialect: Dialect = sniff(scanned.head, scanned.tail, read, path.name)
        self.notes = _notes(path.name, scanned, self.dialect)
        self._broken, self._open_end = Broken(), False

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
        self._broken, self._open_end = Broken(), False
        held: pl.DataFrame | None = None
        footer = 0 if self._strict else self.dialect.skip_footer
        for text in self._records(size):
            frame = self._parsed(text)
            if footer:
                frame = pl.concat([held, frame]) if held is not None else frame
                held = frame.tail(footer)
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
                Finding("broken rows", self._path.name, "fail",
                        f"{b.over:,} of {b.rows:,}: {first_rows(rows)}", "",
                        "they have more fields than there are columns, and are left out",
                        "mend them; or is data.read.delimiter or quote another?", "warning",
                        rows=rows)
            )  # fmt: skip
        if b.short:
            notes.append(
                Finding("short rows", self._path.name, "fail",
                        f"{len(b.short):,} of {b.rows:,}: {first_rows(b.short)}", "",
                        "they have fewer fields than there are columns; what is not there is "
                        "missing", "mend them: a line may be cut off", "warning",
                        rows=tuple(b.short[:20]))
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
            rest += one_newline(text)
            if to_skip:
                rest, to_skip = self._skipped(rest, to_skip, d)
            cut = _last_record_end(rest, d.quote)
            if len(rest) > LONGEST_RECORD and not to_skip and cut < len(rest) // 2:
                cut = rest.rfind(b"\n") + 1  # a stray quote: the block is parsed with patience
            if len(rest) > 2 * LONGEST_RECORD and cut == 0:
                raise DataError(
                    f"{self._path.name} has a row of over {LONGEST_RECORD >> 20} MB.",
                    hint="Is it a table of text? Look for an open quote.",
                )
            if cut == 0 or to_skip:
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
        blank, short = self._blank_rows(frame), _short_rows(text, frame, d)
        if blank.any():
            short = short.filter(~blank)
            full = (~blank).arg_true()
            self._broken.inner += int(blank.head(int(full[-1])).sum()) if full.len() else 0
            self._broken.inner += self._broken.blank if full.len() and self._open_end else 0
            frame = frame.filter(~blank)
        self._open_end = bool(blank.len() and blank[-1])
        open_end = bool(d.quote) and text.count(d.quote.encode()) % 2 == 1
        _refuse_swallowed(frame, d, self._path.name, before, open_end=open_end)
        over = frame[_OVER].is_not_null() & (frame[_OVER].str.strip_chars(" ,;\t|\r") != "")
        self._broken.blank += int(blank.sum())
        self._broken.rows += frame.height
        self._broken.short += [before + int(i) for i in short.arg_true()]
        if over.any():
            self._broken.over += int(over.sum())
            self._broken.first += [before + int(i) for i in over.arg_true()[:20]]
            del self._broken.first[20:]
            frame = frame.filter(~over)
        return frame.drop(_OVER)

    def _blank_rows(self, frame: pl.DataFrame) -> pl.Series:
        """Rows without a value under any name; in a table of one column they are missing values."""
        names = [f"c{i}" for i, name in enumerate(self.dialect.names) if name]
        if len(self.dialect.names) < 2 or not names:
            return pl.Series([False], dtype=pl.Boolean).new_from_index(0, frame.height)
        first = frame[names[0]]
        blank = first.is_null() | first.str.contains(r"^\s*$").fill_null(True)
        if blank.any():
            likely = blank.arg_true()
            rows = frame[likely, :].select(
                pl.all_horizontal((pl.col(names).str.strip_chars() == "").fill_null(True))
            ).to_series()  # fmt: skip
            blank[likely] = rows
        return blank

    def _judge(self) -> None:
        b = self._broken
        if self._strict and b.short:
            raise DataError(
                f"{self._path.name}: {len(b.short):,} rows have fewer fields than there are "
                f"columns: {first_rows(b.short)}.",
                hint="Mend or remove these rows; a line may be cut off.",
            )
        if self._strict and (b.over or b.inner):
            where = f", the first of them row {b.first[0]}" if b.over else ""
            raise DataError(
                f"{self._path.name}: {b.over:,} rows have too many fields{where}, and {b.inner:,} "
                "rows between others are blank, so answers would not stand beside their rows.",
                hint="Mend or remove these rows.",
            )
        if b.over > max(3, BROKEN_SHARE * b.rows):
            raise DataError(
                f"{self._path.name}: {b.over:,} of {b.rows:,} rows have more than "
                f"{len(self.dialect.names)} fields, the first of them row {b.first[0]}.",
                hint="Set data.read.delimiter, quote or skip_rows, or mend the rows.",
            )


def _short_rows(text: bytes, frame: pl.DataFrame, d: Dialect) -> pl.Series:
    """Rows of which the last fields are not there at all; an empty field is one. Not looked for
    where a row may go over several lines, or a line be none."""
    found = pl.Series([False], dtype=pl.Boolean).new_from_index(0, frame.height)
    width = len(d.names)
    likely = frame[f"c{width - 1}"].is_null().arg_true()
    lines = text.rstrip(b"\n").split(b"\n") if len(likely) and width > 1 else []
    if len(lines) != frame.height:
        return found
    mark, quote = d.delimiter.encode(), d.quote.encode()
    for place in likely.to_list():
        line = lines[place]
        if quote and quote in line:
            cells = next(csv.reader([line.decode()], delimiter=d.delimiter, quotechar=d.quote), [])
            found[place] = 0 < len(cells) < width
        elif line.count(mark) < width - 1:
            found[place] = True
    return found


def _refuse_swallowed(
    frame: pl.DataFrame, d: Dialect, name: str, before: int, *, open_end: bool
) -> None:
    """An open quote makes one cell of many rows: lines inside it that are rows give it away, or
    that the text ends before the quote does."""
    width = len(d.names)
    if open_end and frame.height and any("\n" in str(cell) for cell in frame.row(-1)):
        raise DataError(
            f"{name}: the text ends inside a quote that opens in row {before + frame.height - 1}.",
            hint="Close or remove it, or set data.read.quote to ''.",
        )
    if width < 2 or not d.quote:
        return
    wanted = width - 1
    for column in frame.columns[:-1]:
        cells = frame[column]
        broken = cells.str.contains("\n", literal=True).fill_null(False)
        if not broken.any():
            continue
        for row in broken.arg_true()[:50]:
            lines = str(cells[int(row)]).split("\n")[1:-1]
            whole = sum(line.count(d.delimiter) == wanted for line in lines)
            if whole >= (1 if width >= 4 else 3) and whole >= 0.8 * len(lines):
                raise DataError(
                    f"{name}: the quote that opens in row {before + int(row)} swallows "
                    f"{whole:,} rows or more.",
                    hint="Close or remove it, or set data.read.quote to ''.",
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
