"""Facts that several packages need are written down once; a second copy fails here.

Each rule reads the syntax trees of the product. `COPIES` proves that every rule finds a copy.
"""

import ast
import importlib.util
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from data.experiments.metrics import METRICS, RATING
from data.lora_limits import COMMON_RANKS, RANKS, UNSERVED_MODULES
from data.pair_files.formats import FORMATS
from data.pairs.review_status import STORED
from data.people.roles import ROLES

ROOT = Path(__file__).parents[1]
TOP = ("bot", "data", "serving", "tools", "tuning")

Rule = Callable[[ast.AST], Iterator[int]]  # the lines of a tree that state the fact


def constants(node: ast.AST) -> list[object]:
    """The constants that a tuple, list, set or `Literal[...]` consists of; [] for anything else."""
    if isinstance(node, ast.Subscript) and getattr(node.value, "id", "") == "Literal":
        node = node.slice
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return [each.value for each in node.elts if isinstance(each, ast.Constant)]
    return []


def is_number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float)


def lora_ranks(tree: ast.AST) -> Iterator[int]:
    """Lists with at least four of vLLM's ranks and no other number but 0."""
    for node in ast.walk(tree):
        found = set(constants(node))
        if len(found) > 3 and found <= {0, *RANKS}:
            yield node.lineno  # type: ignore[attr-defined]


def unserved_modules(tree: ast.AST) -> Iterator[int]:
    for node in ast.walk(tree):
        if len(set(constants(node)) & set(UNSERVED_MODULES)) > 1:
            yield node.lineno  # type: ignore[attr-defined]


def metric_tables(tree: ast.AST) -> Iterator[int]:
    """Lists, sets, `Literal`s and dictionaries of metrics, and code for one metric but `rating`."""
    others = set(METRICS) - {RATING}
    for node in ast.walk(tree):
        found = set(constants(node))
        if isinstance(node, ast.Dict):
            found = {key.value for key in node.keys if isinstance(key, ast.Constant)}
        if isinstance(node, ast.Compare):
            compared = [c.value for c in node.comparators if isinstance(c, ast.Constant)]
            if ast.unparse(node.left) == "metric" and others & set(compared):
                yield node.lineno
        elif len(found & set(METRICS)) > 1 and not found & NOT_METRICS:
            yield node.lineno  # type: ignore[attr-defined]


def question_texts(tree: ast.AST) -> Iterator[int]:
    """The text of a question: a list of the earlier turns of a pair that ends with its prompt."""
    for node in ast.walk(tree):
        if isinstance(node, ast.List | ast.Tuple):
            parts = [ast.unparse(each) for each in node.elts]
            turns = any(p.startswith("*") and ".content for" in p for p in parts)
            if turns and parts[-1].endswith(".prompt"):
                yield node.lineno


def role_lists(tree: ast.AST) -> Iterator[int]:
    """Lists and `Literal`s of roles, and dictionaries that number them."""
    for node in ast.walk(tree):
        found = set(constants(node))
        if isinstance(node, ast.Dict) and all(is_number(each) for each in node.values):
            found = {key.value for key in node.keys if isinstance(key, ast.Constant)}
        if len(found) > 1 and found <= set(ROLES):
            yield node.lineno  # type: ignore[attr-defined]


def axis_arithmetic(tree: ast.AST) -> Iterator[int]:
    """Round ticks (`log10`), and a share of a range times or over a length: `(v - low) / (high -
    low)` and `(v - low) / span`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "log10":
            yield node.lineno
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            share = re.sub(r"self\.|math\.", "", ast.unparse(node))
            if re.search(
                r"- (low|first)\)? / (\((high|last) - |max\(1, |span)|log\(.*/ span", share
            ):
                yield node.lineno


def review_encoding(tree: ast.AST) -> Iterator[int]:
    """Values of `pairs.reviewed_by` that are reasons, SQL that compares or writes the column, and
    comparisons with the encoded value."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            reasons = any(stored in node.value for stored in STORED.values())
            if reasons or re.search(r"reviewed_by\s*(=|<>|IN|NOT)", node.value):
                yield node.lineno
        if isinstance(node, ast.Compare) and ast.unparse(node.left).endswith(".reviewed_by"):
            yield node.lineno


def pair_formats(tree: ast.AST) -> Iterator[int]:
    """Lists, `Literal`s and dictionaries of the names of file formats."""
    for node in ast.walk(tree):
        found = set(constants(node))
        if isinstance(node, ast.Dict):
            found = {key.value for key in node.keys if isinstance(key, ast.Constant)}
        if len(found & set(FORMATS)) > 1:
            yield node.lineno  # type: ignore[attr-defined]


SHARE_OF_RANGE = re.compile(r"- (low|first)\) / (\((high|last) - |max\(1, |span)|log\(.* / span")
NOT_METRICS = {"thumb", "done"}  # in lists of the kinds of feedback, and of the states of a reply
RULES: dict[Rule, str] = {  # and the one module that states the fact
    lora_ranks: "data/lora_limits.py",
    unserved_modules: "data/lora_limits.py",
    metric_tables: "data/experiments/metrics.py",
    question_texts: "data/pairs/question.py",
    axis_arithmetic: "data/runs/chart_axes.py",
    review_encoding: "data/pairs/review_status.py",
    pair_formats: "data/pair_files/formats.py",
    role_lists: "data/people/roles.py",
}
COPIES: list[tuple[Rule, str]] = [
    (lora_ranks, "RANKS = (256, 128, 64, 32, 16, 8)"),
    (lora_ranks, "Rank = Annotated[Literal[0, 8, 16, 32, 64], Before(number)]"),
    (lora_ranks, "def f(rank): return rank in [8, 16, 32, 64, 128]"),
    (metric_tables, 'UNRELIABLE: tuple[Metric, ...] = ("failed", "latency")'),
    (metric_tables, 'Metric = Literal["rating", "correction", "regenerate"]'),
    (metric_tables, 'MORE = {"failed": "fail", "correction": "are corrected"}'),
    (metric_tables, 'limit = log1p(bound) if metric == "latency" else bound'),
    (question_texts, "key = normal(' '.join([*(t.content for t in p.turns), p.prompt]))"),
    (question_texts, "[pair.system, *[t.content for t in pair.turns], pair.prompt]"),
    (role_lists, 'Role = Literal["member", "reviewer", "admin"]'),
    (role_lists, 'RANK = {"member": 0, "reviewer": 1, "admin": 2}'),
    (role_lists, 'may = key.role in ("reviewer", "admin")'),
    (axis_arithmetic, "power = 10 ** math.floor(math.log10(step))"),
    (axis_arithmetic, "share = (step - self.first) / (self.last - self.first)"),
    (axis_arithmetic, "place = lambda v: LEFT + width * (v - low) / max(1, high - low)"),
    (axis_arithmetic, "place = lambda loss: 12 + (ROOM - 24) * (loss - low) / span"),
    (axis_arithmetic, "y = TOP + height * math.log(high / max(loss, LEAST)) / span"),
    (review_encoding, 'OPTED_OUT = "withdrawn, as its author opted out of learning"'),
    (review_encoding, "db.execute('UPDATE pairs SET reviewed_by = ? WHERE id = ?')"),
    (review_encoding, "taken = pair.reviewed_by in TAKEN_BACK"),
    (pair_formats, 'Format = Literal["auto", "jsonl", "chat", "csv"]'),
    (pair_formats, 'choice = click.Choice(("jsonl", "csv"))'),
    (unserved_modules, 'REFUSED = {"lm_head", "embed_tokens"}'),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_fact_is_stated_in_one_module(rule: Rule) -> None:
    found = {
        str(file.relative_to(ROOT))
        for top in TOP
        for file in (ROOT / top).rglob("*.py")
        if any(rule(ast.parse(file.read_text(encoding="utf-8"))))
    }
    assert found == {RULES[rule]}


@pytest.mark.parametrize(("rule", "source"), COPIES)
def test_a_copy_is_found(rule: Rule, source: str) -> None:
    assert set(rule(ast.parse(source))) == {1}


def test_the_ranks_are_those_of_the_installed_vllm() -> None:
    installed = importlib.util.find_spec("vllm")
    if installed is None or not installed.submodule_search_locations:
        pytest.skip("vLLM is not installed")
    file = Path(installed.submodule_search_locations[0]) / "config" / "lora.py"
    stated = [
        constants(node.value)
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MaxLoRARanks"
    ]
    assert stated == [list(RANKS)]
    assert set(COMMON_RANKS) == set(RANKS) - {1}
