"""Packed files: gzip, and zip archives with several files.

Nothing is unpacked to a named place, and everything is bounded: a file may unpack to at most
`MOST_UNPACKED` bytes, and to at most `MOST_RATIO` times its size once it is large. An archive is
refused if a name in it leads out of its folder, if it is encrypted, or if it is packed in another
way than everyday tools do (APPNOTE.TXT of PKWARE, sections 4.3 and 4.4.5).
"""

import gzip
import io
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from data.store.errors import Invalid

GZIP = b"\x1f\x8b"
ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # the second begins an archive without files
MOST_UNPACKED = 8 * 1024**3  # bytes
MOST_RATIO = 200  # text packs to a twentieth or so, repeated zeros to a thousandth
FREE = 64 * 1024**2  # bytes that any file may unpack to
MOST_MEMBERS = 20_000
MOST_DIRECTORY = 8 * 1024**2  # bytes that an archive's list of files may have
END, ZIP64_END = b"PK\x05\x06", b"PK\x06\x07"
END_AT_MOST = 22 + 65_535  # bytes of the end record with its comment
AT_ONCE = 1024 * 1024  # bytes
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
IGNORED = frozenset({".ds_store", "thumbs.db", "desktop.ini"})


class _Bounded(io.RawIOBase):
    """A file that is unpacked while it is read, up to a number of bytes."""

    def __init__(self, file: IO[bytes], most: int, path: Path) -> None:
        self._file, self._most, self._path = file, most, path

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: bytearray, /) -> int:  # type: ignore[override] # any buffer
        data = self._file.read(len(buffer))
        if self._file.tell() > self._most:
            raise Invalid(too_large(self._path))
        buffer[: len(data)] = data
        return len(data)


def gunzipped(file: IO[bytes], path: Path, most: int = MOST_UNPACKED) -> IO[bytes]:
    """A gzip file as what it holds, up to `most` bytes. Reading raises Invalid beyond the bound,
    and what `gzip` raises for a damaged file."""
    packed = gzip.GzipFile(fileobj=file)
    bound = min(most, _bound(size_of(file)))
    return io.BufferedReader(_Bounded(packed, bound, path))  # type: ignore[type-var, arg-type]


def size_of(file: IO[bytes]) -> int:
    """The size of a file in bytes, which is then read from its beginning."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return size


def is_zip(file: IO[bytes]) -> bool:
    start = file.read(4)
    file.seek(0)
    return start in ZIP


def holds(file: IO[bytes], name: str) -> bool:
    """Whether a file is a zip archive with a file of that name. False if it cannot be opened."""
    if not is_zip(file):
        return False
    try:
        _refuse_directory(file, Path())
        with zipfile.ZipFile(file) as archive:
            return name in archive.NameToInfo
    except (Invalid, zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError):
        return False
    finally:
        file.seek(0)


def open_zip(file: IO[bytes], path: Path, most: int = MOST_UNPACKED) -> zipfile.ZipFile:
    """A zip archive whose names and declared sizes are harmless, which unpacks to at most `most`
    bytes. Raises Invalid."""
    _refuse_directory(file, path)
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError) as error:
        raise Invalid(f"{path} is damaged: {error}") from None
    found = archive.infolist()
    if len(found) > MOST_MEMBERS:
        raise Invalid(f"{path} holds {len(found):,} files; an archive may hold {MOST_MEMBERS:,}.")
    for info in found:
        _refuse_member(info, path)
    if len(archive.NameToInfo) < len(found):
        raise Invalid(f"{path} holds two files of one name. Unpack it and import what it holds.")
    if unpacked_size(archive) > min(most, _bound(sum(i.compress_size for i in found))):
        raise Invalid(too_large(path))
    return archive


def unpacked_size(archive: zipfile.ZipFile) -> int:
    """The bytes that an archive says it unpacks to."""
    return sum(info.file_size for info in archive.infolist())


def member_names(archive: zipfile.ZipFile) -> list[str]:
    """The files of an archive, without folders and without what file managers add."""
    return [
        info.filename
        for info in archive.infolist()
        if not info.is_dir()
        and not info.filename.startswith("__MACOSX/")
        and PurePosixPath(info.filename).name.casefold() not in IGNORED
    ]


def member(archive: zipfile.ZipFile, name: str, path: Path) -> IO[bytes]:
    """One file of an archive, in a temporary file that the caller closes. Raises Invalid if it is
    damaged."""
    made = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    try:
        made.writelines(chunks(archive, name, path))
    except BaseException:
        made.close()
        raise
    made.seek(0)
    return made


def chunks(archive: zipfile.ZipFile, name: str, path: Path) -> Iterator[bytes]:
    """One file of an archive, piece by piece; at most as much as the archive declares, which
    `open_zip` checked. Raises Invalid if it is damaged."""
    try:
        with archive.open(name) as packed:
            while data := packed.read(AT_ONCE):
                yield data
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise Invalid(f"{path} is damaged: {error}") from None


def printable(name: str) -> str:
    """A name as it can be shown."""
    return "".join(c if c.isprintable() else "?" for c in name)


def too_large(path: Path) -> str:
    return (
        f"{path} unpacks to more than {MOST_RATIO} times its size, or to more than "
        f"{MOST_UNPACKED // 1024**3} GiB. Unpack it yourself and import what it holds."
    )


def _bound(packed: int) -> int:
    return min(MOST_UNPACKED, max(FREE, MOST_RATIO * packed))


def _refuse_directory(file: IO[bytes], path: Path) -> None:
    """Raises Invalid for a list of files that would not fit into memory; `zipfile` reads it
    whole."""
    size = size_of(file)
    file.seek(max(0, size - END_AT_MOST - 20))
    tail = file.read()
    file.seek(0)
    at = tail.rfind(END)
    if at < 0 or len(tail) < at + 22:
        raise Invalid(f"{path} is damaged: its list of files is missing.")
    directory = int.from_bytes(tail[at + 12 : at + 16], "little")
    zip64 = tail[max(0, at - 20) : at].startswith(ZIP64_END)
    if zip64 or directory > MOST_DIRECTORY:
        raise Invalid(f"{path} holds too many files, or files that are too large.")


def _refuse_member(info: zipfile.ZipInfo, path: Path) -> None:
    name = info.orig_filename
    parts = name.replace("\\", "/").split("/")
    if (
        ".." in parts
        or name.startswith(("/", "\\"))
        or parts[0][1:2] == ":"
        or not name.isprintable()
    ):
        raise Invalid(
            f"{path} is refused: the name “{printable(name)[:100]}” in it leads out of its folder."
        )
    if info.flag_bits & 1:
        raise Invalid(f"{path} is encrypted. Unpack it and import what it holds.")
    if info.compress_type not in METHODS and not info.is_dir():
        raise Invalid(f"{path} is packed in an unusual way. Pack it as an ordinary zip archive.")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise Invalid(f"{path} is refused: {name} in it is a link.")
