"""FAQ documents: Markdown, HTML, Word, and text with `Q:` and `A:`.

`samples/faq.docx` and `faq_marks.docx` were written by python-docx; `faqpage.html` is the example
of https://developers.google.com/search/docs/appearance/structured-data/faqpage.
"""

import re
import zipfile
from pathlib import Path

import pytest

from data.domains import Domain
from data.pair_files import files, importer
from data.pair_files.verdicts import BadRow
from data.pairs import pairs
from data.pairs.pairs import Draft
from data.store.db import Store
from data.store.errors import Invalid

SAMPLES = Path(__file__).parent / "samples"
APPRENTICESHIP = (
    "We provide an official service to search through available apprenticeships. To get started, "
    "create an account here, specify the desired region, and your preferences. You will be able to "
    "search through all officially registered open apprenticeships."
)
HOTLINE = (
    "You can contact the apprenticeship office through our official phone hotline above, or with "
    "the web-form below. We generally respond to written requests within 7-10 days."
)
NOT_USED = "text that belongs to no question"
STORED: dict[str, list[tuple[str, str]]] = {
    "faq.md": [
        (
            "How long does shipping take?",
            "Two to three days within the EU.\n\n- Express: **one** day\n- See the [price list]"
            "(https://shop.example/prices)\n\n#### Outside the EU\n\nUp to ten days.",
        ),
        (
            "Can I change my address?",
            "Yes, in your account:\n\n```yaml\n# not a heading\naddress:\n  street: Main\n```",
        ),
        (
            "Tracking numbers",
            "They are in the e-mail that says that your parcel is on its way.",
        ),
        ("Do you take cards?", "Yes, all of them."),
        ("Is there a fee?", "No."),
        ("Is it safe?", "It is encrypted."),
    ],
    "faq_bold.md": [
        ("How do I reset my password?", "Click *Forgot password*.\n\nThen follow the link."),
        ("Where is my invoice?", "In your account, under *Orders*."),
        ("Who answers?\nat night?", "The night team."),
    ],
    "faq.txt": [
        ("Wann habt ihr geöffnet?", "Montag bis Freitag\nvon 9 bis 17 Uhr."),
        ("Wo parke ich?", "Im Hof: die Einfahrt ist links."),
        ("Gibt es Tee?", "Ja."),
    ],
    "faq.html": [
        (
            "How long does shipping take?",
            "Two days & a night.\n\n- Express: one day\n- Prices (https://shop.example/prices)",
        ),
        ("Do you ship abroad?", "Yes, to all of Europe."),
        ("Can I pay by card?", "All cards work."),
    ],
    "faq_details.html": [
        ("How do I return it?", "With the label in the box.\n\n```\nreturn --label 17\n```"),
        ("Is it free?", "Yes."),
        ("When do you open?", "At nine."),
        ("What are your hours?", "At nine."),
        ("Where are you?", "In Graz.\n\nNear the river."),
    ],
    "faqpage.html": [
        ("How to find an apprenticeship?", APPRENTICESHIP),
        ("Whom to contact?", HOTLINE),
    ],
    "faq.docx": [
        ("Do you take cards?", "Yes."),
        ("Is there a fee?", "No.\nNever."),
        (
            "How long does shipping take?",
            "Two to three days.\n\n- Express: one day\n- Freight: a week",
        ),
        ("How do I track it?", "First open the e-mail, then:\n\n1. Copy the number\n2. Paste it"),
        ("Is it insured?", "Yes."),
    ],
    "faq_marks.docx": [("When do you open?", "At 9.\n\nOn Sundays at 10."), ("Where?", "In Graz.")],
}
LEFT_OUT = {
    "faq.md": {NOT_USED: 1, "table of contents": 1},
    "faq_bold.md": {NOT_USED: 1},
    "faq.txt": {NOT_USED: 1},
    "faq.html": {NOT_USED: 1},
    "faq_details.html": {NOT_USED: 1},
    "faq.docx": {NOT_USED: 1},
    "faq_marks.docx": {NOT_USED: 1},
}


@pytest.mark.parametrize("name", STORED)
def test_a_document_is_stored_and_what_is_no_pair_is_counted(
    store: Store, domain: Domain, name: str
) -> None:
    report = importer.import_file(store, domain, SAMPLES / name)
    found = [(pair.prompt, pair.response) for pair in pairs.list_pairs(store.db, domain)]
    assert found == STORED[name]
    assert dict(report.left_out) == LEFT_OUT.get(name, {})


def test_a_question_without_an_answer_is_a_bad_row() -> None:
    bad = [row for row in files.read(SAMPLES / "faq.txt") if isinstance(row, BadRow)]
    assert bad == [BadRow(11, "no answer to “Darf mein Hund mit?”")]


def test_a_heading_that_asks_nothing_waits_for_review(store: Store, domain: Domain) -> None:
    report = importer.import_file(store, domain, SAMPLES / "faq.md")
    (waiting,) = pairs.list_pairs(store.db, domain, "pending")
    assert waiting.prompt == "Tracking numbers"
    assert "Headings of faq.md that ask nothing: 1." in report.notes[0]


def test_topics_alone_wait_for_review(tmp_path: Path) -> None:
    file = tmp_path / "a.md"
    file.write_text("# Handbook\n\n## Opening hours\n\nFrom 9.\n\n## Parking\n\nIn the yard.\n")
    assert list(files.read(file)) == [
        Draft("Opening hours", "From 9.", status="pending"),
        Draft("Parking", "In the yard.", status="pending"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "# Release notes\nport = 80\n",  # a script's or a configuration's comment
        "Dear all,\n\nwe are closed on Monday.\n",
        "A: one\nB: two\n",
        "<project><name>x</name></project>",
        "def f():\n    # why is it so?\n    return 1\n",
    ],
)
def test_what_asks_nothing_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a").write_text(text)
    with pytest.raises(Invalid):
        list(files.read(tmp_path / "a"))


@pytest.mark.parametrize(
    ("first", "second"),
    [("Q", "A"), ("**Q1", "**A1"), ("Question", "Réponse"), ("F", "A"), ("P", "R"), ("問", "答")],
)
def test_marks_in_several_styles(tmp_path: Path, first: str, second: str) -> None:
    ends = "**" if first.startswith("*") else ""
    (tmp_path / "a.txt").write_text(
        f"{first}:{ends} Is it open?\n{second}:{ends} Yes.\n\n"
        f"{first}:{ends} Far?\n{second}:{ends} No."
    )
    assert list(files.read(tmp_path / "a.txt")) == [
        Draft("Is it open?", "Yes."),
        Draft("Far?", "No."),
    ]


def test_a_table_with_titles_and_text_of_a_document_stays_a_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('question,answer\n"How?","# Like this\n\n## Why?\n\nSo."\n')
    assert list(files.read(tmp_path / "a.csv")) == [Draft("How?", "# Like this\n\n## Why?\n\nSo.")]


@pytest.mark.parametrize("before", ["", "# FAQ\n\n"])
def test_a_table_of_markdown_is_a_table(tmp_path: Path, before: str) -> None:
    rows = "| Question | Answer |\n|:---|---|\n| Is it open? | Yes. |\n"
    (tmp_path / "a.md").write_text(before + rows)
    assert list(files.read(tmp_path / "a.md")) == [Draft("Is it open?", "Yes.")]


def test_a_word_document_with_entities_is_refused(tmp_path: Path) -> None:
    bomb = b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><w:document>&b;</w:document>'
    with zipfile.ZipFile(tmp_path / "a.docx", "w") as archive:
        archive.writestr("word/document.xml", bomb)
    with pytest.raises(Invalid, match="DOCTYPE"):
        list(files.read(tmp_path / "a.docx"))


def word(path: Path, body: str) -> Path:
    """A Word document with this body, in which `{text}` stands for a run of text."""
    space = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    body = re.sub(r"\{(.*?)\}", r"<w:r><w:t>\1</w:t></w:r>", body)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        whole = f"<w:document {space}><w:body>{body}</w:body></w:document>"
        archive.writestr("word/document.xml", whole)
    return path


@pytest.mark.parametrize("level", ["900000000", "9" * 5_000, "²"])
def test_a_level_that_word_does_not_have_is_none(tmp_path: Path, level: str) -> None:
    """The first took gigabytes of spaces, the second ended the import with a traceback."""
    mark = f'<w:ilvl w:val="{level}"/><w:numId w:val="1"/><w:outlineLvl w:val="{level}"/>'
    file = word(tmp_path / "a.docx", f"<w:p>{{Q: Open?}}</w:p><w:p>{mark}{{A: Yes.}}</w:p>")
    (found,) = files.read(file)
    assert isinstance(found, Draft)
    assert (found.prompt, found.response[-4:]) == ("Open?", "Yes.")


def test_a_cell_of_many_paragraphs_is_read(tmp_path: Path) -> None:
    """Each paragraph copied the cell before it."""
    many = "<w:p>{yes}</w:p>" * 10_000
    rows = [["<w:p>{Question}</w:p>", "<w:p>{Answer}</w:p>"], ["<w:p>{Open?}</w:p>", many]]
    cells = ["".join(f"<w:tc>{cell}</w:tc>" for cell in row) for row in rows]
    table = "".join(f"<w:tr>{row}</w:tr>" for row in cells)
    (bad,) = files.read(word(tmp_path / "a.docx", f"<w:tbl>{table}</w:tbl>"))
    assert isinstance(bad, BadRow)
    assert "39,999 characters" in bad.reason


def test_a_page_with_structured_data_that_is_damaged_is_read_by_its_headings(
    tmp_path: Path,
) -> None:
    page = SAMPLES.joinpath("faqpage.html").read_text().replace('"@context"', "context")
    (tmp_path / "a.html").write_text(page)
    assert list(files.read(tmp_path / "a.html")) == [
        Draft("How to find an apprenticeship?", "We provide an official service.")
    ]
