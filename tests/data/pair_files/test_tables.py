"""Tables: separators, lines before the header, and quotes that are not closed."""

from pathlib import Path

import pytest

from data.domains import Domain
from data.pair_files import files, importer
from data.pair_files.verdicts import BadRow
from data.pairs.pairs import Draft
from data.store.db import Store
from data.store.errors import Invalid


@pytest.mark.parametrize("delimiter", [";", "\t", ",", "|"])
def test_excels_separator_line_is_understood(tmp_path: Path, delimiter: str) -> None:
    file = tmp_path / "a.csv"
    header, row = delimiter.join(["Frage", "Antwort"]), delimiter.join(["Offen?", "Ja."])
    file.write_text(f"sep={delimiter}\n{header}\n{row}\n")
    assert list(files.read(file)) == [Draft("Offen?", "Ja.")]


def test_a_title_above_the_header_is_left_out_and_named(
    store: Store, domain: Domain, tmp_path: Path
) -> None:
    file = tmp_path / "a.csv"
    file.write_text("Our questions;\n;\nFrage;Antwort\nOffen?;Ja.\n")
    report = importer.import_file(store, domain, file)
    assert report.added == 1
    assert report.notes == ("Line 3 names the columns; the lines before it are left out.",)


@pytest.mark.parametrize("space", ["\u2028", "\x0b", "\x0c", "\x85", "\x1e"])
def test_a_title_with_an_unusual_space_costs_no_row(tmp_path: Path, space: str) -> None:
    """Such a space was counted as the end of a line, so the first row was taken for a title."""
    file = tmp_path / "a.csv"
    text = f"Our{space}questions;\r\nFrage;Antwort\r\nOffen?;Ja.\r\nNah?;Nein.\r\n"
    file.write_text(text, encoding="utf-8", newline="")
    assert list(files.read(file)) == [Draft("Offen?", "Ja."), Draft("Nah?", "Nein.")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
def test_lines_that_end_with_a_carriage_return_are_read(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes('Frage;Antwort\rÖffnet ihr?;"Ja.\rUm 9."\rNah?;Nein.\r'.encode(encoding))
    assert list(files.read(file)) == [Draft("Öffnet ihr?", "Ja.\nUm 9."), Draft("Nah?", "Nein.")]


def test_a_stray_quote_costs_its_own_line(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    before = [f"q{n},a{n}\n" for n in range(300)]
    after = [f"r{n},b{n}\n" for n in range(300)]
    file.write_text("".join(["prompt,response\n", *before, '"stray,x\n', *after]))
    found = list(files.read(file))
    bad = [each for each in found if isinstance(each, BadRow)]
    assert (len(found), len(bad)) == (601, 1)
    assert bad[0].line == 302
    assert "lines 303 to 602 are read one by one" in bad[0].reason
    assert found[-1] == Draft("r299", "b299")


def test_two_stray_quotes_cost_two_lines(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text('prompt,response\na,b\n"stray,x\nc,d\ne,"stray too\ng,h\n')
    found = list(files.read(file))
    assert [each for each in found if isinstance(each, Draft)] == [
        Draft("a", "b"),
        Draft("c", "d"),
        Draft("g", "h"),
    ]
    assert [each.line for each in found if isinstance(each, BadRow)] == [3, 5]


def test_a_quoted_answer_of_several_lines_is_still_one_answer(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text('prompt,response\na,"1.\n2.\n3."\n"stray,x\nb,"4.\n5."\n')
    found = list(files.read(file))
    assert [each for each in found if isinstance(each, Draft)] == [
        Draft("a", "1.\n2.\n3."),
        Draft("b", "4.\n5."),
    ]


def test_a_table_without_known_columns_says_which_it_has(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("Topic;Text\nx;y\n")
    with pytest.raises(Exception, match="question=Topic,answer=Text"):
        list(files.read(file, "csv"))


def test_misspelt_columns_below_a_title_are_asked_about(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("Our questions;;\nMay;;\n\nFarge;Antwrt;nr\nOffen?;Ja.;1\n")
    with pytest.raises(Invalid, match="Did you mean `--map frage=Farge,antwort=Antwrt`"):
        list(files.read(file))
