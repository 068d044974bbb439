"""Importing and exporting pairs: valid rows are read, the others are reported, nothing is lost."""

import json
import random
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.domains import Domain
from data.pair_files import files, formats, importer, reading
from data.pair_files.formats import AUTO, FORMATS
from data.pair_files.verdicts import BadRow
from data.pairs import pairs
from data.pairs.pairs import Draft, Turn
from data.store.db import Store
from data.store.errors import Invalid, NotFound
from data.visible_text import SHOWN


def write_lines(path: Path, *lines: str | bytes) -> Path:
    parts = [line if isinstance(line, bytes) else line.encode() for line in lines]
    path.write_bytes(b"".join(part + b"\n" for part in parts))
    return path


def only(path: Path, format: str = "auto") -> Draft | BadRow:
    (found,) = files.read(path, format)
    return found


def reason(tmp_path: Path, row: Any, format: str = "auto") -> str:
    """Why a JSON Lines file of that one row is refused."""
    line = row if isinstance(row, str | bytes) else json.dumps(row)
    found = only(write_lines(tmp_path / "a.jsonl", line), format)
    assert isinstance(found, BadRow), found
    assert found.line == 1
    return found.reason


def chat(*messages: tuple[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in messages]}


# JSON Lines


@pytest.mark.parametrize(
    ("prompt", "response"),
    [
        ("prompt", "response"),
        ("question", "answer"),
        ("instruction", "output"),
        ("Frage", "Antwort"),
        ("Q", "A"),
        ("INPUT", "Output"),
        ("query", "réponse"),
        ("user", "assistant"),
    ],
)
def test_reads_a_pair_under_the_names_in_use(tmp_path: Path, prompt: str, response: str) -> None:
    file = write_lines(tmp_path / "a.jsonl", json.dumps({prompt: "Hi?", response: "Hello."}))
    assert only(file) == Draft("Hi?", "Hello.")


def test_reads_everything_a_pair_can_have(tmp_path: Path) -> None:
    row = {
        "prompt": "And then?",
        "response": "Then you wait.",
        "system": "Be brief.",
        "turns": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}],
        "fact": "waiting",
        "split": "golden",
    }
    turns = (Turn("user", "Hi"), Turn("assistant", "Hello"))
    expected = Draft("And then?", "Then you wait.", "Be brief.", turns, "waiting", "golden")
    assert only(write_lines(tmp_path / "a.jsonl", json.dumps(row))) == expected


def test_the_input_of_an_instruction_is_part_of_the_prompt(tmp_path: Path) -> None:
    row = {"instruction": "Translate.", "input": "Haus", "output": "house"}
    assert only(write_lines(tmp_path / "a.jsonl", json.dumps(row))) == Draft(
        "Translate.\n\nHaus", "house"
    )


def test_blank_lines_and_a_byte_order_mark_do_not_count(tmp_path: Path) -> None:
    good = '{"prompt": "a", "response": "b"}'
    file = write_lines(tmp_path / "a.jsonl", b"\xef\xbb\xbf" + good.encode(), "", "  ", "{}")
    assert [Draft("a", "b"), 4] == [
        found.line if isinstance(found, BadRow) else found for found in files.read(file)
    ]


def test_a_last_line_without_a_newline_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": "a", "response": "b"}')
    assert only(tmp_path / "a.jsonl") == Draft("a", "b")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": "a"}, "no response"),
        ({"prompt": "a", "response": None}, "no response"),
        ({"response": "b"}, "no prompt"),
        ({"prompt": " ", "response": "b"}, "the prompt is empty"),
        ({"prompt": "a", "response": ""}, "the response is empty"),
        ({"prompt": "a", "response": 7}, "response is a number, not text"),
        ({"prompt": ["a"], "response": "b"}, "prompt is a list, not text"),
        ({"prompt": "a" * 40_000, "response": "b"}, "the prompt has 40,000 characters"),
        ({"prompt": "a\x00", "response": "b"}, "not valid Unicode text"),
        ({"prompt": "a", "response": "b", "split": "test"}, "split is 'test'"),
        ({"prompt": "a", "response": "b", "turns": "x"}, "turns is text, not a list"),
        (
            {"prompt": "a", "response": "b", "turns": [{"role": "system", "content": "x"}]},
            "turn 1 is a system message",
        ),
        (["a", 7], "a JSON object is expected, this is a list"),
        ('"a"', "a JSON object is expected, this is text"),
        ('{"prompt": "a", "response": }', "not JSON: "),
        (
            b'{"prompt": "caf\xe9", "response": "\xc3\xa9"}',
            "not valid UTF-8: byte 0xe9 at column 16",
        ),
        ("{" + '"a":{' * 5_000 + "}" * 5_001, "not JSON: "),
        ('{"prompt": "\\ud800", "response": "b"}', "not JSON: "),
    ],
)
def test_says_what_is_wrong_with_a_row(tmp_path: Path, row: Any, words: str) -> None:
    try:
        said = reason(tmp_path, row, "jsonl")
    except Invalid as error:  # about the file, not a row
        said = str(error)
    assert words in said


def test_says_where_a_line_stops_being_json(tmp_path: Path) -> None:
    assert "(column 29)" in reason(tmp_path, '{"prompt": "a", "response": }')


def test_a_bad_row_does_not_affect_others(tmp_path: Path) -> None:
    good = '{"prompt": "a", "response": "b"}'
    file = write_lines(tmp_path / "a.jsonl", good, b"\xff\xfe", "{", good)
    kinds = [found.line if isinstance(found, BadRow) else "good" for found in files.read(file)]
    assert kinds == ["good", 2, 3, "good"]


def test_a_line_without_end_is_skipped_in_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_LINE", 1024)
    good = '{"prompt": "a", "response": "b"}'
    file = write_lines(tmp_path / "a.jsonl", good, '{"prompt": "' + "x" * 10_000, good)
    assert [type(found) for found in files.read(file)] == [Draft, BadRow, Draft]


# Chat messages


def test_the_last_answer_is_the_response_and_the_rest_is_context(tmp_path: Path) -> None:
    row = chat(
        ("system", "Be kind."),
        ("user", "Hi"),
        ("assistant", "Hello"),
        ("user", "And?"),
        ("assistant", "That is all."),
    )
    expected = Draft(
        "And?", "That is all.", "Be kind.", (Turn("user", "Hi"), Turn("assistant", "Hello"))
    )
    file = write_lines(tmp_path / "a.jsonl", json.dumps(row))
    assert only(file) == expected
    assert only(file, "chat") == expected


def test_text_parts_and_developer_messages_are_understood(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "What "}, {"type": "text", "text": "now?"}]
    row = chat(("developer", "Be brief."), ("user", parts), ("assistant", "Wait."))
    file = write_lines(tmp_path / "a.jsonl", json.dumps(row))
    assert only(file) == Draft("What now?", "Wait.", "Be brief.")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (chat(("user", "a")), "the last message is not from the assistant"),
        (chat(), "the last message is not from the assistant"),
        (chat(("assistant", "b")), "not from the user"),
        (chat(("user", "a"), ("tool", "x"), ("assistant", "b")), "unknown role 'tool'"),
        (chat(("user", "a"), ("system", "x"), ("assistant", "b")), "message 2 is a system message"),
        (chat(("user", "a"), ("assistant", None)), "the content of message 2 is null"),
        (
            chat(("user", [{"type": "image_url", "image_url": {}}]), ("assistant", "b")),
            "message 1 holds something other than text",
        ),
        (chat(("user", " "), ("assistant", "b")), "the prompt is empty"),
        ({"messages": "a"}, "messages is text, not a list"),
        ({"messages": ["a"]}, "message 1 is text, not an object"),
    ],
)
def test_says_what_is_wrong_with_a_chat(tmp_path: Path, row: Any, words: str) -> None:
    assert words in reason(tmp_path, row)


def test_a_named_format_accepts_no_other_shape(tmp_path: Path) -> None:
    assert "this is a row of the format chat" in reason(
        tmp_path, chat(("user", "a"), ("assistant", "b")), "jsonl"
    )
    assert "no messages" in reason(tmp_path, {"prompt": "a", "response": "b"}, "chat")


# CSV


def test_csv_with_quoted_newlines_names_physical_lines(tmp_path: Path) -> None:
    file = write_lines(
        tmp_path / "a.csv",
        b"\xef\xbb\xbfPrompt,Response,topic",
        '"a\nlong, ""quoted"" one",b,x',
        "",
        "only one field",
        "caf\xe9,b,x".encode("latin-1"),
        " ,b,x",
        "c,d,x",
    )
    assert list(files.read(file)) == [
        Draft('a\nlong, "quoted" one', "b"),
        BadRow(5, "fields in this row: 1, in the header: 3"),
        BadRow(6, "not valid UTF-8: byte 0xe9"),
        BadRow(7, "the prompt is empty"),
        Draft("c", "d"),
    ]


@pytest.mark.parametrize("delimiter", [";", "\t", ","])
def test_the_delimiter_is_found_by_the_header(tmp_path: Path, delimiter: str) -> None:
    file = write_lines(
        tmp_path / "a.csv", delimiter.join(["answer", "question"]), delimiter.join(["b", "a"])
    )
    assert only(file) == Draft("a", "b")


def test_a_quote_that_never_closes_is_reported_where_it_opens(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "a.csv", "prompt,response", "a,b", '"c,d', "e,f")
    assert list(files.read(file)) == [
        Draft("a", "b"),
        BadRow(
            3,
            "a quote that opens here is not closed properly up to line 4; only this line is "
            "skipped, line 4 is read one by one",
        ),
        Draft("e", "f"),
    ]


def test_reading_continues_after_an_unclosed_field(tmp_path: Path) -> None:
    filler = ["x" * 1_000] * 200
    file = write_lines(tmp_path / "a.csv", "prompt,response", '"c,d', *filler, "e,f")
    found = list(files.read(file))
    assert isinstance(found[0], BadRow)
    assert found[0].line == 2
    assert found[-1] == Draft("e", "f")


def test_a_csv_without_the_columns_is_refused_as_a_whole(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "a.csv", "name,age", "a,b")
    with pytest.raises(Invalid, match="neither JSON nor a table"):
        list(files.read(file))
    with pytest.raises(Invalid, match="no usable header"):
        list(files.read(file, "csv"))


# Files that are something else


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="There is no file"):
        list(files.read(tmp_path / "none.jsonl"))


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\x89PNG\x00\x01")
    with pytest.raises(Invalid, match="is not a text file"):
        list(files.read(tmp_path / "a.csv"))


@pytest.mark.parametrize("format", [AUTO, *FORMATS])
def test_an_empty_file_has_no_rows(tmp_path: Path, format: str) -> None:
    (tmp_path / "a").write_bytes(b"")
    assert list(files.read(tmp_path / "a", format)) == []


# Writing


def drafts(of: st.SearchStrategy[str]) -> st.SearchStrategy[Draft]:
    """Drafts whose texts have these characters."""
    text = st.text(of, max_size=40)
    words = text.filter(lambda t: not pairs.is_blank(t))
    turns = st.lists(st.builds(Turn, st.sampled_from(["user", "assistant"]), words), max_size=3)
    return st.builds(
        Draft,
        prompt=words,
        response=words,
        system=text,
        turns=turns.map(tuple),
        fact=text,
        split=st.sampled_from(pairs.SPLITS),
    )


ANY = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
# CSV shows control and invisible characters as symbols: spreadsheets and terminals obey them
PLAIN = ANY.filter(lambda character: not SHOWN.search(character))


@pytest.mark.integration
@pytest.mark.parametrize("format", formats.WRITTEN)
def test_what_is_written_reads_back_unchanged(
    tmp_path_factory: pytest.TempPathFactory, format: str
) -> None:
    file = tmp_path_factory.mktemp("round") / "pairs"

    @settings(max_examples=150, deadline=None)
    @given(st.lists(drafts(PLAIN if format == "csv" else ANY), max_size=6))
    def round_trip(written: list[Draft]) -> None:
        assert files.write(written, file, format) == len(written)
        assert list(files.read(file, format)) == written
        assert list(files.read(file)) == written

    round_trip()


def test_a_failed_export_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    files.write([Draft("a", "b")], file)

    def broken() -> Any:
        yield Draft("c", "d")
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError):
        files.write(broken(), file)
    assert list(files.read(file)) == [Draft("a", "b")]
    assert [p.name for p in tmp_path.iterdir()] == ["pairs.jsonl"]


def test_a_reader_of_the_old_export_can_finish(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    files.write([Draft("a", "b")], file)
    with file.open("rb") as reader:
        files.write([Draft("c", "d")], file)
        assert json.loads(reader.read()) == {"prompt": "a", "response": "b"}
    assert only(file) == Draft("c", "d")


def test_an_export_into_a_missing_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="cannot be written"):
        files.write([Draft("a", "b")], tmp_path / "no" / "pairs.jsonl")


def test_pairs_of_the_store_move_to_another_one(
    store: Store, domain: Domain, tmp_path: Path
) -> None:
    drafts = [Draft("a", "b"), Draft("c", "d", fact="f", split="golden")]
    with store.write() as db:
        pairs.add(db, domain, drafts, source="import", status="approved")
    files.write(pairs.list_pairs(store.db, domain), tmp_path / "pairs.csv")
    assert list(files.read(tmp_path / "pairs.csv")) == drafts


# Import


def test_an_import_keeps_the_good_rows_and_names_the_bad_ones(
    store: Store, domain: Domain, tmp_path: Path
) -> None:
    file = write_lines(
        tmp_path / "faq.jsonl",
        '{"prompt": "a", "response": "b"}',
        '{"prompt": "a"}',
        '{"prompt": "a ", "response": " b"}',
    )
    report = importer.import_file(store, domain, file, author="cli:ann", status="pending")
    assert (report.rows, report.added, report.duplicates, report.bad_total) == (3, 1, 1, 1)
    assert report.bad[0].line == 2
    (pair,) = pairs.list_pairs(store.db, domain)
    assert (pair.source, pair.source_ref, pair.author, pair.status) == (
        "import",
        "faq.jsonl:1",
        "cli:ann",
        "pending",
    )


def test_bad_rows_are_all_counted_but_not_all_listed(
    store: Store, domain: Domain, tmp_path: Path
) -> None:
    file = write_lines(tmp_path / "a.jsonl", *["{}"] * 2_500)
    report = importer.import_file(store, domain, file)
    assert report.bad_total == 2_500
    assert [row.line for row in report.bad] == list(range(1, importer.SHOWN_BAD + 1))


def test_an_interrupted_import_is_run_again_and_adds_the_rest(
    store: Store, domain: Domain, tmp_path: Path
) -> None:
    rows = [json.dumps({"prompt": f"q{n}", "response": f"a{n}"}) for n in range(2_500)]
    file = write_lines(tmp_path / "a.jsonl", *rows)
    seen: list[int] = []

    def interrupt(done: int, _: importer.ImportReport) -> None:
        seen.append(done)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        importer.import_file(store, domain, file, progress=interrupt)
    there = len(pairs.list_pairs(store.db, domain))
    assert there == importer.TOGETHER
    assert 0 < seen[0] < file.stat().st_size
    report = importer.import_file(store, domain, file)
    assert (report.added, report.duplicates) == (2_500 - there, there)


@pytest.mark.integration
@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_a_large_file_takes_little_memory_and_time(tmp_path: Path, format: str) -> None:
    """20 MB in a process of its own, because peak memory is a process's."""
    file = tmp_path / f"large.{format}"
    rng = random.Random(4)
    text = [" ".join(f"w{rng.randrange(9_999)}" for _ in range(120)) for _ in range(500)]
    written = 0
    with file.open("w") as out:
        if format == "csv":
            out.write("prompt,response\n")
        for number in range(10**9):
            question, answer = f"{number} {text[number % 500]}", text[number % 499]
            if format == "csv":
                written += out.write(f'"{question}","{answer}"\n')
            else:
                written += out.write(json.dumps({"prompt": question, "response": answer}) + "\n")
            if written > 20_000_000:
                break
    program = (
        "import re, sys; from pathlib import Path; from data import domains;"
        "from data.pair_files import files, importer;"
        "from data.store.db import Store; store = Store(sys.argv[1] + '.db')\n"
        "with store.write() as db: domain = domains.create(db, 'large')\n"
        "report = importer.import_file(store, domain, Path(sys.argv[1]));"
        "status = Path('/proc/self/status').read_text();"
        "print(report.added, int(re.search(r'VmHWM:\\s+(\\d+)', status)[1]) // 1024)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run(
        [sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=True
    )
    added, peak_mib = map(int, done.stdout.split())
    assert added == number + 1
    assert peak_mib < 70  # 55, and the file in memory would be 20 more
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 15
