"""Turns one row of a file into pairs or rated answers, or explains what is wrong with it.

A row is an object whose keys name its parts: a JSON object, or a row of a table by column. `SHAPES`
lists the ways in which rows state a pair; mixed files are fine. `RowError` carries the sentence;
whoever reads the file knows the line.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from data.pair_files import preferences
from data.pair_files.chat_messages import NoWeight, draft_of, is_conversation, turns_of
from data.pair_files.columns import ColumnMap, Columns, Fields, kind_of
from data.pair_files.row_marks import NONE, RowMarks, read_marks
from data.pair_files.sources.recognition import source_of
from data.pair_files.sources.translation import RecordSource
from data.pair_files.verdicts import BadRow, LeftOut, NumberedRow, RowError, Verdict, candidate
from data.pairs import judged_answers
from data.pairs.judged_answers import JudgedDraft
from data.pairs.pairs import Draft, check, is_blank
from data.store.errors import Invalid

PROMPT_NAMES = ("prompt", "question", "instruction")  # the usual ones, for messages
CHATS = frozenset({"messages", "conversations"})
RESPONSE_NAMES = ("response", "answer", "output", "completion")


@dataclass(frozen=True)
class RowShape:
    """A way in which a row states a pair."""

    fits: Callable[[Columns], bool]
    read: Callable[[Fields], list[Draft] | list[JudgedDraft]]  # raises RowError


def read_row(
    found: Mapping[str, Any], line: int, columns: ColumnMap, only: str | None = None
) -> Iterator[NumberedRow]:
    """The verdicts about a row: usually one, two for a preference. `only` names the one shape that
    is accepted. A record of another tool is translated first."""
    source = source_of(found, columns.given) if only is None else None
    if source is not None:
        yield from _translated(source, found, line, columns)
        return
    for verdict in _verdicts(found, line, columns, only):
        yield NumberedRow(line, verdict)


def _translated(
    source: RecordSource, found: Mapping[str, Any], line: int, columns: ColumnMap
) -> Iterator[NumberedRow]:
    """The verdicts about a record of another tool."""
    try:
        said = source.translate(found, columns.given)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        name = source.name or "lists of Intercom"
        reason = f"it resembles the {name}, but is built differently ({error!r})"
        yield NumberedRow(line, BadRow(line, reason))
        return
    for record in said.records:
        yield from read_row(record, line, columns)
    if source.name:
        columns.sources[source.name] += 1
    if said.note:
        columns.source_notes[said.note] = None
    if said.left_out:
        yield NumberedRow(line, LeftOut(line, said.left_out))
    for row in said.rows:
        for verdict in _verdicts(row, line, columns, None):
            if said.candidate and isinstance(verdict, Draft):
                verdict = candidate(verdict, said.people)
            yield NumberedRow(line, verdict)


def _verdicts(
    found: Mapping[str, Any], line: int, columns: ColumnMap, only: str | None
) -> list[Verdict]:
    fields = Fields(found, columns.of(tuple(found)), columns)
    whole = False
    try:
        name = shape_of(fields)
        if only is not None and name != only:
            _refuse_other(fields.columns, only, name)
            name = only
        marks = read_marks(fields)
        if marks.left_out:
            return [LeftOut(line, marks.left_out)]
        verdicts: list[Verdict] = [
            _checked(_marked(each, marks)) for each in SHAPES[name].read(fields)
        ]
        whole = True
        return verdicts
    except NoWeight as reason:
        return [LeftOut(line, str(reason))]
    except RowError as error:
        return [BadRow(line, str(error))]
    finally:
        fields.count_unused(whole=whole)


def shape_of(fields: Fields) -> str:
    """The name of the shape in `SHAPES` that a row has. Beside a prompt and a response, a column
    such as `conversation` that holds no list of messages is something else, such as a number."""
    columns = fields.columns
    fitting = [name for name, shape in SHAPES.items() if shape.fits(columns)]
    if fitting[0] == "chat" and columns.of.keys() >= {"prompt", "response"}:
        held = [column for name in CHATS for column in columns.of.get(name, ())]
        if not any(isinstance(fields.found.get(column), list) for column in held):
            return "flat"
    return fitting[0]


def _refuse_other(columns: Columns, only: str, name: str) -> None:
    """Raises RowError for a row of another shape than the one that was asked for."""
    if only == "chat":
        raise RowError("no messages")
    if not columns.pairs_up() or name == only:
        return
    raise RowError(f"this is a row of the format {name}; import the file with that format")


def _read_prompt_and_response(fields: Fields) -> list[Draft]:
    asked = fields.given("prompt")
    answered = fields.value("response")
    if is_conversation(asked) or is_conversation(answered):
        return [_read_two_conversations(fields, asked, answered)]
    prompt, response = _required(fields, "prompt"), _required(fields, "response")
    have = fields.columns.of
    for name in ("context", "input"):
        if name in have and (more := fields.text(name)).strip():
            prompt = f"{prompt}\n\n{more}"
    turns = fields.given("turns") if "turns" in have else None
    if turns is None and "history" in have:
        turns = fields.given("history")
    return [
        Draft(
            prompt=prompt,
            response=response,
            system=fields.text("system") if "system" in have else "",
            turns=() if turns is None else turns_of(turns),
        )
    ]


def _read_two_conversations(fields: Fields, asked: Any, answered: Any) -> Draft:
    """TRL's conversational form: the prompt and the completion are lists of messages."""
    before = asked if is_conversation(asked) else [{"role": "user", "content": asked or ""}]
    after = (
        answered
        if is_conversation(answered)
        else [{"role": "assistant", "content": answered or ""}]
    )
    draft = draft_of([*before, *after], unused=fields.map.unused)
    return replace(draft, system=draft.system or fields.text("system"))


def _read_messages(fields: Fields) -> list[Draft]:
    name = "messages" if "messages" in fields.columns.of else "conversations"
    found = fields.value(name)
    draft = draft_of(found, fields.column(name), fields.map.unused)
    return [replace(draft, system=draft.system or fields.text("system"))]


def _required(fields: Fields, name: str) -> str:
    if fields.value(name) is not None:
        return fields.text(name)
    names = PROMPT_NAMES if name == "prompt" else RESPONSE_NAMES
    others = [key for key in fields.found if key not in fields.columns.of.get(name, ())]
    instead = f"; this row has {_listed(others)}: --map {name}=KEY says which it is"
    raise RowError(
        f"no {name} (names that are understood: {', '.join(names)} and more)"
        f"{instead if others else ''}"
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")


def _marked(found: Draft | JudgedDraft, marks: RowMarks) -> Draft | JudgedDraft:
    if marks is NONE or isinstance(found, JudgedDraft):
        return found
    if marks.liked is not None:
        return preferences.judged(found, liked=marks.liked)
    return replace(found, fact=marks.fact, split=marks.split, status=marks.status)


def _checked(found: Draft | JudgedDraft) -> Draft | JudgedDraft:
    try:
        if isinstance(found, JudgedDraft):
            judged_answers.check(found)
        else:
            check(found)
    except Invalid as error:
        raise RowError(str(error)) from None
    for number, turn in enumerate(found.turns, 1):
        if is_blank(turn.content):
            raise RowError(f"turn {number} ({turn.role}) is empty")
    return found


def not_an_object(value: Any) -> str:
    return f"a JSON object is expected, this is {kind_of(value)}"


SHAPES: dict[str, RowShape] = {  # by name, the first that fits
    "preference": RowShape(
        lambda columns: bool(columns.of.keys() & {"chosen", "rejected"}),
        preferences.read_preference,
    ),
    "chat": RowShape(lambda columns: bool(columns.of.keys() & CHATS), _read_messages),
    "flat": RowShape(lambda columns: True, _read_prompt_and_response),
}


# Writing


def fields_of(draft: Draft) -> dict[str, Any]:
    """The prompt-and-response object of a draft."""
    turns = [{"role": turn.role, "content": turn.content} for turn in draft.turns]
    fields = {"prompt": draft.prompt, "response": draft.response, "system": draft.system}
    return _present(fields | {"turns": turns} | _written_marks(draft))


def messages_of(draft: Draft) -> dict[str, Any]:
    """The chat-messages object of a draft."""
    messages = [{"role": "system", "content": draft.system}] if draft.system else []
    messages += [{"role": turn.role, "content": turn.content} for turn in draft.turns]
    messages.append({"role": "user", "content": draft.prompt})
    messages.append({"role": "assistant", "content": draft.response})
    return _present({"messages": messages} | _written_marks(draft))


def _written_marks(draft: Draft) -> dict[str, str]:
    status = draft.status if draft.status not in (None, "approved") else ""
    split = "" if draft.split == "auto" else draft.split
    return {"fact": draft.fact, "split": split, "status": status or ""}


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}
