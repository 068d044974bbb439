"""Compressed files, and files that are not UTF-8."""

import gzip
import os
import threading
from pathlib import Path

import pytest

from data.domains import Domain
from data.pair_files import files, importer
from data.pair_files.verdicts import BadRow
from data.pairs import pairs
from data.pairs.pairs import Draft
from data.store.db import Store
from data.store.errors import Invalid

TABLE = (
    "Frage;Antwort\nWo ist die Küche?;Im großen Flur, über dem Büro.\nWann öffnet ihr?;Später.\n"
)
DRAFTS = [
    Draft("Wo ist die Küche?", "Im großen Flur, über dem Büro."),
    Draft("Wann öffnet ihr?", "Später."),
]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_table_in_any_encoding_is_read(tmp_path: Path, encoding: str, packed: bool) -> None:
    raw = TABLE.encode(encoding)
    (tmp_path / "a.csv").write_bytes(gzip.compress(raw) if packed else raw)
    assert list(files.read(tmp_path / "a.csv")) == DRAFTS


def test_cyrillic_windows_text_is_read(tmp_path: Path) -> None:
    said = "вопрос;ответ\nКогда открыто?;С девяти утра до шести вечера, кроме воскресенья.\n"
    (tmp_path / "a.csv").write_bytes(said.encode("cp1251"))
    (found,) = files.read(tmp_path / "a.csv")
    assert isinstance(found, Draft)
    assert found.prompt == "Когда открыто?"


def test_the_report_says_how_a_file_was_read(store: Store, domain: Domain, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(TABLE.encode("cp1252"))
    report = importer.import_file(store, domain, tmp_path / "a.csv")
    assert report.added == 2
    assert "a.csv is not UTF-8. It was read as cp1252" in report.notes[0]
    assert pairs.list_pairs(store.db, domain)[1].response == "Später."


def test_a_broken_byte_in_a_utf_8_file_costs_its_row(tmp_path: Path) -> None:
    raw = TABLE.encode() + b"caf\xe9;x\n"
    (tmp_path / "a.csv").write_bytes(raw)
    assert list(files.read(tmp_path / "a.csv")) == [
        *DRAFTS,
        BadRow(4, "not valid UTF-8: byte 0xe9"),
    ]
    (tmp_path / "b.csv").write_bytes(
        b"Frage;Antwort\ncaf\xe9;x\n" + TABLE.encode().partition(b"\n")[2]
    )
    assert isinstance(next(files.read(tmp_path / "b.csv")), BadRow)


def test_a_damaged_archive_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(TABLE.encode() * 50)[:-30])
    with pytest.raises(Invalid, match="is damaged"):
        list(files.read(tmp_path / "a.csv.gz"))


def test_a_damaged_byte_in_an_archive_says_so(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(TABLE.encode() * 50))
    packed[20] ^= 0xFF
    packed[25] ^= 0xFF
    (tmp_path / "a.csv.gz").write_bytes(packed)
    with pytest.raises(Invalid, match="is damaged"):
        list(files.read(tmp_path / "a.csv.gz"))


def test_a_pipe_is_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(TABLE, "utf-8"))
    writer.start()
    assert list(files.read(pipe)) == DRAFTS
    writer.join()
