"""Mutants of a module: mutmut's operators, and those of `sql.py`, on all of its code.

mutmut's own runner changes the bodies of undecorated functions only. Of what decides here, much is
elsewhere: SQL and thresholds at the top of a module, properties, context managers. So mutmut's
operators are applied to the whole module, and each mutant is a source text of its own.

Left out is what a person reads or what only a type checker does: docstrings, messages of
exceptions and of the log, annotations, type aliases.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import libcst as cst
from libcst.metadata import CodeRange, MetadataWrapper, PositionProvider
from mutmut.mutation.mutators import mutation_operators, operator_arg_removal, operator_string

from tests.mutants import sql

OPERATORS = [
    (kind, operator)
    for kind, operator in mutation_operators
    if operator not in (operator_string, operator_arg_removal)
]
NEVER_CALLS = {"len", "isinstance"}  # as in mutmut


@dataclass(frozen=True)
class Mutant:
    number: int  # in the module, from 1
    function: str  # the qualified name of what holds it; "" at the top of the module
    first_line: int
    last_line: int
    before: str  # the lines that it changes, without indentation
    after: str
    source: str  # of the whole module

    @property
    def key(self) -> tuple[str, str, str]:
        """What names the mutant, wherever its lines move and whatever their comments say."""
        return self.function, without_comments(self.before), without_comments(self.after)


def without_comments(lines: str) -> str:
    """Without the comments that stand behind code."""
    return "\n".join(line.partition("  # ")[0].rstrip() for line in lines.split("\n"))


def mutants(source: str, names: Container[str] | None = None) -> list[Mutant]:
    """All mutants that compile, in the order of their lines, each text once. `names`: only of the
    functions and classes at the top of the module that have one of these names, and of what is no
    function or class."""
    wrapper = MetadataWrapper(cst.parse_module(source), unsafe_skip_copy=True)
    module = wrapper.module
    before_body = "".join(map(module.code_for_node, module.header))
    after_body = "".join(map(module.code_for_node, module.footer))
    texts = [module.code_for_node(statement) for statement in module.body]
    seen = {source}
    found: list[Mutant] = []
    for i, statement in enumerate(module.body):
        name = _name(statement)
        if names is not None and name is not None and name not in names:
            continue
        finder = _Finder(wrapper.resolve(PositionProvider))
        statement.visit(finder)
        for place, node, replacement in sorted(finder.found, key=lambda item: item[0].lines):
            changed = statement.visit(_Replacer(node, replacement))
            assert isinstance(changed, cst.CSTNode)
            parts = [*texts[:i], module.code_for_node(changed), *texts[i + 1 :]]
            text = "".join([before_body, *parts, after_body])
            if text in seen or not _compiles(text):
                continue
            seen.add(text)
            before, after = _difference(source, text)
            number = len(found) + 1
            found.append(Mutant(number, place.function, *place.lines, before, after, text))
    return found


def _name(statement: cst.CSTNode) -> str | None:
    """Of a function or class."""
    if isinstance(statement, cst.FunctionDef | cst.ClassDef):
        return statement.name.value
    return None


def _compiles(source: str) -> bool:
    try:
        compile(source, "<mutant>", "exec")
    except (SyntaxError, ValueError):
        return False
    return True


def _difference(before: str, after: str) -> tuple[str, str]:
    """The lines that differ, without what is alike before and after them."""
    old, new = before.splitlines(), after.splitlines()
    while old and new and old[0] == new[0]:
        del old[0], new[0]
    while old and new and old[-1] == new[-1]:
        del old[-1], new[-1]
    return "\n".join(map(str.strip, old)), "\n".join(map(str.strip, new))


@dataclass(frozen=True)
class _Place:
    function: str
    lines: tuple[int, int]


class _Replacer(cst.CSTTransformer):
    """Puts one node in the place of another, which is found by identity."""

    def __init__(self, old: cst.CSTNode, new: cst.CSTNode) -> None:
        super().__init__()
        self.old, self.new, self.done = old, new, False

    def on_visit(self, node: cst.CSTNode) -> bool:
        return not self.done and node is not self.old

    def on_leave(self, original_node: cst.CSTNode, updated_node: cst.CSTNode) -> cst.CSTNode:  # type: ignore[override]
        if original_node is self.old:
            self.done = True
            return self.new
        return updated_node


class _Finder(cst.CSTVisitor):
    """Walks a statement and collects (place, node, what takes its place)."""

    def __init__(self, positions: Mapping[cst.CSTNode, CodeRange]) -> None:
        super().__init__()
        self.found: list[tuple[_Place, cst.CSTNode, cst.CSTNode]] = []
        self._positions = positions
        self._within: list[str] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        if _is_left_out(node, top=not self._within):
            return False
        if isinstance(node, cst.FunctionDef | cst.ClassDef):
            self._within.append(node.name.value)
        replacements: Iterable[cst.CSTNode]
        if isinstance(node, cst.SimpleString | cst.FormattedString | cst.ConcatenatedString):
            replacements = _texts(node)
        else:
            replacements = _by_mutmut(node)
        for new in replacements:
            at = self._positions[node]
            place = _Place(".".join(self._within), (at.start.line, at.end.line))
            self.found.append((place, node, new))
        return not (isinstance(node, cst.BaseString) and _is_statement(node))

    def on_leave(self, original_node: cst.CSTNode) -> None:
        if isinstance(original_node, cst.FunctionDef | cst.ClassDef):
            self._within.pop()


def _by_mutmut(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    for kind, operator in OPERATORS:
        if isinstance(node, kind):
            yield from operator(node)
    yield from (new for new in _arguments(node) if _strict(new) is _strict(node))


def _arguments(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """Without an argument that may have a default, or with None in the place of one. A call without
    one of its first arguments, or without its database, can only crash."""
    if not isinstance(node, cst.Call):
        return
    for new in operator_arg_removal(node):
        lost = [arg for arg in node.args if not any(arg is kept for kept in new.args)]
        removed = len(new.args) < len(node.args)
        [arg] = lost if not removed else [*lost, *node.args[-1:]][:1]
        if isinstance(arg.value, cst.Name) and arg.value.value == "db":
            continue
        if not removed or arg.keyword or arg is node.args[-1]:
            yield new


def _strict(node: cst.CSTNode) -> cst.CSTNode | None:
    """The `strict=` of a call of zip: a check that fails only where something else is wrong."""
    args = node.args if isinstance(node, cst.Call) else ()
    return next((a.value for a in args if a.keyword and a.keyword.value == "strict"), None)


def _is_left_out(node: cst.CSTNode, top: bool) -> bool:
    match node:
        case cst.Annotation() | cst.Decorator() | cst.Import() | cst.ImportFrom():
            return True
        case cst.Expr(value=cst.BaseString()):  # a docstring
            return True
        case cst.Raise(exc=cst.Call(args=args)):  # whether it is raised is mutated, not its words
            return all(isinstance(arg.value, cst.BaseString) for arg in args)
        case cst.Call(func=cst.Name(value=name)):
            return name in NEVER_CALLS
        case cst.Arg(keyword=cst.Name(value="strict")):
            return True
        case cst.Call(func=cst.Attribute(value=cst.Name(value="log"))):
            return True
        case cst.Assign(targets=[cst.AssignTarget(target=cst.Name(value=name))]) if top:
            return name != name.upper()  # a type alias, or the log
    return False


def _is_statement(node: cst.BaseString) -> bool:
    return sql.looks_like_sql("".join(text for text, _ in _leaves(node)))


def _texts(node: cst.BaseString) -> Iterator[cst.CSTNode]:
    """SQL statements are changed as SQL, other texts are marked; parts of f-strings are left."""
    leaves = list(_leaves(node))
    whole = "".join(text for text, _ in leaves)
    if sql.looks_like_sql(whole):
        for change in sql.edits(whole):
            changed = _edited(node, leaves, change)
            if changed is not None:
                yield changed
    elif isinstance(node, cst.SimpleString) and not node.prefix.lower().startswith("b"):
        start, end = len(node.prefix) + len(node.quote), -len(node.quote)
        text = node.value[start:end]
        marked = f"XX{text}XX"
        yield node.with_changes(value=node.value[:start] + marked + node.value[end:])


def _leaves(node: cst.CSTNode) -> Iterator[tuple[str, cst.CSTNode]]:
    """The texts that a string is made of, each with its node; an expression counts as a word."""
    match node:
        case cst.SimpleString():
            yield node.value[len(node.prefix) + len(node.quote) : -len(node.quote)], node
        case cst.FormattedString(parts=parts):
            for part in parts:
                yield (
                    (part.value if isinstance(part, cst.FormattedStringText) else "expression"),
                    part,
                )
        case cst.ConcatenatedString(left=left, right=right):
            yield from _leaves(left)
            yield from _leaves(right)


def _edited(
    node: cst.BaseString, leaves: Sequence[tuple[str, cst.CSTNode]], change: Sequence[sql.Edit]
) -> cst.CSTNode | None:
    """The string with these edits; None where one of them would change an expression."""
    texts = [text for text, _ in leaves]
    for edit in reversed(change):
        offset, written = 0, False
        for i, (original, leaf) in enumerate(leaves):
            start, end = max(0, edit.start - offset), min(edit.end - offset, len(original))
            offset += len(original)
            if end < start or (start == end and edit.start < edit.end):
                continue  # not in this part
            if not isinstance(leaf, cst.SimpleString | cst.FormattedStringText):
                if edit.start < edit.end:
                    return None
                continue  # between two parts: the text before or after takes it
            if start == end and written:
                continue
            texts[i] = texts[i][:start] + ("" if written else edit.text) + texts[i][end:]
            written = True
        if not written:
            return None
    result: cst.CSTNode = node
    for (original, leaf), text in zip(leaves, texts, strict=True):
        if text != original:
            changed = _with_text(leaf, text)
            replaced = changed if result is leaf else result.visit(_Replacer(leaf, changed))
            assert isinstance(replaced, cst.CSTNode)
            result = replaced
    return result


def _with_text(leaf: cst.CSTNode, text: str) -> cst.CSTNode:
    if isinstance(leaf, cst.SimpleString):
        return leaf.with_changes(value=f"{leaf.prefix}{leaf.quote}{text}{leaf.quote}")
    return leaf.with_changes(value=text)
