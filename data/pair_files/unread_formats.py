"""Files that people bring and that are not read, with what to import instead."""

from collections.abc import Collection

OFFICE = "a file of Excel or Word that is older (.xls, .doc) or protected by a password"
PACKED = "Unpack it and import its folder, or pack it as .zip."
TAR = (257, b"ustar")  # where a tar archive has its mark
STARTS = (  # how such a file begins, what it is, and what to do
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", OFFICE,
     "Save it as .xlsx, .docx or CSV, without a password."),
    (b"%PDF-", "a PDF file", "Import the document that it was made from, or save it as .docx."),
    (b"{\\rtf", "an RTF document", "Save it as .docx."),
    (b"SQLite format 3\x00", "a database of SQLite", "Export its table as CSV."),
    (b"7z\xbc\xaf\x27\x1c", "packed with 7-Zip", PACKED),
    (b"Rar!\x1a\x07", "packed with RAR", PACKED),
    (b"BZh91AY&SY", "packed with bzip2", PACKED),
    (b"\xfd7zXZ\x00", "packed with xz", PACKED),
    (b"\x28\xb5\x2f\xfd", "packed with Zstandard", PACKED),
)  # fmt: skip
MEMBERS = {  # a file that tells an archive of another program
    "content.xml": ("a file of LibreOffice (.ods, .odt)", "Save it as .xlsx, .docx or CSV."),
    "xl/workbook.bin": ("a binary workbook (.xlsb)", "Save it as .xlsx."),
    "ppt/presentation.xml": ("a presentation", "Copy its questions and answers into a table."),
    "Index/Document.iwa": ("a file of Numbers or Pages", "Export it as .xlsx, .docx or CSV."),
}


def known_start(start: bytes) -> str:
    """What a file is that begins with these bytes, and what to do; '' for one that may be read."""
    at, mark = TAR
    if start[at : at + len(mark)] == mark:
        return f"is a tar archive. {PACKED}"
    found = (f"is {what}. {instead}" for sign, what, instead in STARTS if start.startswith(sign))
    return next(found, "")


def known_members(names: Collection[str]) -> str:
    """The same for an archive with these files."""
    if "content.xml" in names and "mimetype" not in names:
        return ""  # some other file of that name
    found = (f"is {what}. {instead}" for name, (what, instead) in MEMBERS.items() if name in names)
    return next(found, "")
