"""Real habits of real files: each opens right, or says why not."""

from __future__ import annotations

import contextlib
import datetime as dt
import gzip
import io
import sys
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
    assert (found.check, found.measured, found.rows) == ("broken rows", "1 of 501: row 500", (500,))
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
        ("t.csv.gz", gzip.compress(b"a,b\n1,2\n" * 999, mtime=0)[:-9], "is not whole"),
        ("t.csv.zst", zstandard.compress(b"a,b\n1,2\n" * 999)[:-9], "the last frame has no end"),
        ("t.zip", b"PK\x03\x04 and no more", "is damaged"),
        ("t.zip", zipped(a__csv=b"a\n1\n", b__csv=b"a\n1\n"), r"holds 2 files: a\.csv, b\.csv"),
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
        file.write(gzip.compress(TEXT.encode(), mtime=0))
    assert open_source("memory://bucket/t.csv.gz", tmp_path).frame().height == 2
    with pytest.raises(DataError, match="Protocol not known: weird"):
        open_source("weird://bucket/t.csv", tmp_path)


@pytest.mark.parametrize(
    ("scheme", "package"), [("s3", "s3fs"), ("gs", "gcsfs"), ("abfs", "adlfs")]
)
def test_storage_whose_package_is_not_installed(
    tmp_path: Path, scheme: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # an import of it fails, installed or not
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


ENDINGS = ["parquet", "arrow", "jsonl", "json", "xlsx", "csv.gz", "csv.zst", "zip", "csv.xz"]
STARTS = [b"", b"PAR1", b"ARROW1\x00\x00", b"{", b'[{"a":', b"PK\x03\x04", b"\x1f\x8b\x08",
          b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\x00"]  # fmt: skip


@settings(max_examples=200, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(st.sampled_from(ENDINGS), st.sampled_from(STARTS), st.binary(max_size=200))
def test_no_bytes_under_any_ending_make_a_traceback(
    tmp_path: Path, ending: str, start: bytes, content: bytes
) -> None:
    path = tmp_path / f"t.{ending}"
    path.write_bytes(start + content)
    with contextlib.suppress(ModelwrightError):
        open_file(path).frame()


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
