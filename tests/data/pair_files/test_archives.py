"""Zip archives and gzip files: all that is read in them, and what is refused."""

import gzip
import io
import zipfile
from pathlib import Path

import pytest

from data.domains import Domain
from data.pair_files import archives, files, importer
from data.pair_files.formats import detect_packed
from data.pair_files.verdicts import BadRow
from data.pairs.pairs import Draft
from data.store.db import Store
from data.store.errors import Invalid

SAMPLES = Path(__file__).parent / "samples"
TABLE = b"Frage;Antwort\nOffen?;Ja.\n"
LINE = b'{"prompt": "Is it open?", "response": "Yes."}\n'


def packed(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_each_file_of_a_zip_is_read_and_named(store: Store, domain: Domain, tmp_path: Path) -> None:
    sheets = SAMPLES.joinpath("faq.xlsx").read_bytes()
    members = {
        "shop/a.csv": TABLE,
        "b.jsonl.gz": gzip.compress(LINE + b"{}\n"),
        "faq.xlsx": sheets,
        "__MACOSX/b.jsonl": b"\x00\x05\x16\x07",
        "logo.png": b"\x89PNG\x00",
    }
    report = importer.import_file(store, domain, packed(tmp_path / "all.zip", **members))
    assert (report.added, report.bad_total) == (10, 1)
    assert (report.bad[0].member, report.bad[0].line) == ("b.jsonl.gz", 2)
    assert (
        "Files of all.zip that were read: shop/a.csv (1 row), b.jsonl.gz (2 rows), faq.xlsx "
        "(8 rows)."
    ) in report.notes
    assert "Files of all.zip that hold no pairs and were left out: logo.png." in report.notes
    refs = [r["source_ref"] for r in store.db.query("SELECT source_ref FROM pairs ORDER BY id")]
    assert refs[0] == "all.zip/shop/a.csv:2"
    assert refs[2] == "all.zip/faq.xlsx/FAQ:4"


def test_a_zip_in_a_zip_is_read_and_one_more_is_not(tmp_path: Path) -> None:
    inner = packed(tmp_path / "inner.zip", **{"a.csv": TABLE})
    outer = packed(tmp_path / "outer.zip", **{"Part-1.zip": inner.read_bytes()})
    assert list(files.read(outer)) == [Draft("Offen?", "Ja.")]
    deepest = packed(tmp_path / "deepest.zip", **{"outer.zip": outer.read_bytes()})
    (bad,) = files.read(deepest)
    assert isinstance(bad, BadRow)
    assert "an archive in archives" in bad.reason


def test_a_file_of_a_zip_that_is_damaged_is_a_bad_row(tmp_path: Path) -> None:
    file = packed(tmp_path / "a.zip", **{"a.csv": TABLE * 20, "b.jsonl": LINE})
    raw = bytearray(file.read_bytes())
    raw[40] ^= 0xFF
    file.write_bytes(raw)
    bad, good = files.read(file)
    assert isinstance(bad, BadRow)
    assert "is damaged" in bad.reason
    assert good == Draft("Is it open?", "Yes.")


def test_a_zip_without_pairs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="holds no file of pairs"):
        list(files.read(packed(tmp_path / "a.zip", **{"notes.txt": b"Nothing.\n"})))


@pytest.mark.parametrize("name", ["../a.csv", "/a.csv", "C:\\a.csv", "b\\..\\a.csv", "a\x1b.csv"])
def test_a_name_that_leads_elsewhere_refuses_the_archive(tmp_path: Path, name: str) -> None:
    file = tmp_path / "a.zip"
    with zipfile.ZipFile(file, "w") as archive:
        info = zipfile.ZipInfo("x")
        info.filename = name
        archive.writestr(info, TABLE)
    with pytest.raises(Invalid, match="leads out of its folder"):
        list(files.read(file))


def test_a_link_in_an_archive_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("a.csv")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(Invalid, match="is a link"):
        list(files.read(tmp_path / "a.zip"))


def test_an_archive_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "FREE", 1024 * 1024)
    zeros = TABLE + b"a;b\n" * 2_000_000
    with pytest.raises(Invalid, match="unpacks to more than 200 times its size"):
        list(files.read(packed(tmp_path / "a.zip", **{"a.csv": zeros})))
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(zeros))
    with pytest.raises(Invalid, match="unpacks to more than 200 times its size"):
        list(files.read(tmp_path / "a.csv.gz"))


def test_a_size_that_lies_unpacks_to_no_more_than_it_says(tmp_path: Path) -> None:
    """The declared size is what the bound is compared with."""
    file = packed(tmp_path / "a.zip", **{"a.csv": TABLE + b"a;b\n" * 100_000})
    raw = file.read_bytes()
    size = (len(TABLE) + 400_000).to_bytes(4, "little")
    file.write_bytes(raw.replace(size, (10).to_bytes(4, "little")))
    (bad,) = files.read(file)
    assert isinstance(bad, BadRow)
    assert "is damaged" in bad.reason


def test_encrypted_and_unusual_archives_are_refused(tmp_path: Path) -> None:
    file = packed(tmp_path / "a.zip", **{"a.csv": TABLE})
    raw = bytearray(file.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "encrypted.zip").write_bytes(raw)
    with pytest.raises(Invalid, match="is encrypted"):
        list(files.read(tmp_path / "encrypted.zip"))
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.csv", TABLE)
    with pytest.raises(Invalid, match="unusual way"):
        list(files.read(tmp_path / "b.zip"))


def test_a_list_of_files_that_is_too_long_is_refused(tmp_path: Path) -> None:
    file = packed(tmp_path / "a.zip", **{"a.csv": TABLE})
    raw = bytearray(file.read_bytes())
    at = raw.index(archives.END) + 12
    raw[at : at + 4] = (archives.MOST_DIRECTORY + 1).to_bytes(4, "little")
    file.write_bytes(raw)
    with pytest.raises(Invalid, match="too many files"):
        list(files.read(file))


class Counted(io.BytesIO):
    """A file that counts what is read."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.taken = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.taken += len(data)
        return data


def test_recognising_an_archive_does_not_read_a_list_that_is_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MOST_DIRECTORY", 100_000)
    names = {f"{n:0100}.csv": b"" for n in range(2_000)}
    file = Counted(packed(tmp_path / "a.zip", **names).read_bytes())
    assert detect_packed(file) is None
    assert file.taken < 200_000  # its end, for each format


@pytest.mark.parametrize("kind", ["zip", "gz"])
def test_all_archives_in_an_archive_have_one_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(archives, "MOST_UNPACKED", 10_000)
    table = TABLE + b"a;b\n" * 1_000
    inner = packed(tmp_path / "inner.zip", **{"a.csv": table}).read_bytes()
    inner = gzip.compress(table) if kind == "gz" else inner
    outer = packed(tmp_path / "outer.zip", **{f"{n}.{kind}": inner for n in range(5)})
    found = list(files.read(outer))
    bad = [each for each in found if isinstance(each, BadRow)]
    assert len(bad) == 3
    assert all("unpacks to more than" in each.reason for each in bad)


def test_two_files_of_one_name_refuse_the_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.csv", TABLE)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.csv", TABLE.replace(b"Offen", b"Nah"))
    with pytest.raises(Invalid, match="two files of one name"):
        list(files.read(tmp_path / "a.zip"))


def test_progress_counts_the_bytes_of_the_packed_file(
    store: Store, domain: Domain, tmp_path: Path
) -> None:
    rows = b"".join(b"Frage %d;Antwort %d\n" % (n, n) for n in range(2_500))
    file = packed(tmp_path / "a.zip", **{"a.csv": b"Frage;Antwort\n" + rows})
    seen: list[int] = []
    importer.import_file(store, domain, file, progress=lambda read, _: seen.append(read))
    assert len(seen) == 3
    assert all(0 < read <= file.stat().st_size for read in seen)


def test_a_truncated_archive_is_damaged(tmp_path: Path) -> None:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("a.csv", TABLE)
    (tmp_path / "a.zip").write_bytes(whole.getvalue()[:-30])
    with pytest.raises(Invalid, match="is damaged"):
        list(files.read(tmp_path / "a.zip"))
