"""The bytes of a file: local or remote, compressed or not."""

from __future__ import annotations

import atexit
import bz2
import contextlib
import gzip
import lzma
import os
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import zstandard

from modelwright.core.errors import DataError, MissingExtra, did_you_mean

try:
    import fsspec
except ImportError:
    fsspec = None

_VARIABLE = re.compile(r"\$\{(\w+)\}")
_PACKAGES = {
    "http": "aiohttp", "https": "aiohttp", "s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs",
    "abfs": "adlfs", "abfss": "adlfs", "az": "adlfs",
}  # fmt: skip
COMPRESSED = (".gz", ".zst", ".zip", ".bz2", ".xz")
_BROKEN = (
    OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, zstandard.ZstdError,
    RuntimeError, NotImplementedError,
)  # fmt: skip
"""What the decompressors raise on damaged or cut input; zipfile raises RuntimeError where a
password is wanted, and NotImplementedError for a method of compression that it lacks."""
BLOCK = 1 << 24
_ZSTD = b"\x28\xb5\x2f\xfd"


def is_remote(source: str) -> bool:
    """Whether a source is a URL that fsspec opens.

    Example:
        >>> is_remote("s3://bucket/a.csv"), is_remote("C:/a.csv"), is_remote("a.csv")
        (True, False, False)
    """
    scheme, found, _ = source.partition("://")
    return bool(found) and len(scheme) > 1 and scheme.replace("+", "").isalnum()


def fetched(url: str) -> Path:
    """Copy a remote file to a temporary one that goes when this process ends.

    Raises:
        MissingExtra: fsspec, or the package for that kind of storage, is not installed.
        DataError: it cannot be fetched.
    """
    if fsspec is None:
        raise MissingExtra("fsspec", "remote")
    name = url.split("?", 1)[0].rstrip("/").rsplit("/", 1)[-1] or "table.csv"
    folder = Path(tempfile.mkdtemp(prefix="modelwright-"))
    path = folder / name
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    shown = without_password(url)
    try:
        with fsspec.open(filled(url), "rb") as remote, path.open("wb") as local:
            shutil.copyfileobj(remote, local, 1 << 22)
    except ImportError as error:
        scheme = url.partition("://")[0]
        raise MissingExtra(_PACKAGES.get(scheme, f"what reads {scheme}://"), "remote") from error
    except (OSError, ValueError, RuntimeError) as error:
        cause = error.__cause__ or error
        if isinstance(cause, FileNotFoundError):
            raise DataError(f"There is no {shown}.", hint="Check the address.") from error
        first = (str(cause).splitlines() or [type(cause).__name__])[0][:200]
        raise DataError(
            f"{shown} cannot be fetched: {first}.", hint="Is it reachable from here, with rights?"
        ) from error
    return path


def filled(url: str) -> str:
    """An address with each `${NAME}` replaced by that environment variable.

    Raises:
        DataError: a variable that is not set.
    """

    def value(found: re.Match[str]) -> str:
        if found[1] not in os.environ:
            raise DataError(f"data.source names ${{{found[1]}}}, which is not set.",
                            hint=f"export {found[1]}=...")  # fmt: skip
        return os.environ[found[1]]

    return _VARIABLE.sub(value, url)


def without_password(url: str) -> str:
    """A URL as messages may show it.

    Example:
        >>> without_password("postgresql://ann:secret@db/shop")
        'postgresql://ann:***@db/shop'
    """
    scheme, slashes, rest = url.partition("://")
    place, at, host = rest.rpartition("@")
    if not at or "/" in place:
        return url.split("?", 1)[0]
    return f"{scheme}{slashes}{place.split(':', 1)[0]}:***@{host}".split("?", 1)[0]


def bare_name(path: Path) -> str:
    """The file's name in lower case without the endings of compression.

    Example:
        >>> bare_name(Path("A.CSV.gz"))
        'a.csv'
    """
    name = path.name.lower()
    while name.endswith(COMPRESSED):
        name = name.rsplit(".", 1)[0]
    return name


def _opened(path: Path, magic: bytes, member: str | None) -> BinaryIO:
    """Open a file for reading, decompressed by what its first bytes say."""
    try:
        if magic[:2] == b"\x1f\x8b":
            return cast(BinaryIO, gzip.open(path, "rb"))
        if magic[:3] == b"BZh":
            return cast(BinaryIO, bz2.open(path, "rb"))
        if magic[:6] == b"\xfd7zXZ\x00":
            return cast(BinaryIO, lzma.open(path, "rb"))
        if magic[:4] == b"PK\x03\x04" and not path.name.lower().endswith((".xlsx", ".xlsm")):
            archive = zipfile.ZipFile(path)
            return cast(BinaryIO, archive.open(_member(archive, path, member)))
    except _BROKEN as error:
        raise DataError(f"{path.name} is damaged: {error}.", hint="Fetch it again.") from error
    return path.open("rb")


def member_name(path: Path, wanted: str | None) -> str:
    """The file of a zip archive that would be read; the archive's own name when it is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _member(archive, path, wanted)
    except _BROKEN:
        return bare_name(path)


def temporary(suffix: str = "") -> Path:
    """An empty file that goes when this process ends."""
    handle, name = tempfile.mkstemp(prefix="modelwright-", suffix=suffix)
    os.close(handle)
    atexit.register(Path(name).unlink, missing_ok=True)
    return Path(name)


def _member(archive: zipfile.ZipFile, path: Path, wanted: str | None) -> str:
    names = [n for n in archive.namelist() if not n.endswith("/") and "__MACOSX" not in n]
    if wanted is not None:
        if wanted not in names:
            hint = did_you_mean(wanted, names) or f"It holds: {', '.join(names[:8])}."
            raise DataError(f"{path.name} has no file {wanted!r}.", hint=hint)
        return wanted
    tables = [n for n in names if not n.lower().endswith((".md", ".pdf", ".html", ".txt"))]
    found = tables or names
    if len(found) != 1:
        listed = ", ".join(found[:4]) + (f" and {len(found) - 4:,} more" if len(found) > 4 else "")
        raise DataError(
            f"{path.name} holds {len(found):,} files: {listed or 'none'}.",
            hint="If one of them is the table, name it: data.read.member.",
        )
    return found[0]


def blocks(path: Path, member: str | None = None, size: int = BLOCK) -> Iterator[bytes]:
    """The decompressed bytes of a file, about `size` at a time.

    Args:
        path: the file; how it is compressed is read off its first bytes.
        member: which file of a zip archive; needed when it holds more than one table.
        size: bytes a block.

    Raises:
        DataError: damaged, cut short, or an archive whose table is not plain to see.
    """
    with path.open("rb") as file:
        magic = file.read(6)
    source = _zstd(path, size) if magic[:4] == _ZSTD else _plain(path, magic, member, size)
    try:
        yield from source
    except _BROKEN as error:
        raise DataError(
            f"{path.name} is not whole: {error}.", hint="Was it cut short? Fetch it again."
        ) from error


def _plain(path: Path, magic: bytes, member: str | None, size: int) -> Iterator[bytes]:
    with contextlib.closing(_opened(path, magic, member)) as file:
        while block := file.read(size):
            yield block


def _zstd(path: Path, size: int) -> Iterator[bytes]:
    """Frames one after the other; the last must have its end."""
    reader = None
    with path.open("rb") as file:
        left = b""
        while data := left or file.read(max(1, size // 4)):
            if reader is None:
                reader = zstandard.ZstdDecompressor().decompressobj()
            if block := reader.decompress(data):
                yield block
            left = b""
            if reader.eof:
                left, reader = reader.unused_data, None
    if reader is not None:
        raise EOFError("the last frame has no end")
