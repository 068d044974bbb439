"""Files that are not read: the error says what they are, and what to import instead."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from data.pair_files import files
from data.store.errors import Invalid


def tar() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("faq.md"), io.BytesIO())
    return made.getvalue()


def packed(*names: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in names:
            archive.writestr(name, "")
    return made.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (bytes.fromhex("d0cf11e0a1b11ae1") + bytes(500), r"protected by a password\. Save it as"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", "a PDF file"),
        (rb"{\rtf1\ansi Q: Open? A: Yes.}", "an RTF document"),
        (tar(), "a tar archive"),
        (gzip.compress(tar()), "a tar archive"),
        (b"7z\xbc\xaf\x27\x1c\x00\x04", "packed with 7-Zip"),
        (
            packed("mimetype", "content.xml", "META-INF/manifest.xml"),
            r"LibreOffice \(\.ods, \.odt\)",
        ),
        (packed("[Content_Types].xml", "xl/workbook.bin"), "a binary workbook"),
    ],
    ids=("password", "pdf", "rtf", "tar", "tar.gz", "7z", "ods", "xlsb"),
)
def test_the_error_says_what_a_file_is(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "faq").write_bytes(content)
    with pytest.raises(Invalid, match=said):
        list(files.read(tmp_path / "faq"))
