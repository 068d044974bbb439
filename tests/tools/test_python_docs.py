"""Pairs from Python's documentation: thousands of clean, reproducible pairs, without side
effects."""

import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from data.pair_files import files
from data.pairs import pairs
from data.pairs.pairs import Draft
from tools import python_docs
from tools.python_docs import plain, signature, summary


@pytest.fixture(scope="module")
def found() -> list[Draft]:
    return list(python_docs.build())


@pytest.fixture(scope="module")
def answers(found: list[Draft]) -> dict[str, str]:
    return {draft.fact: draft.response for draft in found}


def test_there_are_thousands_of_pairs(found: list[Draft]) -> None:
    assert len(found) >= 3_000
    assert len({draft.fact for draft in found}) >= 1_500


def test_every_draft_is_a_valid_pair(found: list[Draft]) -> None:
    for draft in found:
        pairs.check(draft)


def test_no_question_is_asked_twice(found: list[Draft]) -> None:
    questions = Counter(pairs.normalise(draft.prompt) for draft in found)
    assert [text for text, count in questions.items() if count > 1] == []
    assert len({pairs.fingerprint(draft) for draft in found}) == len(found)


def test_a_fact_has_one_answer_and_several_phrasings(found: list[Draft]) -> None:
    by_fact: dict[str, list[Draft]] = defaultdict(list)
    for draft in found:
        by_fact[draft.fact].append(draft)
    assert all(len({d.response for d in drafts}) == 1 for drafts in by_fact.values())
    assert sum(len(drafts) >= 3 for drafts in by_fact.values()) > 0.98 * len(by_fact)


def test_a_few_phrasings_are_golden_and_their_facts_are_trained(found: list[Draft]) -> None:
    golden = [draft.fact for draft in found if draft.split == "golden"]
    trained = {draft.fact for draft in found if draft.split == "auto"}
    assert 50 < len(golden) < 0.1 * len(found)
    assert set(golden) <= trained


def test_answer_lengths_are_limited(found: list[Draft]) -> None:
    assert max(len(draft.prompt) for draft in found) <= 160
    assert max(len(draft.response) for draft in found) <= python_docs.MAX_CHARS
    assert max(len(draft.response.split()) for draft in found) <= python_docs.MAX_WORDS
    assert min(len(draft.response) for draft in found) >= 6


def test_answers_are_free_of_markup_and_of_this_process(found: list[Draft]) -> None:
    odd = re.compile(r" at 0x|>>>|``|:(func|class|meth):|<function|<object|\n|\x00")
    assert [draft.response for draft in found if odd.search(draft.response)] == []


@pytest.mark.parametrize(
    ("fact", "answer"),
    [
        ("py:shutil.copytree", "Recursively copy a directory tree and return"),
        ("py:math.gcd", "Greatest Common Divisor."),
        ("py:len:call", "len(obj)"),
        ("py:str.join:call", "str.join(iterable)"),
        ("py:json.dumps:call", "json.dumps(obj, *, skipkeys=False, "),
        ("py:list.index:raises", "list.index raises ValueError if the value is not present."),
        ("py:KeyError:base", "KeyError is a subclass of LookupError."),
        ("py:ZeroDivisionError", "Second argument to a division or modulo operation was zero."),
        ("py:shutil", "Utility functions for copying and archiving files and directory trees."),
        ("py:topic:assert", "Assert statements are a convenient way to insert debugging"),
    ],
)
def test_known_facts_are_there(answers: dict[str, str], fact: str, answer: str) -> None:
    assert answers[fact].startswith(answer)


def test_questions_use_the_names_that_people_use(found: list[Draft]) -> None:
    asked = {draft.prompt for draft in found if draft.fact == "py:shutil.copytree"}
    assert len(asked) >= 3
    assert all("shutil.copytree" in prompt for prompt in asked)


PROGRAM = """
import hashlib, sys, threading
touched = []
def watch(event, args):
    if event in ("socket.connect", "socket.bind", "subprocess.Popen", "os.system", "os.fork",
                 "os.remove", "os.mkdir", "os.rename", "webbrowser.open"):
        touched.append(event)
    writes = event == "open" and isinstance(args[2], int) and args[2] & 3
    if writes and "pycache" not in str(args[0]):
        touched.append((event, args[0]))
sys.addaudithook(watch)
from tools import python_docs
drafts = list(python_docs.build())
touched = list(touched)
banned = {"antigravity", "this", "idlelib", "tkinter", "turtle", "test", "lib2to3", "webbrowser"}
assert not banned - {"webbrowser"} & set(sys.modules), banned & set(sys.modules)
assert not touched, touched
assert threading.active_count() == 1
print(hashlib.sha256(repr(drafts).encode()).hexdigest())
"""


def test_building_is_reproducible_and_has_no_side_effects() -> None:
    """With any hash seed, building writes, starts, connects to and prints nothing."""
    digests = set()
    for seed in ("0", "1"):
        environ = os.environ | {"PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environ
        )
        assert (len(done.stdout), done.stderr) == (65, "")
        digests.add(done.stdout)
    assert len(digests) == 1


def test_pairs_survive_a_round_trip_through_a_file(found: list[Draft], tmp_path: Path) -> None:
    file = tmp_path / "python.jsonl"
    assert files.write(found, file, "jsonl") == len(found)
    assert list(files.read(file)) == found


# Text from docstrings


@pytest.mark.parametrize(
    ("doc", "expected"),
    [
        ("Return the thing.\n\nMore about it.", "Return the thing."),
        ("Return the thing.  It is\n    old. It is blue.", "Return the thing. It is old."),
        ("f(x[, y]) -> int\n\nReturn the thing you want.", "Return the thing you want."),
        ("f(x,\n  y)\n\nReturn the thing you want.", "Return the thing you want."),
        ("D.keys() -> a set-like view of it", "It returns a set-like view of it."),
        ("Use ``x`` or :func:`~os.path.y` for *that*", "Use x or os.path.y for that."),
        ("Some names, e.g. This one, are kept.", "Some names, e.g. This one, are kept."),
        ("Do the thing. Examples of it are:\n\n    >>> f()", "Do the thing."),
        ("Initialize self.  See help(type(self)).", ""),
        ("f(x)", ""),
        ("", ""),
        (None, ""),
        ("x " * 100, ""),
    ],
)
def test_a_docstring_becomes_one_or_two_sentences(doc: str | None, expected: str) -> None:
    assert summary(doc) == expected


def test_signatures_are_written_as_source_code() -> None:
    class Sample:
        def method(self, a: int, b: str = "x", *rest: int, key: object = object(), **more: int): ...

    def only(a, /, *, key=len, kind=int): ...  # type: ignore[no-untyped-def]

    assert signature("S.method", Sample.method) == "S.method(a, b='x', *rest, key=..., **more)"
    assert signature("only", only) == "only(a, *, key=len, kind=int)"
    assert signature("dict.keys", dict.keys) == ""
    assert signature("nothing", 7) == ""


def test_plain_text_only_removes_markup() -> None:
    assert plain("a * b ** c and f(*args, **kwargs)") == "a * b ** c and f(*args, **kwargs)"
