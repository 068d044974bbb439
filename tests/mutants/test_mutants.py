"""The mutants: which faults are made, which are left out, and that one is noticed or not."""

from pathlib import Path

import pytest

from tests.mutants import equivalents, sql, workers
from tests.mutants.generate import mutants


def faults(source: str) -> set[str]:
    return {mutant.after for mutant in mutants(source)}


def statements(statement: str) -> set[str]:
    """What the faults in a statement make of it."""
    found = set()
    for edits in sql.edits(statement):
        text = statement
        for edit in reversed(edits):
            text = text[: edit.start] + edit.text + text[edit.end :]
        found.add(" ".join(text.split()))
    return found


def test_each_condition_of_a_statement_is_left_out() -> None:
    found = statements("SELECT a FROM t WHERE b = ? AND c = 1 AND d > 2")
    assert {
        "SELECT a FROM t WHERE (1 OR b = ?) AND c = 1 AND d > 2",
        "SELECT a FROM t WHERE b = ? AND (1 OR c = 1) AND d > 2",
        "SELECT a FROM t WHERE b = ? AND c = 1 AND (1 OR d > 2)",
    } <= found


def test_comparisons_numbers_and_words_of_a_statement_are_changed() -> None:
    assert statements("SELECT a WHERE b <> 'x'") == {
        "SELECT a WHERE b = 'x'",
        "SELECT a WHERE b <> 'XXx'",
        "SELECT a WHERE (1 OR b <> 'x')",
    }
    assert "SELECT a WHERE b >= 3" in statements("SELECT a WHERE b > 3")
    assert "SELECT a WHERE b > 4" in statements("SELECT a WHERE b > 3")


def test_the_and_of_between_joins_no_conditions() -> None:
    assert statements("SELECT a WHERE b BETWEEN ? AND ?") == {
        "SELECT a WHERE (1 OR b BETWEEN ? AND ?)"
    }


def test_each_term_of_an_order_is_turned_round_and_left_out() -> None:
    assert statements("SELECT a ORDER BY b DESC, c") == {
        "SELECT a ORDER BY b ASC, c",
        "SELECT a ORDER BY NULL, c",
        "SELECT a ORDER BY b DESC, c DESC",
        "SELECT a ORDER BY b DESC, NULL",
    }


def test_an_assignment_changes_nothing_and_keeps_its_placeholder() -> None:
    assert statements("UPDATE t SET a = ?, b = b + 1") == {
        "UPDATE t SET a = CASE WHEN 1 THEN a ELSE ? END, b = b + 1",
        "UPDATE t SET a = ?, b = CASE WHEN 1 THEN b ELSE b + 1 END",
        "UPDATE t SET a = ?, b = b - 1",
        "UPDATE t SET a = ?, b = b + 2",
    }


def test_null_and_negations_are_turned_round() -> None:
    found = statements("SELECT a WHERE b IS NULL AND NOT EXISTS (SELECT 1 FROM t)")
    assert "SELECT a WHERE b IS NOT NULL AND NOT EXISTS (SELECT 1 FROM t)" in found
    assert "SELECT a WHERE b IS NULL AND EXISTS (SELECT 1 FROM t)" in found


def test_a_statement_in_several_parts_is_one_statement() -> None:
    source = 'def f(c):\n    return ("SELECT a WHERE b = 1 "\n        f"AND c = {c} AND d = 2")\n'
    found = faults(source)
    assert 'f"AND c = {c} OR d = 2")' in found
    assert 'return ("SELECT a WHERE (1 OR b = 1) "' in found
    assert 'f"AND (1 OR c = {c}) AND d = 2")' in found


def test_what_is_outside_of_functions_and_what_is_decorated_is_changed() -> None:
    source = (
        "LEAST = 4\n\nclass A:\n    least: int = 2\n\n    @property\n    def b(self):\n"
        "        return self.c < 5\n"
    )
    assert {"LEAST = 5", "least: int = 3", "return self.c <= 5"} <= faults(source)


def test_words_for_people_and_type_checkers_are_left_alone() -> None:
    source = (
        '"""What it holds."""\nfrom a import b\nlog = b(1)\nNumbers = list[int]\n\n'
        'def f(a: "int") -> None:\n    """What it does."""\n    log.info("so %s", a)\n'
        '    raise ValueError(f"not {a}")\n'
    )
    assert faults(source) == set()


def test_the_check_of_a_zip_is_left_alone() -> None:
    assert faults("def f(a, b):\n    return zip(a, b, strict=True)\n") == {
        "return zip(None, b, strict=True)",
        "return zip(a, None, strict=True)",
    }


def test_no_mutant_is_made_twice_and_each_differs() -> None:
    source = Path("data/feedback/reactions.py").read_text()
    texts = [mutant.source for mutant in mutants(source)]
    assert len(texts) == len({*texts, source}) - 1 > 50


def test_a_mutant_keeps_its_name_when_a_comment_changes() -> None:
    first, second = (mutants(f"LEAST = 4  # {comment}\n") for comment in ("pairs", "raters"))
    assert [mutant.key for mutant in first] == [mutant.key for mutant in second]
    assert first[0].key == ("", "LEAST = 4", "LEAST = None")


def test_every_equivalent_mutant_of_the_list_exists_and_has_a_reason() -> None:
    for module in equivalents.modules():
        listed = equivalents.of_module(module)
        names = {function.partition(".")[0] for function, _, _ in listed}
        known = {mutant.key for mutant in mutants(Path(module).read_text(), names)}
        for key, reason in listed.items():
            assert key in known, (module, key)
            assert len(reason) > 10


@pytest.mark.parametrize(
    ("after", "noticed"),
    [("value > 3", True), ("value >= 2", False), ("value > 1 / 0", True)],
)
def test_a_mutant_is_killed_by_the_test_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: str, noticed: bool
) -> None:
    module = tmp_path / "made.py"
    module.write_text("def big(value):\n    return value > 2\n")
    test = "from made import big\n\ndef test_big():\n    assert big(3)\n"
    (tmp_path / "test_made.py").write_text(test)
    monkeypatch.chdir(tmp_path)
    base = workers.Baseline({"test_made.py::test_big": 3.0}, {"test_made.py::test_big": {2}})
    monkeypatch.syspath_prepend(str(tmp_path))
    wanted = base.tests_for(2, 2)
    found = workers.killed(module, module.read_text().replace("value > 2", after), base, wanted)
    assert found == ("test_made.py::test_big" if noticed else None)
