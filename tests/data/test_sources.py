"""Files open right, or say why not."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest

from modelwright.core.errors import DataError, UsageError
from modelwright.data.sources import read_file, read_source, write_file

TEXT = "a;b\n1;x\n2;y\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", b"a,b\n1,x\n2,y\n"),
        ("t.csv", b"\xef\xbb\xbfa,b\n1,x\n2,y\n"),
        ("t.csv", b"a,b\r\n1,x\r\n2,y\r\n"),
        ("t.csv", TEXT.encode()),
        ("t.tsv", TEXT.replace(";", "\t").encode()),
        ("t.txt", TEXT.replace(";", "|").encode()),
        ("t.csv.gz", gzip.compress(TEXT.encode())),
        ("t.CSV", TEXT.encode()),
    ],
)
def test_one_table_in_many_forms(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    frame = read_file(tmp_path / name).frame
    assert frame.to_dict(as_series=False) == {"a": [1, 2], "b": ["x", "y"]}


def test_cp1252_is_read_and_said(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("name,n\nCaf\u00e9,1\n".encode("cp1252"))
    read = read_file(tmp_path / "t.csv")
    assert read.frame["name"][0] == "Caf\u00e9"
    assert "line 2 is not UTF-8" in read.findings[0].measured


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", b"", "is empty"),
        ("t.csv", b"a,b\n", "has no rows"),
        ("t.csv", b"a,b\n1,2,3\n", "not a readable CSV"),
        ("t.csv", b"\x00\x01\x02\x00", "holds zero bytes"),
        ("t.csv.gz", gzip.compress(b"a,b\n1,2\n")[:-9], "not a whole gzip file"),
        ("t.parquet", b"a,b\n1,2\n", "not a readable Parquet"),
        ("t.csv", b"PAR1rest", "is Parquet, not CSV"),
        ("t.xyz", b"a", "no ending that is known"),
    ],
)
def test_wrong_files(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_file(tmp_path / name)


def test_an_absent_file_lists_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "right.csv").write_text("a\n1\n")
    with pytest.raises(DataError, match=r"Tables there: right\.csv"):
        read_file(tmp_path / "wrong.csv")


def test_a_source_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mysource.py").write_text("class S:\n    def read(self): return {'a': [1, 2]}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert read_source("mysource:S", tmp_path).frame["a"].to_list() == [1, 2]


def test_write_is_whole_or_nothing(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": [1.5, 2.5]})
    for name in ("o.csv", "o.parquet"):
        write_file(frame, tmp_path / name)
        assert read_file(tmp_path / name).frame.equals(frame)
    with pytest.raises(UsageError, match=r"must be \.csv or \.parquet"):
        write_file(frame, tmp_path / "o.xlsx")
    with pytest.raises(UsageError, match="Cannot write"):
        write_file(frame, tmp_path / "no" / "o.csv")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o.csv", "o.parquet"]


def test_an_object_that_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no read\(\)"):
        read_source("collections:OrderedDict", tmp_path)
