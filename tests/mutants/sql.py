"""Faults in SQL: a condition that is left out, a comparison or an order that is turned round.

mutmut treats SQL as any other text. This module reads a statement as tokens and lists edits, each
of which keeps the statement valid and its placeholders (`?`, `:name`) in place:

- `a AND b`: each condition made always true; `AND` and `OR` exchanged
- `=` and `<>` exchanged; `<` and `<=`, `>` and `>=` exchanged
- `IS NULL`, `NOT EXISTS`, `NOT IN`: the `NOT` added or left out
- `ORDER BY a DESC, b`: each term turned round, and left out where there are several
- `UPDATE t SET a = x`: an assignment that changes nothing
- `DISTINCT` left out; `LEFT JOIN` to `JOIN`; `min`, `max`, `sum` and `avg` to another of them
- numbers plus one, other words in quotes, `+` and `-` exchanged
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

IS_SQL = re.compile(
    r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM|WHERE|JOIN|GROUP BY|ORDER BY|ON CONFLICT|AND \w)\b"
)
TOKEN = re.compile(
    r"(?P<space>\s+)|(?P<text>'(?:[^']|'')*')|(?P<word>[:@]?[A-Za-z_][\w.]*)"
    r"|(?P<number>\d+(?:\.\d+)?)|(?P<sign><>|<=|>=|!=|\|\||.)",
    re.DOTALL,
)
STARTS = {"WHERE", "ON", "HAVING", "AND", "OR"}  # what a condition follows
ENDS = STARTS | {"GROUP", "ORDER", "LIMIT", "JOIN", "LEFT", "UNION", "DO", "SET", "RETURNING"}
ENDS |= {"THEN", "END", "VALUES", "SELECT", "EXCEPT", "INTERSECT"}
FUNCTIONS = {"MIN", "MAX", "SUM", "AVG"}
SWAPS = {
    "=": "<>", "<>": "=", "<": "<=", "<=": "<", ">": ">=", ">=": ">", "+": "-", "-": "+",
    "AND": "OR", "OR": "AND", "MIN": "max", "MAX": "min", "SUM": "max", "AVG": "max",
    "DISTINCT": "", "LEFT": "",
}  # fmt: skip


@dataclass(frozen=True)
class Edit:
    """Replace `[start, end)` of the statement."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Token:
    kind: str
    text: str
    start: int
    end: int
    depth: int  # of brackets

    @property
    def keyword(self) -> str:
        return self.text.upper() if self.kind == "word" else self.text


def looks_like_sql(text: str) -> bool:
    return bool(IS_SQL.search(text))


def edits(statement: str) -> list[tuple[Edit, ...]]:
    """One entry a mutant: the edits that make it, from left to right."""
    tokens = _tokens(statement)
    found: list[tuple[Edit, ...]] = [(edit,) for edit in _exchanged(tokens)]
    found += _conditions(tokens)
    found += _orders(tokens, statement)
    found += _assignments(tokens, statement)
    return found


def _tokens(statement: str) -> list[Token]:
    tokens, depth = [], 0
    for match in TOKEN.finditer(statement):
        kind, text = str(match.lastgroup), match.group()
        depth -= text == ")"
        if kind != "space":
            tokens.append(Token(kind, text, match.start(), match.end(), depth))
        depth += text == "("
    return tokens


def _exchanged(tokens: list[Token]) -> Iterator[Edit]:
    """Single tokens that another takes the place of."""
    assigned = {t.start for _, sign, _ in _set_terms(tokens) for t in [sign]}
    for i, token in enumerate(tokens):
        before = tokens[i - 1].keyword if i else ""
        after = tokens[i + 1].keyword if i + 1 < len(tokens) else ""
        if token.kind == "number":
            if before != "SELECT":  # of EXISTS
                yield Edit(token.start, token.end, str(int(float(token.text)) + 1))
        elif token.kind == "text":
            yield Edit(token.start, token.end, f"'XX{token.text[1:]}")
        elif token.keyword == "IS":
            yield (
                Edit(token.end, token.end, " NOT")
                if after != "NOT"
                else Edit(token.end, tokens[i + 1].end, "")
            )
        elif token.keyword in ("EXISTS", "IN"):
            if before == "NOT":
                yield Edit(tokens[i - 1].start, token.start, "")
            else:
                yield Edit(token.start, token.start, "NOT ")
        elif token.keyword in SWAPS:
            is_name = token.keyword in FUNCTIONS and after != "("
            if not is_name and token.start not in assigned and not _is_between(tokens, i):
                yield Edit(token.start, token.end, SWAPS[token.keyword])


def _is_between(tokens: list[Token], i: int) -> bool:
    """Whether this is the AND of a BETWEEN."""
    if tokens[i].keyword != "AND":
        return False
    for token in reversed(tokens[:i]):
        if token.depth == tokens[i].depth and token.keyword in ENDS | {"BETWEEN"}:
            return token.keyword == "BETWEEN"
    return False


def _conditions(tokens: list[Token]) -> Iterator[tuple[Edit, ...]]:
    for i, token in enumerate(tokens):
        if token.keyword not in STARTS or _is_between(tokens, i):
            continue
        if i + 1 < len(tokens) and tokens[i + 1].keyword == "CONFLICT":
            continue
        last = None
        for j in range(i + 1, len(tokens)):
            other = tokens[j]
            if other.depth < token.depth or (
                other.depth == token.depth
                and other.keyword in ENDS | {";"}
                and not _is_between(tokens, j)
            ):
                break
            last = other
        if last is not None:
            first = tokens[i + 1]
            yield Edit(first.start, first.start, "(1 OR "), Edit(last.end, last.end, ")")


def _orders(tokens: list[Token], statement: str) -> Iterator[tuple[Edit, ...]]:
    for i, token in enumerate(tokens[:-1]):
        if token.keyword != "ORDER" or tokens[i + 1].keyword != "BY":
            continue
        terms: list[list[Token]] = [[]]
        for other in tokens[i + 2 :]:
            if other.depth < token.depth or other.keyword in ("LIMIT", "ROWS", "RANGE", ";"):
                break
            if other.text == "," and other.depth == token.depth:
                terms.append([])
            else:
                terms[-1].append(other)
        for term in filter(None, terms):
            if term[-1].keyword == "DESC":
                yield (Edit(term[-1].start, term[-1].end, "ASC"),)
            elif term[-1].keyword == "ASC":
                yield (Edit(term[-1].start, term[-1].end, "DESC"),)
            else:
                yield (Edit(term[-1].end, term[-1].end, " DESC"),)
            if len(terms) > 1:
                written = statement[term[0].start : term[-1].end]
                if "?" not in written:
                    yield (Edit(term[0].start, term[-1].end, "NULL"),)


def _set_terms(tokens: list[Token]) -> Iterator[tuple[Token, Token, list[Token]]]:
    """Of `SET a = x, b = y`: each name, its sign and the tokens of its value."""
    for i, token in enumerate(tokens):
        if token.keyword != "SET":
            continue
        j = i + 1
        while j + 1 < len(tokens) and tokens[j + 1].text == "=":
            name, sign, value = tokens[j], tokens[j + 1], []
            j += 2
            while j < len(tokens) and not (
                tokens[j].depth < token.depth
                or (tokens[j].depth == token.depth and tokens[j].keyword in ENDS | {",", ";"})
            ):
                value.append(tokens[j])
                j += 1
            if value:
                yield name, sign, value
            if j >= len(tokens) or tokens[j].text != ",":
                break
            j += 1


def _assignments(tokens: list[Token], statement: str) -> Iterator[tuple[Edit, ...]]:
    for name, _, value in _set_terms(tokens):
        start, end = value[0].start, value[-1].end
        kept = f"CASE WHEN 1 THEN {name.text} ELSE "
        yield Edit(start, start, kept), Edit(end, end, " END")
