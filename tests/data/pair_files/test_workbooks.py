"""Excel workbooks and Parquet files. `samples/faq.xlsx` was written by XlsxWriter."""

import re
import zipfile
from pathlib import Path

import pytest

from data.domains import Domain
from data.pair_files import columns, files, importer
from data.pairs.pairs import Draft
from data.store.db import Store
from data.store.errors import Invalid

SAMPLE = Path(__file__).parent / "samples" / "faq.xlsx"


def changed(path: Path, part: str, old: bytes, new: bytes) -> Path:
    """The sample with `old` replaced in one of its parts."""
    with zipfile.ZipFile(SAMPLE) as sample, zipfile.ZipFile(path, "w") as copy:
        assert part in sample.namelist()
        for name in sample.namelist():
            content = sample.read(name)
            if name == part:
                assert old in content
                content = content.replace(old, new, 1)
            copy.writestr(name, content)
    return path


def test_cells_are_read_as_they_are_shown() -> None:
    assert list(files.read(SAMPLE)) == [
        Draft("When do you open?", "At 9."),
        Draft("Which VAT rate applies?", "19%"),
        Draft("What does shipping cost?", "4.90 €"),
        Draft("How many days may I return it?", "30"),
        Draft("When is the next holiday?", "2026-05-01"),
        Draft("How do I return it?", "With the label in the box."),
        Draft("Where do I send it back?", "With the label in the box."),  # merged downwards
        Draft("Êtes-vous ouverts ?", "Oui, dès 9 h."),
    ]


def test_the_report_names_sheets_columns_and_rows_that_are_left_out(
    store: Store, domain: Domain
) -> None:
    report = importer.import_file(store, domain, SAMPLE)
    assert report.added == 8
    assert report.notes == (
        "Row 3 of the sheet FAQ names the columns; the rows before it are left out.",
        "Sheets of faq.xlsx that were left out, because they are hidden or no row names a question "
        "and an answer: Notes, Old (hidden).",
    )
    assert [(c.name, c.rows) for c in report.unused] == [("Category", 6), ("Owner", 1)]


def test_other_columns_can_be_named(store: Store, domain: Domain) -> None:
    given = columns.parse(["question=Category,answer=Owner"])
    report = importer.preview_file(store, domain, SAMPLE, columns=given)
    assert [(d.prompt, d.response) for d in report.shown] == [("Returns", "Ana")]
    with pytest.raises(Invalid, match="Its sheets are FAQ, Français, Notes, Old"):
        importer.preview_file(store, domain, SAMPLE, columns=columns.parse(["question=Nothing"]))


def test_a_cell_far_away_costs_no_memory(tmp_path: Path) -> None:
    far = b'<row r="1048576"><c r="XFD1048576" t="n"><v>1</v></c></row></sheetData>'
    file = changed(tmp_path / "a.xlsx", "xl/worksheets/sheet1.xml", b"</sheetData>", far)
    with pytest.raises(Invalid, match="a cell in row 1,048,576 and one in column 16,384"):
        list(files.read(file))


def test_a_number_that_is_too_long_counts_for_nothing(tmp_path: Path) -> None:
    digits = b"9" * 5_000
    old, new = b'<row r="3"', b'<row r="' + digits + b'"'
    file = changed(tmp_path / "a.xlsx", "xl/worksheets/sheet1.xml", old, new)
    assert len(list(files.read(file))) == 8


def test_formatted_cells_without_a_value_do_not_count(tmp_path: Path) -> None:
    """Whole columns often have a format; such a cell far away refused the workbook."""
    far = b'<row r="1048576"><c r="XFD1048576" s="1"/></row></sheetData>'
    file = changed(tmp_path / "a.xlsx", "xl/worksheets/sheet1.xml", b"</sheetData>", far)
    assert len(list(files.read(file))) == 8


def test_a_sheet_that_is_too_large_is_refused_before_any_row(tmp_path: Path) -> None:
    far = b'<row r="1048576"><c r="XFD1048576" t="n"><v>1</v></c></row></sheetData>'
    file = changed(tmp_path / "a.xlsx", "xl/worksheets/sheet3.xml", b"</sheetData>", far)
    assert next(files.read(SAMPLE))
    with pytest.raises(Invalid, match="which is too large"):
        next(files.read(file))


def test_misspelt_columns_below_a_title_are_asked_about(tmp_path: Path) -> None:
    file = changed(tmp_path / "a.xlsx", "xl/sharedStrings.xml", b">Question<", b">Qustion<")
    with pytest.raises(Invalid, match=r"similar names\. Did you mean `--map question=Qustion`"):
        list(files.read(file))


def test_a_workbook_without_a_header_names_its_columns(
    store: Store, domain: Domain, tmp_path: Path
) -> None:
    nothing = columns.parse(["question=Nothing"])
    with pytest.raises(Invalid, match="The sheet FAQ has the columns") as refused:
        importer.preview_file(store, domain, SAMPLE, columns=nothing)
    assert "`--map question=" in str(refused.value)


def test_entities_are_refused(tmp_path: Path) -> None:
    bomb = b'<!DOCTYPE a [<!ENTITY b "ha">]><workbook'
    file = changed(tmp_path / "a.xlsx", "xl/workbook.xml", b"<workbook", bomb)
    with pytest.raises(Invalid, match="DOCTYPE"):
        list(files.read(file))


def test_a_damaged_workbook_says_so(tmp_path: Path) -> None:
    file = changed(tmp_path / "a.xlsx", "xl/sharedStrings.xml", b"</si>", b"<")
    with pytest.raises(Invalid, match="is not valid XML"):
        list(files.read(file))


def test_a_workbook_is_not_read_as_text(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="no text, so it is not in the format csv"):
        list(files.read(SAMPLE, "csv"))
    (tmp_path / "a.csv").write_text("Question,Answer\nOpen?,Yes.\n")
    with pytest.raises(Invalid, match=re.escape("is no .xlsx workbook")):
        list(files.read(tmp_path / "a.csv", "xlsx"))


def test_parquet_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "train-00000-of-00001.parquet").write_bytes(b"PAR1\x15\x04PAR1")
    with pytest.raises(Invalid, match=re.escape("pip install 'understudy[parquet]'")):
        list(files.read(tmp_path / "train-00000-of-00001.parquet"))


def test_a_parquet_file_is_read(store: Store, domain: Domain, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from pyarrow import parquet

    messages = [{"role": "user", "content": "Far?"}, {"role": "assistant", "content": "No."}]
    rows = [{"instruction": f"q{n}", "output": f"a{n}", "topic": "x"} for n in range(2_000)]
    for name, some in (("a", rows), ("b", [{"messages": messages}])):
        parquet.write_table(pyarrow.Table.from_pylist(some), tmp_path / f"{name}.parquet")
    report = importer.import_file(store, domain, tmp_path / "a.parquet")
    assert (report.added, [c.name for c in report.unused]) == (2_000, ["topic"])
    assert list(files.read(tmp_path / "b.parquet")) == [Draft("Far?", "No.")]
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "c.parquet").write_bytes(whole[:4] + whole[400:])
    with pytest.raises(Invalid, match="cannot be read as a Parquet file"):
        list(files.read(tmp_path / "c.parquet"))
