"""Real habits of real files: each opens right, or says why not."""

from __future__ import annotations

import bz2
import contextlib
import datetime as dt
import gzip
import importlib.util
import io
import lzma
import zipfile
from pathlib import Path

import fsspec
import polars as pl
import pytest
import sqlalchemy
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelwright.core.errors import DataError, MissingExtra, ModelwrightError, UsageError
from modelwright.core.spec_data import ReadSpec
from modelwright.data.kinds import infer
from modelwright.data.sources import open_file, open_source

TEXT = "a,b\n1,x\n2,y\n"
WANTED = {"a": ["1", "2"], "b": ["x", "y"]}


def zipped(**files: bytes) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "."), content)
    return held.getvalue()


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
    "gzip": ("t.csv.gz", gzip.compress(TEXT.encode())),
    "gzip without the ending": ("t.csv", gzip.compress(TEXT.encode())),
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


def test_what_was_decided_is_said(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("name;n;n\nCaf\u00e9;1;2\n;;\n".encode("cp1252"))
    source = open_file(tmp_path / "t.csv")
    source.frame()
    said = {f.check: f.measured for f in source.findings()}
    assert said["encoding"] == "cp1252 (line 2 is not UTF-8)" and said["delimiter"] == "';'"
    assert said["name given twice"].endswith("n (2)") and said["blank rows"] == "1 left out"
    assert source.detected == {"encoding": "cp1252", "delimiter": ";"}


def test_what_is_pinned_is_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b;c\n1,2;3\n4,5;6\n")
    frame = open_file(tmp_path / "t.csv", ReadSpec(delimiter=";")).frame()
    assert frame.columns == ["a,b", "c"]
    frame = open_file(tmp_path / "t.csv", ReadSpec(header=False)).frame()
    assert frame.height == 3
    with pytest.raises(DataError, match=r"data\.read\.encoding 'klingon' does not fit"):
        open_file(tmp_path / "t.csv", ReadSpec(encoding="klingon"))


def test_rows_with_too_many_fields_are_named_or_refused(tmp_path: Path) -> None:
    good = "".join(f"{i},x\n" for i in range(500))
    (tmp_path / "t.csv").write_text("a,b\n" + good + "1,2,3\n")
    source = open_file(tmp_path / "t.csv")
    assert source.frame().height == 500
    [found] = source.findings()
    assert (found.check, found.measured, found.rows) == ("broken rows", "1 of 501", (500,))
    (tmp_path / "t.csv").write_text("a,b\n" + good + "1,2,3\n" * 30)
    with pytest.raises(DataError, match="30 of 530 rows have more than 2 fields"):
        open_file(tmp_path / "t.csv").frame()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", b"", "is empty"),
        ("t.csv", b"  \n \n", "is empty"),
        ("t.csv", b"a,b\n", "has no rows"),
        ("t.csv", b"\x00\x01\x02\x00\x80", "holds zero bytes"),
        ("t.csv.gz", gzip.compress(b"a,b\n1,2\n" * 999)[:-9], "is not whole"),
        ("t.csv.zst", zstandard.compress(b"a,b\n1,2\n" * 999)[:-9], "the last frame has no end"),
        ("t.zip", b"PK\x03\x04 and no more", "is damaged"),
        ("t.zip", zipped(a__csv=b"a\n1\n", b__csv=b"a\n1\n"), r"holds a\.csv, b\.csv"),
        ("t.parquet", b"a,b\n1,2\n", "not a readable Parquet"),
        ("t.feather", b"a,b\n1,2\n", "not a readable Arrow"),
        ("t.xlsx", b"a,b\n1,2\n", "not a readable workbook"),
        ("t.jsonl", b'{"a": 1}\n{"a": \n', "line 2"),
        ("t.csv", b"PAR1rest", "is Parquet, not text"),
        ("t.csv", b"PK\x03\x04rest", "is damaged|workbook"),
        ("t.xyz", b"a", "no ending that is known"),
    ],
)
def test_wrong_files(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said):
        open_file(tmp_path / name).frame()


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


def test_a_pinned_footer_that_is_data_is_said(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n" + "".join(f"{i},x\n" for i in range(9)))
    source = open_file(tmp_path / "t.csv", ReadSpec(skip_footer=1))
    assert source.frame().height == 8
    assert any("looks like data: 8 | x" in f.measured for f in source.findings())


def test_a_header_longer_than_the_first_look(tmp_path: Path) -> None:
    names = ",".join(f"a rather long name number {i}" for i in range(20_000))
    (tmp_path / "t.csv").write_text(f"{names}\n{','.join(['1'] * 20_000)}\n")
    assert open_file(tmp_path / "t.csv").frame().shape == (1, 20_000)


def test_what_a_zip_holds_decides(tmp_path: Path) -> None:
    (tmp_path / "t.zip").write_bytes(zipped(d__jsonl=b'{"a": 0, "b": "x"}\n{"a": 1, "b": "y"}\n'))
    assert open_file(tmp_path / "t.zip").frame()["a"].to_list() == [0, 1]


def test_an_absent_file_lists_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "right.csv").write_text("a\n1\n")
    with pytest.raises(DataError, match=r"Tables there: right\.csv"):
        open_file(tmp_path / "wrong.csv")


def sample() -> pl.DataFrame:
    moment = dt.datetime(2020, 1, 31, 12)
    return pl.DataFrame({"n": [1, None, 3], "x": [1.5, -2.0, None], "t": ["a", None, "\u00e9,\n"],
                         "when": [moment, None, moment]})  # fmt: skip


def as_feeds(frame: pl.DataFrame) -> dict[str, list[object]]:
    found = {
        name: infer(frame[name], kind)
        for name, kind in {
            "n": "number",
            "x": "number",
            "t": "category",
            "when": "datetime",
        }.items()
    }
    return {name: [str(v) for v in f.values.tolist()] for name, f in found.items()}


@pytest.mark.parametrize("ending", ["csv", "parquet", "arrow", "feather", "jsonl", "json", "xlsx"])
def test_one_table_in_many_formats(tmp_path: Path, ending: str) -> None:
    table, path = sample(), tmp_path / f"t.{ending}"
    if ending == "xlsx":
        table.write_excel(path)
    else:
        writers = {"csv": table.write_csv, "parquet": table.write_parquet,
                   "arrow": table.write_ipc, "feather": table.write_ipc,
                   "jsonl": table.write_ndjson, "json": table.write_json}  # fmt: skip
        writers[ending](path)
    assert as_feeds(open_file(path).frame()) == as_feeds(table)


def test_a_folder_and_a_glob_are_one_table(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    for number in (2, 1):
        (tmp_path / "parts" / f"{number}.csv").write_text(f"a,b\n{number},x\n")
    (tmp_path / "parts" / "notes.md").write_text("no table")
    for source in ("parts", "parts/*.csv", str(tmp_path / "parts" / "*.csv")):
        assert open_source(source, tmp_path).frame()["a"].to_list() == ["1", "2"]
    (tmp_path / "parts" / "3.csv").write_text("a,c\n3,x\n")
    with pytest.raises(DataError, match=r"3\.csv has other columns than 1\.csv: b, c"):
        open_source("parts", tmp_path).frame()
    with pytest.raises(DataError, match="No table matches"):
        open_source("parts/*.parquet", tmp_path)


def test_a_source_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mysource.py").write_text("class S:\n    def read(self): return {'a': [1, 2]}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert open_source("mysource:S", tmp_path).frame()["a"].to_list() == [1, 2]
    with pytest.raises(UsageError, match=r"has no read\(\)"):
        open_source("collections:OrderedDict", tmp_path)


def test_a_file_over_http(tmp_path: Path, served: str) -> None:
    assert open_source(f"{served}/t.csv?token=secret", tmp_path).frame().height == 2
    with pytest.raises(DataError, match=r"There is no http.*/none\.csv\. Check the address"):
        open_source(f"{served}/none.csv?token=secret", tmp_path)
    with pytest.raises(DataError, match="cannot be fetched"):
        open_source("http://127.0.0.1:9/t.csv", tmp_path)


def test_any_storage_of_fsspec(tmp_path: Path) -> None:
    with fsspec.open("memory://bucket/t.csv.gz", "wb") as file:
        file.write(gzip.compress(TEXT.encode()))
    assert open_source("memory://bucket/t.csv.gz", tmp_path).frame().height == 2
    with pytest.raises(DataError, match="Protocol not known: weird"):
        open_source("weird://bucket/t.csv", tmp_path)


@pytest.mark.parametrize(
    ("scheme", "package"), [("s3", "s3fs"), ("gs", "gcsfs"), ("abfs", "adlfs")]
)
def test_storage_whose_package_is_not_installed(tmp_path: Path, scheme: str, package: str) -> None:
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises(MissingExtra, match=rf"{package} is not installed.*modelwright\[remote\]"):
        open_source(f"{scheme}://bucket/t.csv", tmp_path)


def test_sqlite(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("create table t (a integer, b text)"))
        connection.execute(sqlalchemy.text("insert into t values (1, 'x'), (null, 'y')"))
    found = open_source(url, tmp_path, ReadSpec(query="select * from t order by b")).frame()
    assert found.to_dict(as_series=False) == {"a": [1, None], "b": ["x", "y"]}
    with pytest.raises(DataError, match="no such table: u"):
        open_source(url, tmp_path, ReadSpec(query="select * from u")).frame()
    with pytest.raises(DataError, match=r"needs a query. Set data\.read\.query"):
        open_source(url, tmp_path).frame()


def test_postgresql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: str) -> None:
    query = ("select i as n, i / 3.0 as x, 'g' || i % 3 as g, now() as at, i % 2 = 0 as even "
             "from generate_series(1, 120000) i")  # fmt: skip
    monkeypatch.setenv("SHOP_DB", postgres.partition("://")[2])
    source = open_source("postgresql+psycopg://${SHOP_DB}", tmp_path, ReadSpec(query=query))
    sizes = [frame.height for frame in source.batches()]
    assert sum(sizes) == 120_000 and len(sizes) > 1
    frame = source.frame()
    assert infer(frame["x"]).column.kind == "number" and infer(frame["g"]).column.levels[0] == "g0"
    with pytest.raises(DataError, match="NO_SUCH_VARIABLE}, which is not set"):
        open_source("postgresql+psycopg://${NO_SUCH_VARIABLE}/x", tmp_path,
                    ReadSpec(query=query)).frame()  # fmt: skip
    with pytest.raises(DataError) as caught:
        open_source("postgresql+psycopg://u:secret@127.0.0.1:1/x", tmp_path,
                    ReadSpec(query=query)).frame()  # fmt: skip
    assert "refused" in str(caught.value) and "secret" not in str(caught.value)


def test_batches_cut_between_records(tmp_path: Path) -> None:
    rows = [f'{i},"line\nbreak, {i} ""q"""' for i in range(5000)]
    (tmp_path / "t.csv").write_text("a,b\n" + "\n".join(rows))
    from modelwright.data.delimited import DelimitedFile

    file = DelimitedFile(tmp_path / "t.csv", ReadSpec())
    parts = list(file.batches(size=1 << 12))
    assert len(parts) > 5
    assert pl.concat(parts).equals(pl.concat(file.batches()))
    assert pl.concat(parts)["c1"][4999] == 'line\nbreak, 4999 "q"'


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300) | st.text("ab1,;\t|\"'\r\n #.\u00e9\x00", max_size=200).map(
    str.encode))  # fmt: skip
def test_no_bytes_make_a_traceback(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    try:
        frame = open_file(path).frame()
    except ModelwrightError:
        return
    assert frame.width == len(set(frame.columns)) > 0 and all(n.strip() for n in frame.columns)
    for name in frame.columns:
        with contextlib.suppress(ModelwrightError):
            infer(frame[name])


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
