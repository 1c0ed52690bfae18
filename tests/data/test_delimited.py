"""Text tables as people write them: each opens right, or says why not."""

from __future__ import annotations

import bz2
import gzip
import lzma
from pathlib import Path

import polars as pl
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.test_sources import TEXT, WANTED, zipped
from modelwright.core.errors import DataError
from modelwright.core.spec_data import ReadSpec
from modelwright.data.delimited import DelimitedFile
from modelwright.data.sources import open_file

HABITS = {
    "plain": ("t.csv", TEXT.encode()),
    "byte-order mark": ("t.csv", b"\xef\xbb\xbf" + TEXT.encode()),
    "windows line ends": ("t.csv", TEXT.replace("\n", "\r\n").encode()),
    "old mac line ends": ("t.csv", TEXT.replace("\n", "\r").encode()),
    "no last line end": ("t.csv", TEXT.rstrip().encode()),
    "semicolons": ("t.csv", TEXT.replace(",", ";").encode()),
    "tabs": ("t.tsv", TEXT.replace(",", "\t").encode()),
    "bars": ("t.txt", TEXT.replace(",", "|").encode()),
    "carets": ("t.csv", TEXT.replace(",", "^").encode()),
    "columns of blanks": ("t.dat", b"a    b\n1    x\n2    y\n"),
    "excel's separator line": ("t.csv", b"sep=;\n" + TEXT.replace(",", ";").encode()),
    "gzip": ("t.csv.gz", gzip.compress(TEXT.encode(), mtime=0)),
    "gzip without the ending": ("t.csv", gzip.compress(TEXT.encode(), mtime=0)),
    "zstd": ("t.csv.zst", zstandard.compress(TEXT.encode())),
    "bzip2": ("t.csv.bz2", bz2.compress(TEXT.encode())),
    "xz": ("t.csv.xz", lzma.compress(TEXT.encode())),
    "zip": ("t.zip", zipped(data__csv=TEXT.encode())),
    "zip with a read-me": ("t.csv.zip", zipped(data__csv=TEXT.encode(), README__md=b"x")),
    "capital ending": ("t.CSV", TEXT.encode()),
    "utf-16": ("t.csv", TEXT.encode("utf-16")),
    "utf-16 without a mark": ("t.csv", TEXT.encode("utf-16-le")),
    "trailing delimiters": ("t.csv", b"a,b,\n1,x,\n2,y,\n"),
    "trailing delimiters in the rows only": ("t.csv", b"a,b\n1,x,,\n2,y,,\n"),
    "blank rows": ("t.csv", b"a,b\n\n1,x\n,\n2,y\n\n\n,\n"),
    "blanks around headers": ("t.csv", b" a , b\xc2\xa0\n1,x\n2,y\n"),
    "a header over two lines": ("t.csv", b'a,"b\n"\n1,x\n2,y\n'),
    "comments": ("t.csv", b"# made by hand\na,b\n1,x\n# half\n2,y\n"),
    "a title above": ("t.csv", b"Report 2024\n\na,b\n1,x\n2,y\n"),
    "a title with delimiters": ("t.csv", b"Report,\n,\na,b\n1,x\n2,y\n"),
    "numbered rows without a name": ("t.csv", b",a,b\n0,1,x\n1,2,y\n"),
    "R's row names": ("t.csv", b"a,b\n1,1,x\n2,2,y\n"),
    "quoted everything": ("t.csv", b'"a","b"\n"1","x"\n"2","y"\n'),
    "single quotes": ("t.csv", b"'a','b'\n'1','x'\n'2','y'\n"),
    "whole lines in quotes": ("t.csv", b'"a;b"\n"1;x"\n"2;y"\n'),
    "semicolons through a comma tool": ("t.csv", b"a;b;;,,,,\n1;x;;,,,,\n2;y;;,,,,\n"),
}


@pytest.mark.parametrize(
    ("line", "is_short"),
    [("3,y", True), ("3", True), ('"3,5",y', True), ("3,y,", False), ("3,,", False),
     ('"3","y",""', False), ('3,"y,z",', False)],
)  # fmt: skip
def test_a_line_that_is_cut_off_is_named(tmp_path: Path, line: str, is_short: bool) -> None:
    """An empty field is none that is missing."""
    (tmp_path / "t.csv").write_text(f"a,b,c\n1,x,u\n\n2,x,\n{line}\n5,x,u\n")
    source = open_file(tmp_path / "t.csv")
    assert source.frame().height == 4
    short = [found for found in source.findings() if found.check == "short rows"]
    assert [(one.measured, one.rows) for one in short] == [("1 of 4: row 2", (2,))] * is_short
    if is_short:
        (tmp_path / "t.csv").write_text(f"a,b,c\n1,x,u\n{line}\n5,x,u\n")
        with pytest.raises(
            DataError, match="1 rows have fewer fields than there are columns: row 1"
        ):
            open_file(tmp_path / "t.csv", strict=True).frame()


@pytest.mark.parametrize("habit", HABITS)
def test_one_table_in_many_forms(tmp_path: Path, habit: str) -> None:
    name, content = HABITS[habit]
    (tmp_path / name).write_bytes(content)
    assert open_file(tmp_path / name).frame().to_dict(as_series=False) == WANTED


LONG = "x" * 200
CELLS = {
    "cp1252": ("a,n\nCaf\u00e9 \u20ac,1\n".encode("cp1252"),
               {"a": ["Caf\u00e9 \u20ac"], "n": ["1"]}),
    "latin-1": ("name,n\n\u00e9\x81,1\n".encode("latin-1"), {"name": ["\u00e9\x81"], "n": ["1"]}),
    "a quoted line break": (b'a,b\n"1\n2",x\n', {"a": ["1\n2"], "b": ["x"]}),
    "doubled quotes": (b'a,b\n"say ""hi""",x\n', {"a": ['say "hi"'], "b": ["x"]}),
    "stray quotes": (b'a,b\n5" disc,x\n6,"y"\n', {"a": ['5" disc', "6"], "b": ["x", "y"]}),
    "a name given twice": (b"a,a\n1,x\n2,y\n", {"a": ["1", "2"], "a (2)": ["x", "y"]}),
    "a blank name": (b"a,,b\n1,q,x\n2,r,y\n",
                     {"a": ["1", "2"], "column_2": ["q", "r"], "b": ["x", "y"]}),
    "a long name": (f"{LONG},b\n1,x\n".encode(), {LONG: ["1"], "b": ["x"]}),
    "odd names": (b'"{a}: ""b"" [c]",b\n1,x\n', {'{a}: "b" [c]': ["1"], "b": ["x"]}),
    "no header": (b"39,Male,77516\n50,Male,83311\n38,Female,215646\n",
                  {"column_1": ["39", "50", "38"], "column_2": ["Male", "Male", "Female"],
                   "column_3": ["77516", "83311", "215646"]}),
    "years as names": (b"land,2019,2020\nA,1,2\nB,3,4\n",
                       {"land": ["A", "B"], "2019": ["1", "3"], "2020": ["2", "4"]}),
    "a footer": (b"a,b,c\n1,x,p\n2,y,q\n3,z,r\nSource: me,,\n",
                 {"a": ["1", "2", "3"], "b": ["x", "y", "z"], "c": ["p", "q", "r"]}),
    "a total": (b"a,b\nx,1\ny,2\nz,3\nTotal,6\n", {"a": ["x", "y", "z"], "b": ["1", "2", "3"]}),
    "values that begin with a hash": (
        ("c,a,b\n" + "#f0,1,2\n" * 9 + "#f1,3\n").encode(),
        {"c": ["#f0"] * 9 + ["#f1"], "a": ["1"] * 9 + ["3"], "b": ["2"] * 9 + [None]}),
    "a header behind a hash": (b"# made by me\n#a,b,c\n1,2,3\n4,5,6\n",
                               {"a": ["1", "4"], "b": ["2", "5"], "c": ["3", "6"]}),
    "a total above blank rows": (b"a,b,c\nx,1,2\ny,3,4\nz,5,6\nTotal,9,12\n , , \n",
                                 {"a": ["x", "y", "z"], "b": ["1", "3", "5"],
                                  "c": ["2", "4", "6"]}),
    "an index and one column": (b",a\n0,5\n1,7\n2,5\n", {"a": ["5", "7", "5"]}),
    "prose in one column": (b"review\nwell, yes\nnot, at all\nwell, no\n",
                            {"review": ["well, yes", "not, at all", "well, no"]}),
    "times in one column": (b"at\n10:15\n11:45\n", {"at": ["10:15", "11:45"]}),
    "a made name that is taken": (b"column_2,,x\n1,p,3\n2,q,4\n",
                                  {"column_2": ["1", "2"], "column_2_": ["p", "q"],
                                   "x": ["3", "4"]}),
    "missing values in one column": (b"a\n1\n\n3\n", {"a": ["1", None, "3"]}),
    "short rows": (b"a,b,c\n1,x,p\n2\n3,z,r\n",
                   {"a": ["1", "2", "3"], "b": ["x", None, "z"], "c": ["p", None, "r"]}),
    "dates with commas in text": (b'a;b\n"Jan 1, 2020";1,5\n"Feb 2, 2020";2,5\n',
                                  {"a": ["Jan 1, 2020", "Feb 2, 2020"], "b": ["1,5", "2,5"]}),
}  # fmt: skip


@pytest.mark.parametrize("habit", CELLS)
def test_cells_and_names(tmp_path: Path, habit: str) -> None:
    content, wanted = CELLS[habit]
    (tmp_path / "t.csv").write_bytes(content)
    assert open_file(tmp_path / "t.csv").frame().to_dict(as_series=False) == wanted


@pytest.mark.parametrize("columns", [3, 5])
def test_a_quote_that_swallows_rows_is_named(tmp_path: Path, columns: int) -> None:
    more = ",1" * (columns - 2)
    rows = "".join(f"{i},{chr(34) if i in (5, 25) else ''}n{i}{more}\n" for i in range(60))
    (tmp_path / "t.csv").write_text("id,name" + ",v" * (columns - 2) + "\n" + rows)
    with pytest.raises(DataError, match=r"opens in row 5 swallows 19 rows"):
        open_file(tmp_path / "t.csv").frame()
    assert open_file(tmp_path / "t.csv", ReadSpec(quote="")).frame().height == 60


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("1,x\n,\n2,y\n", "1 rows between others are blank"),
        ("1,x\n2,y,z\n3,w\n4,v\n", "1 rows have too many fields, the first of them row 1"),
    ],
)
def test_rows_to_answer_never_get_lost(tmp_path: Path, rows: str, said: str) -> None:
    (tmp_path / "t.csv").write_text("a,b\n" + rows)
    assert open_file(tmp_path / "t.csv").frame().height >= 1
    with pytest.raises(DataError, match=said):
        open_file(tmp_path / "t.csv", strict=True).frame()
    (tmp_path / "t.csv").write_text("a,b\n1,x\nTotal,3\n\n,\n")
    assert open_file(tmp_path / "t.csv", strict=True).frame().height == 2


def test_a_quote_that_is_never_closed_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('a,b\n5,6\n"1,2\n3,4\n')
    with pytest.raises(DataError, match=r"ends inside a quote that opens in row 1"):
        open_file(tmp_path / "t.csv").frame()


def test_a_pinned_footer_that_is_data_is_said(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n" + "".join(f"{i},x\n" for i in range(9)))
    source = open_file(tmp_path / "t.csv", ReadSpec(skip_footer=1))
    assert source.frame().height == 8
    assert any("looks like data: 8 | x" in f.measured for f in source.findings())


def test_a_header_longer_than_the_first_look(tmp_path: Path) -> None:
    names = ",".join(f"a rather long name number {i}" for i in range(20_000))
    (tmp_path / "t.csv").write_text(f"{names}\n{','.join(['1'] * 20_000)}\n")
    assert open_file(tmp_path / "t.csv").frame().shape == (1, 20_000)


def test_batches_cut_between_records(tmp_path: Path) -> None:
    rows = [f'{i},"line\nbreak, {i} ""q"""' for i in range(5000)]
    (tmp_path / "t.csv").write_text("a,b\n" + "\n".join(rows))
    file = DelimitedFile(tmp_path / "t.csv", ReadSpec())
    parts = list(file.batches(size=1 << 12))
    assert len(parts) > 5
    assert pl.concat(parts).equals(pl.concat(file.batches()))
    assert pl.concat(parts)["c1"][4999] == 'line\nbreak, 4999 "q"'


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), min_size=1, max_size=8)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(TEXTS, st.integers(-9999, 9999)), min_size=8, max_size=30),
       st.sampled_from([",", ";", "\t", "|"]))  # fmt: skip
def test_what_is_written_is_read(
    tmp_path: Path, rows: list[tuple[str, int]], delimiter: str
) -> None:
    table = pl.DataFrame({"text": [f"t{text}t" for text, _ in rows], "n": [n for _, n in rows]})
    path = tmp_path / "t.csv"
    table.write_csv(path, separator=delimiter, quote_style="non_numeric")
    pinned = ReadSpec(
        header=True, skip_footer=0, skip_rows=0, delimiter=delimiter, quote='"', comment=""
    )
    found = open_file(path, pinned).frame()
    assert found["text"].to_list() == table["text"].to_list()
    assert found["n"].cast(pl.Int64).to_list() == table["n"].to_list()


def test_the_real_messy_files_of_the_world(tmp_path: Path) -> None:
    """The Air Quality habit: semicolons, decimal commas, -200 for missing, blank tail rows."""
    rows = [f"{1 + i % 28:02d}/03/2004;{i % 24:02d}.00.00;{i // 7},{i % 7};"
            f"{-200 if i % 9 == 0 else i};;,,,,\n" for i in range(400)]  # fmt: skip
    (tmp_path / "air.csv").write_text(
        "Date;Time;CO(GT);NOx;;,,,,\n" + "".join(rows) + ";;;;;,,,,\n" * 3
    )
    frame = open_file(tmp_path / "air.csv").frame()
    assert frame.columns == ["Date", "Time", "CO(GT)", "NOx"] and frame.height == 400
