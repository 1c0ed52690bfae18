"""The text of a cell to a number or a boolean, whole columns at a time."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from modelwright.core.schema import BOOLEAN_PAIRS
from modelwright.core.texts import MISSING_WORDS as MISSING_WORDS
from modelwright.core.texts import PLAIN as PLAIN
from modelwright.core.texts import STYLES as STYLES

MOST_SPELLINGS = 40
"""Ways of writing true and false in one column."""
KIND_SHARE = 0.98
"""Share of the cells that must be numbers (dates) before the others are called mistakes."""
FEWEST_OF_KIND = 20
"""Numbers (dates) below which nothing beside them is called a mistake."""
_CURRENCY = (
    r"US\$|R\$|[$\u20ac\u00a3\u00a5\u20b9\u20bd\u20a9\u20ba\u20b4]|USD|EUR|GBP|JPY|CHF|CNY|INR|AUD"
    r"|CAD|SEK|NOK|DKK|PLN|CZK|HUF|BRL|MXN|ZAR|KRW|RUB|TRY|NZD|SGD|HKD"
)
_UNIT = (
    r"[%\u2030$\u20ac\u00a3\u00a5\u20b9\u00b0\u00b5A-Za-z]"
    r"[A-Za-z\u00b5\u00b0/%$.]{0,11}[23\u00b2\u00b3]?|\+"
)
_EXPONENT = r"(?:[eE][-+]?\d+)?"
_MAGNITUDES = {"k": 1e3, "K": 1e3, "M": 1e6, "mn": 1e6, "B": 1e9, "bn": 1e9}
_BLANKS = r"[\u00a0\u2007\u2009\u202f]"


@dataclass(frozen=True)
class Numbers:
    """Numbers found in text.

    Attributes:
        values: float64, null where there is none.
        words: the words that stand for missing.
        wrong: rows whose text is neither a number nor such a word, at most 20 of them.
        wrong_count: how many there are.
        unit: what stood beside the numbers, such as a currency or per cent sign.
        whole: no text has a decimal mark.
        some_units: the unit stands beside some numbers only.
    """

    values: pl.Series
    words: tuple[str, ...]
    wrong: tuple[int, ...]
    wrong_count: int
    unit: str
    whole: bool
    some_units: bool = False


def stripped(series: pl.Series) -> pl.Series:
    """Text without blanks at its ends (odd blanks of Unicode too); empty text is missing."""
    name = series.name
    if series.str.contains(rf"^\s|\s$|{_BLANKS}").any():
        series = series.str.replace_all(_BLANKS, " ").str.strip_chars()
    return series.set(series == "", None).alias(name)


def numbers_in(series: pl.Series, style: str = PLAIN) -> Numbers | None:
    """Numbers out of text; None when the text is something else.

    Args:
        series: text, as from `stripped`.
        style: how numbers are written, a key of `STYLES`.

    Example:
        >>> found = numbers_in(pl.Series("x", ["$1,200.50", "n/a", "($3)"]), "1,234.5")
        >>> found.values.to_list(), found.words, found.unit
        ([1200.5, None, -3.0], ('n/a',), '$')
        >>> numbers_in(pl.Series("zip", ["01234", "99999"])) is None
        True
    """
    present = series.len() - series.null_count()
    if present == 0 or series.str.contains(r"^[-+]?0\d+$").any():
        return None  # 01234 is a code, not a number
    values, units, some = parsed(series, style)
    left = series.filter(values.is_null() & series.is_not_null())
    words = tuple(sorted(w for w in left.unique().to_list() if w.lower() in MISSING_WORDS))
    gone = int(left.is_in(list(words)).sum()) if words else 0
    wrong_count = left.len() - gone
    numbers = present - left.len()
    if numbers == 0 or numbers < KIND_SHARE * (present - gone) or numbers < 0.05 * present:
        return None
    if wrong_count and numbers < FEWEST_OF_KIND:
        return None
    is_wrong = values.is_null() & series.is_not_null() & ~series.is_in(list(words) or [""])
    wrong = tuple(int(i) for i in is_wrong.arg_true()[:20]) if wrong_count else ()
    decimal = re.escape(STYLES[style][1])
    whole = not series.str.contains(rf"\d{decimal}|^{decimal}|\d[eE][-+]?\d").any()
    return Numbers(values, words, wrong, int(wrong_count), units, whole, some)


def are_exact(numbers: pl.Series) -> bool:
    """Whether whole numbers are below 2**53, so that a float64 holds each of them."""
    return not bool((numbers.abs() >= 2**53).any())


def parsed(series: pl.Series, style: str | None) -> tuple[pl.Series, str, bool]:
    """(float64 with null where a text is no number, the one unit beside them, only some have it).

    Numbers with different units are no numbers: 5 km and 300 m have no common scale.
    """
    style = style or PLAIN
    values = _cast(series) if style in (PLAIN, "1,234.5", "1 234.5", "1'234.5") else None
    if values is None:
        values = pl.Series(series.name, [None] * series.len(), dtype=pl.Float64)
    rest = values.is_null() & series.is_not_null()
    if not rest.any():
        return values, "", False
    unique = series.filter(rest).unique()
    found = unique.str.extract_groups(_pattern(style)).struct.unnest()
    found.columns = ["open", "before", "sign", "core", "after", "close"]
    ok = found["core"].is_not_null()
    units = {
        unit.rstrip(".")
        for part in ("before", "after")
        for unit in found[part].unique().to_list()
        if unit
    } - {"+"}
    factor: pl.Series | float = 1.0
    mixed = len(units) > 1 or bool(values.is_not_null().any()) or _lacks_unit(found, ok)
    if units and units <= _MAGNITUDES.keys() and mixed:
        factor = (
            found["after"]
            .replace_strict(
                list(_MAGNITUDES), list(_MAGNITUDES.values()), default=1.0, return_dtype=pl.Float64
            )
            .fill_null(1.0)
        )
        units = set()
    if len(units) > 1:
        return values, "", False
    thousands, decimal = STYLES[style]
    core = (
        found["core"].str.replace_all(thousands, "", literal=True) if thousands else found["core"]
    )
    core = core.str.replace(decimal, ".", literal=True) if decimal != "." else core
    minus = ["-", "\u2212"]
    negative = (
        found["open"].is_in([*minus, "("])
        | found["sign"].is_in(minus)
        | found["close"].is_in(["-"])
    ).fill_null(False)
    number = core.cast(pl.Float64, strict=False) * factor
    number = pl.select(pl.when(negative).then(-number).otherwise(number)).to_series()
    known = unique.filter(ok & number.is_not_null())
    if known.len() == 0:
        return values, "", False
    more = series.replace_strict(
        known, number.filter(ok & number.is_not_null()), default=None, return_dtype=pl.Float64
    )
    some = bool(units) and (values.is_not_null().any() or _lacks_unit(found, ok))
    return values.fill_null(more), next(iter(units), ""), some


def _lacks_unit(found: pl.DataFrame, ok: pl.Series) -> bool:
    bare = (found["before"].fill_null("") == "") & (found["after"].fill_null("") == "")
    return bool((bare & ok).any())


def _cast(series: pl.Series) -> pl.Series:
    """Plain numbers by polars; nan and inf are words here."""
    values = series.cast(pl.Float64, strict=False)
    return values.set(~values.is_finite().fill_null(True), None)


def _pattern(style: str) -> str:
    thousands, decimal = (re.escape(mark) for mark in STYLES[style])
    core = rf"\d+(?:{decimal}\d*)?{_EXPONENT}|{decimal}\d+{_EXPONENT}"
    if thousands:
        core = rf"[1-9]\d{{0,2}}(?:{thousands}\d{{2,3}})*{thousands}\d{{3}}(?:{decimal}\d*)?|{core}"
    return rf"^([-+\u2212(]?)\s*({_CURRENCY})?\s*([-+\u2212]?)\s*({core})\s*({_UNIT})?\s*([-)]?)$"


def number_style(columns: Iterable[pl.Series], delimiter: str = ",") -> tuple[str, str]:
    """How the numbers of a file are written.

    Args:
        columns: text columns, as from `stripped`.
        delimiter: of the file; a semicolon speaks for decimal commas.

    Returns:
        (the style under which most columns are numbers, a doubt or an empty string).

    Example:
        >>> number_style([pl.Series(["1.234", "5.678"]), pl.Series(["2,6", "0,5"])])
        ('1.234,5', '')
        >>> number_style([pl.Series(["1,234", "5,678"])])[0]
        '1,234.5'
    """
    fits = _fits(columns)
    order = list(STYLES)
    if delimiter == ";":
        order = [PLAIN, "1.234,5", "1 234,5", "1,234.5", "1 234.5", "1'234.5"]
    best = max(order, key=lambda style: (len(fits[style]), -order.index(style)))
    equal = [s for s in order if fits[s] == fits[best] and STYLES[s][1] != STYLES[best][1]]
    doubt = ""
    if equal and fits[best] and (fits[best] > fits[PLAIN] or (best == PLAIN and delimiter == ";")):
        doubt = f"numbers are read as {best}; they could also be written as {equal[0]}"
    return best, doubt


def proven_style(columns: Iterable[pl.Series]) -> str | None:
    """The style that the text of these columns proves; None when it leaves the decimal mark open.

    Example:
        >>> proven_style([pl.Series(["1.234", "5.678"])]) is None
        True
        >>> proven_style([pl.Series(["1.234", "-5.2"])])
        '1234.5'
    """
    fits = _fits(columns)
    best = max(STYLES, key=lambda style: len(fits[style]))
    rivals = [s for s in STYLES if STYLES[s][1] != STYLES[best][1]]
    return best if all(len(fits[best]) > len(fits[rival]) for rival in rivals) else None


def _fits(columns: Iterable[pl.Series]) -> dict[str, set[str]]:
    """Style -> the columns that hold numbers under it, where that tells styles apart."""
    fits: dict[str, set[str]] = {style: set() for style in STYLES}
    for place, series in enumerate(columns):
        sample = series.drop_nulls().unique().head(1000)
        if not sample.str.contains(r"\d").any() or sample.str.contains(r"^[-+]?0\d+$").any():
            continue
        plain = _cast(sample)
        if plain.null_count() == 0:
            dotted = sample.filter(sample.str.contains(".", literal=True))
            if dotted.len():
                grouped = bool(dotted.str.contains(r"^[-+]?[1-9]\d{0,2}(\.\d{3})+$").all())
                for style in (PLAIN, "1,234.5", "1 234.5", "1'234.5"):
                    fits[style].add(str(place))
                if grouped:
                    fits["1.234,5"].add(str(place))
            continue
        for style in STYLES:
            values, _, _ = parsed(sample, style)
            missing = sample.str.to_lowercase().is_in(list(MISSING_WORDS))
            if (values.is_not_null() | missing).sum() >= KIND_SHARE * sample.len():
                fits[style].add(str(place))
    return fits


def booleans_in(series: pl.Series) -> pl.Series | None:
    """True and false out of words such as yes, No and T; None when there are others.

    Zeros and ones alone are numbers: the next file may hold a two.

    Example:
        >>> booleans_in(pl.Series(["Yes", "no ", "Y", None])).to_list()
        [True, False, True, None]
    """
    if series.head(1000).n_unique() > MOST_SPELLINGS:
        return None
    unique = series.drop_nulls().unique().head(MOST_SPELLINGS).to_list()
    words = {text.strip().lower() for text in unique}
    pairs = [(true, false) for true, false in BOOLEAN_PAIRS if true in words and false in words]
    trues = {true for true, _ in BOOLEAN_PAIRS}
    falses = {false for _, false in BOOLEAN_PAIRS}
    if words <= {"0", "1", "0.0", "1.0"}:
        return None
    if not pairs or len(unique) >= MOST_SPELLINGS or not words <= trues | falses:
        return None
    lower = series.str.strip_chars().str.to_lowercase()
    return pl.select(
        pl.when(lower.is_null()).then(None).otherwise(lower.is_in(list(trues)))
    ).to_series().alias(series.name)  # fmt: skip


def list_separator(present: pl.Series) -> str | None:
    """What parts the items of lists, if they are: few different items make many different texts.

    Example:
        >>> list_separator(pl.Series(["a|b", "b|c", "a|c", "a|b|c", "c", "b"]))
        '|'
    """
    unique = present.unique().head(5000)
    for separator, fewest, share in (("|", 4, 0.75), (";", 6, 0.6), (",", 10, 0.5)):
        with_it = unique.str.contains(separator, literal=True)
        if unique.len() < fewest or with_it.sum() < 0.2 * unique.len():
            continue
        items = unique.str.split(separator).explode().str.strip_chars()
        longest = items.str.len_chars().max()
        if items.n_unique() <= share * unique.len() and isinstance(longest, int) and longest <= 60:
            return separator
    return None
