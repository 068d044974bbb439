"""Folders: read as the archive of their files would be."""

import tempfile
import zipfile
from pathlib import Path
from typing import IO

from data.pair_files import archives
from data.store.errors import Invalid

# how the names of files end that are read
IN_FOLDERS = frozenset({
    ".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".txt", ".md", ".markdown", ".html", ".htm",
    ".docx", ".xlsx", ".parquet", ".xml", ".gz", ".zip",
})  # fmt: skip


def files_of(folder: Path) -> tuple[list[str], list[str]]:
    """The files of a folder that are read, by their names, and those that are left out. Hidden
    files and links are neither. Raises Invalid if there are none, or too many."""
    read: list[str] = []
    left_out: list[str] = []
    size = 0
    for file in folder.rglob("*"):
        name = file.relative_to(folder).as_posix()
        if name.startswith(".") or "/." in name or file.is_symlink() or not file.is_file():
            continue
        if file.suffix.casefold() not in IN_FOLDERS or not name.isprintable():
            left_out.append(archives.printable(name))
            continue
        read.append(name)
        size += file.stat().st_size
        if len(read) > archives.MOST_MEMBERS or size > archives.MOST_UNPACKED:
            raise Invalid(
                f"{folder} has more than {archives.MOST_MEMBERS:,} files, or more than "
                f"{archives.MOST_UNPACKED // 1024**3} GiB. Name one of the folders in it."
            )
    if not read:
        raise Invalid(
            f"{folder} holds no file of pairs: their names end with "
            f"{', '.join(sorted(IN_FOLDERS))}."
        )
    return sorted(read), sorted(left_out)


def packed(folder: Path, names: list[str]) -> IO[bytes]:
    """A temporary archive of files of a folder: a folder is read as its archive would be."""
    made = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    with zipfile.ZipFile(
        made, "w", zipfile.ZIP_DEFLATED, compresslevel=1, strict_timestamps=False
    ) as archive:
        for name in names:
            archive.write(folder / name, name)
    made.seek(0)
    return made
