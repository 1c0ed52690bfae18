"""How a delimited text file is written: found out from its first lines, or given by the spec."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from modelwright.core.errors import DataError
from modelwright.core.spec_data import ReadSpec

DELIMITERS = ",;\t|^~\x1f\x01:"
LINES = 300
NAMES_OF = {"\t": "tab", " ": "blanks", "": "none"}
_NUMBER = re.compile(r"^[-+\u2212]?[$\u20ac\u00a3]?\d[\d.,' \u00a0]*([eE][-+]?\d+)?\s*%?$")
_YEAR = re.compile(r"^(19|20)\d\d$")
_TOTALS = re.compile(r"^\W*((grand|sub)[ -]?)?(totals?|sum|summe|gesamt)\b", re.I)


@dataclass(frozen=True)
class Dialect:
    """A way of writing tables as text.

    Attributes:
        quote: '' when quotes are plain characters.
        names: of the columns, tidied; one a field.
        skip_rows: lines before the header (or the first row, when there is no header).
        skip_footer: rows at the end that are no data.
        collapse: runs of blanks count as one delimiter.
        wrapped: every whole line is in quotes (a semicolon file saved through a comma tool).
        guessed: what was found out rather than given, in words.
    """

    delimiter: str
    quote: str
    header: bool
    names: tuple[str, ...]
    skip_rows: int = 0
    skip_footer: int = 0
    comment: str = ""
    collapse: bool = False
    wrapped: bool = False
    warnings: tuple[tuple[str, str, str], ...] = ()


def sniff(head: str, tail: str, read: ReadSpec, name: str) -> Dialect:
    """Find out how a file is written.

    Args:
        head: its first lines.
        tail: its last lines, for footers.
        read: what is known already.
        name: of the file, for messages.

    Raises:
        DataError: no line in it.

    Example:
        >>> found = sniff("a;b\\n1,5;x\\n2,5;y\\n", "", ReadSpec(), "t.csv")
        >>> found.delimiter, found.names
        (';', ('a', 'b'))
    """
    hinted = re.match(r"^sep=(.)\r?\n", head)
    skipped = 1 if hinted and read.skip_rows is None else 0
    given = read.delimiter or (hinted[1] if hinted else None)
    text = _after(head, read.skip_rows if read.skip_rows is not None else skipped)
    if not text.strip():
        raise DataError(f"{name} is empty.", hint="Wanted a header line and data below it.")
    wrapped = _is_wrapped(text)
    text = unwrap(text) if wrapped else text
    quote = _quote(text) if read.quote is None else read.quote
    delimiter, collapse = (given, given == " ") if given else _delimiter(text, quote)
    text = squeeze(text) if collapse else text
    comment = _comment(text, delimiter, quote) if read.comment is None else read.comment
    rows = _rows(text, delimiter, quote, comment)
    if not rows:
        raise DataError(f"{name} has no rows.", hint="Wanted a header line and data below it.")
    width = _width(rows)
    start = 0 if read.skip_rows is not None else _header_row(rows, width)
    skip = read.skip_rows if read.skip_rows is not None else skipped
    skip += _lines_before(text, delimiter, quote, comment, start)
    first, below = rows[start], rows[start + 1 :]
    header = _has_header(first, below) if read.header is None else read.header
    names, warnings = _names(first, below, header, width)
    last = _rows(unwrap(tail) if wrapped else tail, delimiter, quote, comment)
    found = _footer(last, len(names))
    footer = found if read.skip_footer is None else read.skip_footer
    if footer > found:
        shown = " | ".join(cell for row in last[-footer:] for cell in row if cell.strip())[:80]
        warnings.append(
            ("footer", name, f"data.read.skip_footer drops what looks like data: {shown}")
        )
    if not header and read.header is None:
        shown = ", ".join(names[:3])
        warnings.append(("no header", name, f"the first row holds data; columns are {shown}, ..."))
    return Dialect(
        delimiter, quote, header, tuple(names), skip, footer, comment, collapse, wrapped,
        tuple(warnings),
    )  # fmt: skip


def _after(text: str, lines: int) -> str:
    for _ in range(lines):
        _, _, text = text.partition("\n")
    return text


def unwrap(text: str) -> str:
    """Lines that are one quoted field each, without those quotes."""
    text = re.sub(r'^"(.*)"[,;]*\r?$', r"\1", text, flags=re.M)
    return text.replace('""', '"')


def squeeze(text: str) -> str:
    """Runs of blanks as one blank, none at the ends of lines."""
    return re.sub(r"^ +| +$", "", re.sub(r"[ \t]+", " ", text), flags=re.M)


def _is_wrapped(text: str) -> bool:
    lines = [line.rstrip("\r,;") for line in text.split("\n")[:50] if line.strip("\r,; ")]
    whole = [len(x) > 2 and x[0] == x[-1] == '"' and '"' not in x[1:-1].replace('""', "")
             for x in lines]  # fmt: skip
    several = [any(d in line for d in ",;\t|") for line in lines]
    return len(lines) > 1 and all(whole) and all(several)


def _quote(text: str) -> str:
    double = len(re.findall(r'(?:^|[,;\t|])\s*"', text, flags=re.M))
    single = len(re.findall(r"(?:^|[,;\t|])'[^'\n]*'(?=[,;\t|\r\n])", text, flags=re.M))
    return "'" if single >= 4 and single > 10 * double else '"'


def _delimiter(text: str, quote: str) -> tuple[str, bool]:
    """The separator that cuts most lines, the header among them, into equally many fields."""
    found = []
    for place, delimiter in enumerate(DELIMITERS):
        rows = _rows(text, delimiter, quote, "")
        if not rows:
            continue
        widths = [len(row) for row in rows]
        width, count = max(Counter(widths).items(), key=lambda item: (item[1], item[0]))
        if width > 1:
            share = count / len(widths)
            fits = width in widths[:1] or (width - 1 == widths[0] and width > 2)
            if not fits and _is_prose(rows, width, delimiter):
                continue
            late = place >= 4  # unusual ones only where nothing else fits
            filled = sorted(sum(bool(tidy_name(cell)) for cell in row) for row in rows)
            score = (share >= 0.8 and fits, share >= 0.6, not late, filled[len(filled) // 2], width)
            found.append((*score, delimiter))
    best = max(found, default=None)
    if best and best[1]:
        return best[-1], False
    widths = [len(line.split()) for line in text.split("\n")[:LINES] if line.strip()]
    width, count = Counter(widths).most_common(1)[0]
    if width > 1 and widths[0] == width and count >= 0.9 * len(widths) and len(widths) > 2:
        return " ", True
    if best and best[-1] in text.split("\n", 1)[0]:
        return best[-1], False
    return next((mark for mark in ",;\t|" if mark not in text), "\x1f"), False


def _is_prose(rows: Sequence[Sequence[str]], width: int, delimiter: str) -> bool:
    """Whether a mark that the first line lacks stands inside texts: 'well, no' and '10:15'."""
    if len(rows[0]) > 1 or (len(rows) > 1 and len(rows[1]) == 1):
        return False
    cut = [row for row in rows[1:] if len(row) == width]
    blank = sum(row[1].startswith(" ") for row in cut)
    return delimiter == ":" or (width == 2 and blank > 0.5 * len(cut))


def _rows(text: str, delimiter: str, quote: str, comment: str) -> list[list[str]]:
    """Rows that hold anything, as the standard library cuts them."""
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, quotechar=quote or None, quoting=quoting
    )
    rows: list[list[str]] = []
    try:
        for row in reader:
            if any(cell.strip() for cell in row) and not (comment and row[0].startswith(comment)):
                rows.append(row)
            if len(rows) >= LINES:
                break
    except csv.Error:
        pass  # the rows before the damage tell enough
    return rows


def _width(rows: Sequence[Sequence[str]]) -> int:
    widths = Counter(len(row) for row in rows[1:] or rows)
    return max(widths.items(), key=lambda item: (item[1], item[0]))[0]


def _comment(text: str, delimiter: str, quote: str) -> str:
    """'#' when lines that begin with it are not rows."""
    rows = _rows(text, delimiter, quote, "")
    if not rows:
        return ""
    width = _width(rows)
    marked = [row for row in rows if row[0].startswith("#")]
    off = sum(len(row) != width for row in marked)
    return "#" if off > 0.5 * len(marked) and len(marked) < len(rows) else ""


def _header_row(rows: Sequence[Sequence[str]], width: int) -> int:
    """The first row that is as full as a row of the table; titles above it are not."""
    filled = [sum(bool(cell.strip()) for cell in row) for row in rows]
    usual = sorted(filled[1:40])[len(filled[1:40]) // 2] if len(filled) > 1 else filled[0]
    for index, row in enumerate(rows[:40]):
        whole = len(row) == width and (row[-1].strip() or not row[0].strip())
        names = whole and filled[index] >= 0.5 * width and not any(map(_is_number, row))
        full = filled[index] >= max(1, 0.6 * min(usual, width))
        if names or (full and len(row) >= min(width, usual) - 1):
            return index
    return 0


def _lines_before(text: str, delimiter: str, quote: str, comment: str, start: int) -> int:
    """Lines of text above the row number `start` (rows that are blank or comments included)."""
    if start == 0 and text.lstrip("\r\n \ufeff") == text and not comment:
        return 0
    seen = -1
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, quotechar=quote or None, quoting=quoting
    )
    before = 0
    for row in reader:
        seen += any(c.strip() for c in row) and not (comment and row[0].startswith(comment))
        if seen == start:
            return before
        before = reader.line_num
    return 0


def _is_number(cell: str) -> bool:
    return bool(_NUMBER.match(cell.strip()))


def _has_header(first: Sequence[str], below: Sequence[Sequence[str]]) -> bool:
    """False when the first row holds numbers where the rows below hold numbers."""
    cells = [cell.strip() for cell in first]
    numbers = [cell for cell in cells if _is_number(cell)]
    if not numbers or not below:
        return True
    if all(_YEAR.match(n) for n in numbers) and len(set(numbers)) == len(numbers) < len(cells):
        return True
    if numbers == [str(i) for i in range(len(numbers))] and len(numbers) > 1:
        return True
    numeric = [
        column
        for column in range(len(cells))
        if sum(len(row) > column and _is_number(row[column]) for row in below) >= 0.8 * len(below)
    ]
    same = sum(_is_number(cells[column]) for column in numeric)
    return not numeric or same < 0.5 * len(numeric)


def _names(
    first: Sequence[str], below: Sequence[Sequence[str]], header: bool, width: int
) -> tuple[list[str], list[tuple[str, str, str]]]:
    """Tidied names, one for each field of a row, and what had to be done to them."""
    if not header:
        return [f"column_{i + 1}" for i in range(max(width, len(first)))], []
    warnings: list[tuple[str, str, str]] = []
    tidy = [tidy_name(cell) for cell in first]
    if tidy and tidy[0].startswith("#") and len(tidy[0]) > 1:
        tidy[0] = tidy[0].lstrip("# ")
    if below and len(tidy) == width - 1 and tidy[-1]:
        tidy = ["", *tidy]  # R writes the names of rows without a heading
    tidy += [""] * (width - len(tidy))
    names: list[str] = []
    for place, name in enumerate(tidy):
        if name and name in names:
            twin = next(f"{name} ({n})" for n in range(2, 10**6) if f"{name} ({n})" not in tidy)
            tidy[place] = twin
            warnings.append(("name given twice", name, f"the one at column {place + 1} is {twin}"))
            names.append(twin)
        else:
            names.append(name)
    return names, warnings


def tidy_name(text: str) -> str:
    """A header without blanks at its ends, with single ones inside; '' for delimiters alone.

    Example:
        >>> tidy_name(" wind\\n  speed\\u00a0")
        'wind speed'
    """
    tidy = " ".join(text.replace("\ufeff", "").replace("\x00", "").split())
    return tidy if tidy.strip(" ,;|") else ""


def _is_remark(cell: str) -> bool:
    return bool(re.search(r"\s|:", cell.strip()))


def _footer(rows: Sequence[Sequence[str]], width: int) -> int:
    """Rows at the end that hold a remark alone, or that begin with a word such as Total."""
    if width < 2 or len(rows) < 3:
        return 0
    filled = [sum(bool(tidy_name(cell)) for cell in row) for row in rows]
    usual = sorted(filled)[len(filled) // 2]
    leads = Counter(row[0] for row in rows)
    spaced = sum(_is_remark(row[0]) for row in rows) > 0.3 * len(rows)
    numeric = sum(_is_number(row[0]) for row in rows) > 0.5 * len(rows)
    count = 0
    for row, cells in list(zip(rows, filled, strict=True))[::-1][:20]:
        lead = row[0].strip()
        is_total = usual >= 2 and _TOTALS.match(lead) and leads[row[0]] == 1
        alone = usual >= 3 and cells == 1 and lead
        unlike = (_is_remark(lead) and not spaced) or (numeric and not _is_number(lead))
        if is_total or (alone and unlike):
            count += 1
        else:
            break
    return count if count < len(rows) / 2 else 0
